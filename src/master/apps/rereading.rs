//! SIGHUP: the process file is read again, and what runs becomes what it says.
//!
//! A thread reads and checks it, since its disk may be slow and it may be large; what it gives is what `apps.apply` is given,
//! and is taken as that is. A file with a fault changes nothing. Told when the list is on the disk, so that whoever has read
//! that knows that every master from then on has the new definitions.
//!
//! ```text
//! SIGHUP ──→ read by a thread ──faults──→ told
//!                  └──→ taken ──→ the list is on the disk ──→ told
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io::{self, PipeReader};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use slog::{error, info, warn};

use super::super::Master;
use super::super::sources::Source;
use super::comparing::{ADDED, CHANGED, Others, UNCHANGED};
use crate::processfile::{self, App, Errors, Pool};
use crate::wire::apps::Change;
use crate::wire::control::ToKeeper;
use crate::wire::request::Define;

/// Faults that are told one by one. The log drops what comes faster than it can be written.
const TOLD: usize = 100;

/// A reading that is under way.
#[derive(Debug)]
pub(super) struct Rereading {
    stage: Stage,
    /// It has been asked for once more.
    again: bool,
}

#[derive(Debug)]
enum Stage {
    /// The pipe ends with the thread.
    Reading { token: Token, end: PipeReader, thread: JoinHandle<Result<Read, Fault>> },
    /// What has become different is told when that version of the list has been written.
    Saving { version: u64, counts: Counts },
}

/// What a file has that is as it should be: the parameters of `apps.apply`.
#[derive(Debug)]
struct Read {
    apps: Box<RawValue>,
    pools: Box<RawValue>,
    folder: PathBuf,
    warnings: Vec<String>,
}

/// Why nothing can be had of it.
#[derive(Debug)]
enum Fault {
    File(Errors),
    Json(serde_json::Error),
}

/// Apps and pools.
#[derive(Debug, Default)]
struct Counts {
    added: usize,
    changed: usize,
    unchanged: usize,
    removed: usize,
}

impl Counts {
    fn of(changes: &[Change]) -> Counts {
        let mut counts = Counts::default();
        for change in changes {
            *match &*change.change {
                ADDED => &mut counts.added,
                CHANGED => &mut counts.changed,
                UNCHANGED => &mut counts.unchanged,
                _ => &mut counts.removed,
            } += 1;
        }
        counts
    }
}

impl Master {
    /// Somebody has sent SIGHUP to the keeper.
    pub(in super::super) fn reread(&mut self) {
        if let Some(rereading) = &mut self.apps.rereading {
            rereading.again = true;
        } else if let Err(why) = self.begin_rereading() {
            warn!(self.log, "SIGHUP: the process file is not read again"; "why" => why);
            self.tell_keeper(&ToKeeper::Reloaded, None);
        }
    }

    fn begin_rereading(&mut self) -> Result<(), String> {
        if self.stopping() {
            return Err("the daemon is shutting down".into());
        }
        let Some(file) = self.options.file.clone() else {
            return Err("this daemon was started without one; `preforkd apply FILE` has it take one".into());
        };
        if self.in_javascript {
            let apply = format!("`preforkd apply {}` does", file.display());
            return Err(format!("it is in JavaScript, which the daemon itself does not run; {apply}"));
        }
        if self.fostered {
            return Err("another keeper is taking over; send the signal to that one".into());
        }
        self.begin_reading(file).map_err(|e| format!("a thread that reads it: {e}"))
    }

    fn begin_reading(&mut self, file: PathBuf) -> io::Result<()> {
        let (end, bell) = io::pipe()?;
        let fd = end.as_raw_fd();
        let token = self.sources.add(Source::ProcessFile);
        let begun = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE).and_then(|()| {
            std::thread::Builder::new().name("processfile".into()).spawn(move || {
                let read = read(&file);
                drop(bell);
                read
            })
        });
        match begun {
            Ok(thread) => {
                self.apps.rereading = Some(Rereading { stage: Stage::Reading { token, end, thread }, again: false });
                Ok(())
            }
            Err(e) => {
                // Off the loop before it is closed; it may not be on it.
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                self.sources.remove(token);
                Err(e)
            }
        }
    }

    /// The thread has read it.
    pub(in super::super) fn process_file_read(&mut self) {
        let Some(Rereading { stage: Stage::Reading { token, end, thread }, again }) = self.apps.rereading.take() else {
            return;
        };
        // Off the loop before it is closed.
        let _ = self.poll.registry().deregister(&mut SourceFd(&end.as_raw_fd()));
        self.sources.remove(token);
        let counts = match thread.join() {
            Ok(Ok(read)) if !self.stopping() => self.take_file(read),
            Ok(Err(fault)) => {
                self.tell_fault(&fault);
                None
            }
            // A shutdown has begun meanwhile; or the thread has died, which ends the process (`panic = "abort"`).
            Ok(Ok(_)) | Err(_) => None,
        };
        if let Some(counts) = counts {
            let version = self.apps.list.version();
            self.apps.rereading = Some(Rereading { stage: Stage::Saving { version, counts }, again });
        } else {
            self.reread_over(again);
        }
    }

    /// All has been said about it. `again`: it has been asked for once more meanwhile.
    fn reread_over(&mut self, again: bool) {
        match again {
            true => self.reread(),
            false => self.tell_keeper(&ToKeeper::Reloaded, None),
        }
    }

    fn tell_fault(&self, fault: &Fault) {
        let file = self.process_file();
        match fault {
            Fault::File(Errors(faults)) => {
                for fault in faults.iter().take(TOLD) {
                    error!(self.log, "SIGHUP: the process file has a fault"; "fault" => %fault);
                }
                if faults.len() > TOLD {
                    error!(self.log, "SIGHUP: the process file has more faults"; "all" => format!("preforkd validate {file}"));
                }
            }
            Fault::Json(e) => error!(self.log, "SIGHUP: the process file cannot be taken"; "error" => %e),
        }
        error!(self.log, "SIGHUP: nothing has been changed; correct the process file and send it again"; "file" => file);
    }

    /// What runs becomes what the file says.
    fn take_file(&mut self, read: Read) -> Option<Counts> {
        let file = self.process_file();
        for warning in &read.warnings {
            warn!(self.log, "SIGHUP: the process file"; "warning" => warning);
        }
        let define = Define {
            apps: Some(read.apps),
            pools: Some(read.pools),
            folder: read.folder,
            env: BTreeMap::new(),
            update_env: false,
            wait: false,
            apply: true,
            dry_run: false,
        };
        let definitions = match self.read_definitions(&define, Others::GoIfDeclared) {
            Ok(definitions) => definitions,
            Err(e) => {
                error!(self.log, "SIGHUP: the process file cannot be taken, and nothing has been changed"; "file" => file, "why" => e.message);
                return None;
            }
        };
        let pools: HashSet<String> = definitions.pools.iter().map(|pool| pool.name.clone()).collect();
        let default = processfile::default_pool(&definitions.pools).map(|pool| pool.name.clone());
        let env = self.own_environment();
        let taken = self.take_definitions(definitions, &env, false, Others::GoIfDeclared);
        match self.keep_definitions(&pools, default.as_deref()) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                warn!(self.log, "SIGHUP: pools that are not in the process file any more stay until the daemon is started anew"; "pools" => left.join(", "));
            }
            Err(e) => error!(self.log, "SIGHUP: a master that follows will not know the pools"; "error" => %e),
        }
        match taken {
            Ok(changes) => Some(Counts::of(&changes)),
            Err(why) => {
                self.save_list();
                error!(self.log, "SIGHUP: not all of the process file has been taken; send it again"; "file" => file, "why" => why);
                None
            }
        }
    }

    /// The list has been written, or cannot be: is it the one that was waited for?
    pub(super) fn tell_reread(&mut self) {
        let Some(Rereading { stage: Stage::Saving { version, counts }, again }) = &self.apps.rereading else { return };
        if self.apps.list.tried() < *version {
            return;
        }
        let again = *again;
        let Counts { added, changed, unchanged, removed } = counts;
        info!(self.log, "SIGHUP: the process file has been read again"; "file" => self.process_file(), "added" => added, "changed" => changed, "unchanged" => unchanged, "removed" => removed);
        self.apps.rereading = None;
        self.reread_over(again);
    }

    fn process_file(&self) -> String {
        self.options.file.as_deref().unwrap_or(Path::new("")).display().to_string()
    }
}

fn read(path: &Path) -> Result<Read, Fault> {
    let file = processfile::load(path).map_err(Fault::File)?;
    let apps: Vec<Value> = file.apps.iter().map(App::to_json).collect();
    let pools: Vec<Value> = file.pools.iter().map(Pool::to_json).collect();
    Ok(Read {
        apps: to_raw_value(&apps).map_err(Fault::Json)?,
        pools: to_raw_value(&pools).map_err(Fault::Json)?,
        folder: file.folder,
        warnings: file.warnings,
    })
}
