//! The keeper's own upgrade, as the master sees it: the keeper is asked, does it by itself, and we tell whoever wanted it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use slog::{error, info};

use super::Master;
use super::runs::Asker;
use super::timers::{Key, Timer};
use super::upgrade::{own_program, tail};
use crate::sys::clock::monotonic_ns;
use crate::sys::{memfd, seqpacket};
use crate::wire::control::{self, ToKeeper};
use crate::wire::info::Upgraded;
use crate::wire::rpc::RpcError;

/// The keeper gives the new program 5 s to say that it can, and is there again a moment after its exec.
const PATIENCE: Duration = Duration::from_secs(15);

/// Somebody wants another program to be the keeper.
#[derive(Debug)]
pub(super) struct Replacing {
    asker: Asker,
    asked_at: u64,
    binary: String,
    check: bool,
    stderr: File,
    timer: Key,
}

impl Master {
    /// Asks the keeper to make place for `binary`, or for what has our program's name now. The answer comes when it has.
    pub(super) fn replace_keeper(
        &mut self,
        asker: Asker,
        binary: Option<String>,
        check: bool,
    ) -> Result<(), (Asker, RpcError)> {
        let refused = if self.stopping() {
            Some(RpcError::shutting_down("the daemon is shutting down"))
        } else if self.upgrade.is_some() || self.replacing.is_some() {
            Some(RpcError::upgrade_failed("another upgrade is under way"))
        } else if self.orphaned || self.fostered {
            Some(RpcError::upgrade_failed(
                "the keeper has died: there is none to be replaced; `preforkd serve --adopt` brings another",
            ))
        } else {
            None
        };
        if let Some(refused) = refused {
            return Err((asker, refused));
        }
        let failed = |e: io::Error| RpcError::upgrade_failed(format!("the upgrade of the keeper cannot begin: {e}"));
        let made = binary.map_or_else(own_program, Ok).and_then(|b| Ok((b, memfd::growing("preforkd-stderr")?)));
        let (binary, stderr) = match made {
            Ok(made) => made,
            Err(e) => return Err((asker, failed(e))),
        };
        if binary.len() >= control::MAX || !binary.starts_with('/') {
            let error = RpcError::invalid_params(format!("`binary`: {binary:?} is not an absolute path"));
            return Err((asker, error));
        }
        let wanted = if check { ToKeeper::CheckKeeper(binary.clone()) } else { ToKeeper::Replace(binary.clone()) };
        let message = wanted.encode();
        if let Err(e) = seqpacket::send(self.keeper.as_fd(), &[io::IoSlice::new(&message)], &[stderr.as_fd()], true) {
            return Err((asker, failed(e)));
        }
        info!(self.log, "another keeper is wanted"; "program" => &binary, "only_check" => check);
        let timer = self.timers.after(PATIENCE, Timer::Replace);
        self.replacing = Some(Replacing { asker, asked_at: monotonic_ns(), binary, check, stderr, timer });
        Ok(())
    }

    /// The keeper has been replaced, or could be. `versions`: the former one and the new one.
    pub(super) fn keeper_replaced(&mut self, versions: &str) {
        let (former, new) = versions.split_once(' ').unwrap_or((versions, versions));
        info!(self.log, "the keeper's upgrade"; "from" => former, "to" => new);
        let Some(done) = self.end_replacing() else { return };
        let upgraded = Upgraded {
            checked: done.check,
            version: (!done.check).then(|| new.to_owned()),
            former_version: former.to_owned(),
            master_pid: std::process::id(),
            pause_us: None,
            total_ms: (monotonic_ns() - done.asked_at) / 1_000_000,
        };
        self.answer(done.asker, &upgraded);
    }

    /// It stays as it is.
    pub(super) fn keeper_stays(&mut self, why: &str) {
        let Some(done) = self.end_replacing() else { return };
        let stderr = tail(&done.stderr);
        error!(self.log, "the keeper stays as it is"; "program" => &done.binary, "why" => why, "stderr" => &stderr);
        let stderr = if stderr.is_empty() { String::new() } else { format!(". Its stderr: {stderr}") };
        let text = format!("no keeper of {}: {why}; the daemon carries on as before{stderr}", done.binary);
        self.refuse(done.asker, &RpcError::upgrade_failed(text));
    }

    fn end_replacing(&mut self) -> Option<Replacing> {
        let done = self.replacing.take()?;
        self.timers.cancel(Some(done.timer));
        Some(done)
    }
}
