//! What outlives a master: what the keeper keeps, and what a predecessor hands over beside it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use slog::warn;

use super::gate::Gate;
use super::handed::Handed;
use super::left::Left;
use super::startup::{MasterError, system};
use crate::handover::{Channel, Said};
use crate::journal::Ahead;
use crate::processfile::{self, ProcessFile};
use crate::settings::ServeOptions;
use crate::sys::{fault, memfd, process, seqpacket};
use crate::table::Table;
use crate::wire::control::{self, ToKeeper, ToMaster};

/// What the keeper hands over.
pub(super) struct Kept {
    pub stored: Vec<(String, OwnedFd)>,
    /// There was a master before, and its processes are alive.
    pub restart: bool,
    /// Not all of them are the keeper's children.
    pub strangers: bool,
}

/// Everything that the keeper keeps, and what for.
pub(super) fn kept(keeper: &OwnedFd) -> io::Result<Kept> {
    let mut stored = Vec::new();
    let mut buffer = [0; control::MAX];
    loop {
        match hear(keeper, &mut buffer)? {
            (Some(ToMaster::Stored(name)), Some(fd)) => stored.push((name, fd)),
            (Some(ToMaster::Begin(why)), _) => {
                let strangers = why.ends_with("strangers");
                return Ok(Kept { stored, restart: !why.is_empty(), strangers });
            }
            _ => {}
        }
    }
}

fn hear(keeper: &OwnedFd, buffer: &mut [u8]) -> io::Result<(Option<ToMaster>, Option<OwnedFd>)> {
    let (len, mut extra) = seqpacket::receive(keeper.as_fd(), buffer)?;
    if len == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the keeper has gone"));
    }
    Ok((ToMaster::decode(&buffer[..len]), extra.fds.pop()))
}

/// What is read of a former master's files before anybody waits.
pub(super) struct Begun {
    pub table: Table,
    pub left: Left,
    pub ahead: Option<Ahead>,
}

/// A successor takes everything over, and changes nothing before it is told to go.
pub(super) fn succeed(keeper: &OwnedFd, options: &ServeOptions) -> Result<(Kept, Handed, Begun), MasterError> {
    let channel =
        Channel::inherited(process::inherited(control::HANDOVER_FD).map_err(system("hearing from the master"))?);
    let stderr = process::inherited(control::STDERR_FD).map_err(system("taking the daemon's stderr"))?;
    fault::point("new-begun");
    let taken = (|| {
        // What could be wrong with us is found before anybody waits.
        Gate::new(options.token_file.as_deref())?;
        let table = Table::open(&options.dirs.table(), false).map_err(system("opening the shared table"))?;
        // Most of what there is to read, too. What cannot be read now is an error later.
        let mut left = Left::read(&table, true);
        let ahead = Ahead::read(&options.dirs.journal()).ok().map(|(ahead, records)| {
            left.take(&table, records);
            ahead
        });
        channel.say(&Said::Prepared).map_err(system("speaking to the master"))?;
        fault::point("new-prepared");
        let kept = kept(keeper).map_err(system("hearing from the keeper"))?;
        fault::point("new-kept");
        let (state, fds) = channel.take()?;
        fault::point("new-given");
        Ok((kept, Handed::new(state, fds), Begun { table, left, ahead }))
    })();
    let taken = match taken {
        Ok(taken) => taken,
        Err(e) => {
            let e: MasterError = e;
            // It may have gone: then nobody waits for the reason.
            let _ = channel.say(&Said::Refused(e.to_string()));
            return Err(e);
        }
    };
    channel.say(&Said::Taken).map_err(system("speaking to the master"))?;
    fault::point("new-taken");
    let mut buffer = [0; control::MAX];
    while !matches!(hear(keeper, &mut buffer).map_err(system("hearing from the keeper"))?.0, Some(ToMaster::Go)) {}
    fault::point("new-go");
    // From here on what we say is the daemon's to say. What has been said so far is not lost either.
    let said = io::stderr().as_fd().try_clone_to_owned().map_err(system("copying stderr"))?;
    process::move_to(stderr, 2).map_err(system("taking the daemon's stderr"))?;
    if let Ok(said) = memfd::read_whole(said, SAID_MAX) {
        // Where nobody reads our stderr there is nobody to tell either.
        let _ = io::Write::write_all(&mut io::stderr(), &said);
    }
    Ok(taken)
}

/// What a successor may have written to stderr before it serves, in bytes.
const SAID_MAX: usize = 1 << 20;
/// The pools of the process file, as they were when it was read last, in the keeper's store.
pub(super) const DEFINITIONS: &str = "definitions";

/// What is kept there; the file's apps, too, until they are in the list on the disk.
pub(super) fn definitions_file<'a>(
    pools: impl IntoIterator<Item = &'a processfile::Pool>,
    apps: &[processfile::App],
) -> io::Result<OwnedFd> {
    let pools: Vec<serde_json::Value> = pools.into_iter().map(processfile::Pool::to_json).collect();
    let apps: Vec<serde_json::Value> = apps.iter().map(processfile::App::to_json).collect();
    memfd::sealed(DEFINITIONS, serde_json::json!({ "pools": pools, "apps": apps }).to_string().as_bytes())
}

/// The pools of the process file: of the daemon's first master those that are in it now, else those that were in it when the
/// daemon began, or at the last SIGHUP. A file that is being edited, or is broken, must not decide over what runs when a
/// master dies.
pub(super) fn definitions(
    options: &ServeOptions,
    stored: Option<OwnedFd>,
    evaluated: Option<OwnedFd>,
) -> Result<(Vec<processfile::Pool>, Vec<processfile::App>), MasterError> {
    let stored = stored.map(|fd| memfd::read_whole(fd, DEFINITIONS_MAX)).transpose();
    if let Some(text) = stored.map_err(system("reading the pools of the former master"))? {
        let text = String::from_utf8_lossy(&text);
        let (apps, pools) = processfile::parse_apps(&text, std::path::Path::new("/"), &[])?;
        return Ok((pools, apps));
    }
    let file = options.file.as_deref().map(|path| process_file(path, evaluated)).transpose()?;
    Ok(file.map(|file| (file.pools, file.apps)).unwrap_or_default())
}

/// What replies are received into, in the keeper's store.
pub(super) const INBOX: &str = "inbox";

/// What output lies in until it is written, in the keeper's store.
pub(super) const STAGE: &str = "stage";

/// Memory that the keeper keeps under that name: what a former master has left in it, or new.
pub(super) fn kept_memory<T>(
    name: &str,
    stored: Option<OwnedFd>,
    open: impl Fn(File) -> io::Result<T>,
    keeper: &OwnedFd,
    log: &slog::Logger,
) -> io::Result<T> {
    match stored.map(|fd| open(fd.into())) {
        Some(Ok(there)) => return Ok(there),
        // Of a version that had it otherwise.
        Some(Err(e)) => {
            warn!(log, "what the former master had received last cannot be read"; "memory" => name, "error" => %e);
        }
        None => {}
    }
    let file = memfd::growing(name)?;
    let made = open(file.try_clone()?)?;
    super::keeping::keep(keeper, &ToKeeper::Store(name.into()), Some(file.as_fd()), log);
    Ok(made)
}

/// The size of all definitions, in bytes.
const DEFINITIONS_MAX: usize = 1 << 30;

/// `evaluated`: what the keeper has of one in JavaScript. A master asks nobody to evaluate it.
fn process_file(path: &Path, evaluated: Option<OwnedFd>) -> Result<ProcessFile, MasterError> {
    let Some(fd) = evaluated else { return Ok(processfile::load(path)?) };
    let bytes = memfd::read_whole(fd, processfile::MAX_BYTES as usize).map_err(system("reading the process file"))?;
    Ok(processfile::parse(&String::from_utf8_lossy(&bytes), path)?)
}
