//! An upgrade, as the master that is succeeded sees it. What is said and when: see [`crate::handover`].
//!
//! Until the successor has everything nothing changes here: whatever goes wrong, or takes too long, ends the successor, and we
//! carry on. Only from FROZEN to LEAVE nobody is served, and that wait is bounded.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{error, info};

use super::Master;
use super::runs::Asker;
use super::sources::Source;
use super::timers::{Key, Timer};
use crate::handover::{Channel, Said};
use crate::sys::clock::monotonic_ns;
use crate::sys::{fault, memfd, seqpacket};
use crate::wire::control::{self, ToKeeper};
use crate::wire::info::Upgraded;
use crate::wire::rpc::RpcError;

/// How long a successor may take to begin.
const PREPARE: Duration = Duration::from_secs(10);
/// How long it may take over; meanwhile nobody is served.
pub(super) const TAKE: Duration = Duration::from_secs(5);
/// How long we wait for workers that are being replaced or deleted.
const CALM: Duration = Duration::from_secs(30);
/// What is told of the successor's stderr, in bytes.
const STDERR: usize = 4096;

/// An upgrade that is under way.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub asker: Option<Asker>,
    pub asked_at: u64,
    binary: String,
    /// Everything but the last step.
    pub check: bool,
    pub channel: Channel,
    token: Token,
    stderr: File,
    timer: Key,
    pub stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// It has been asked for.
    Beginning,
    /// It has begun, and waits for us.
    Prepared,
    /// It is being ended, and this is the outcome.
    Ending(Result<(), String>),
}

impl Master {
    /// Somebody has sent SIGUSR2 to the keeper.
    pub(super) fn upgrade_by_signal(&mut self) {
        if let Err(e) = self.begin_upgrade(None, None, false) {
            error!(self.log, "SIGUSR2: no upgrade"; "why" => e.1.message);
        }
    }

    /// Looks for a successor of `binary`, or of the program that is there now under the name that ours had. `check`: everything
    /// but the last step is done. The answer comes at the end, from whoever is the master then.
    pub(super) fn begin_upgrade(
        &mut self,
        asker: Option<Asker>,
        binary: Option<String>,
        check: bool,
    ) -> Result<(), (Option<Asker>, RpcError)> {
        if self.stopping() {
            return Err((asker, RpcError::shutting_down("the daemon is shutting down")));
        }
        if self.upgrade.is_some() || self.replacing.is_some() {
            return Err((asker, RpcError::upgrade_failed("another upgrade is under way")));
        }
        let failed = |e: io::Error| RpcError::upgrade_failed(format!("the upgrade cannot begin: {e}"));
        let binary = match binary.map_or_else(own_program, Ok) {
            Ok(binary) => binary,
            Err(e) => return Err((asker, failed(e))),
        };
        if binary.len() >= control::MAX || !binary.starts_with('/') {
            return Err((asker, RpcError::invalid_params(format!("`binary`: {binary:?} is not an absolute path"))));
        }
        let (channel, theirs, stderr) = match channel() {
            Ok(made) => made,
            Err(e) => return Err((asker, failed(e))),
        };
        let token = self.sources.add(Source::Successor);
        let watched =
            self.poll.registry().register(&mut SourceFd(&channel.as_fd().as_raw_fd()), token, Interest::READABLE);
        let message = ToKeeper::Upgrade(binary.clone()).encode();
        let asked = watched.and_then(|()| {
            let fds = [theirs.as_fd(), stderr.as_fd()];
            seqpacket::send(self.keeper.as_fd(), &[io::IoSlice::new(&message)], &fds, true)
        });
        if let Err(e) = asked {
            self.sources.remove(token);
            return Err((asker, failed(e)));
        }
        fault::point("old-asked");
        info!(self.log, "looking for a successor"; "program" => &binary, "only_check" => check);
        let timer = self.timers.after(PREPARE, Timer::Upgrade);
        let (asked_at, stage) = (monotonic_ns(), Stage::Beginning);
        self.upgrade = Some(Upgrade { asker, asked_at, binary, check, channel, token, stderr, timer, stage });
        Ok(())
    }

    /// The successor says something.
    pub(super) fn successor_says(&mut self) {
        loop {
            let Some(upgrade) = &mut self.upgrade else { return };
            match upgrade.channel.heard() {
                Ok(Said::Prepared) if matches!(upgrade.stage, Stage::Beginning) => {
                    fault::point("old-prepared");
                    upgrade.stage = Stage::Prepared;
                    self.timers.cancel(Some(upgrade.timer));
                    upgrade.timer = self.timers.after(CALM, Timer::Upgrade);
                }
                Ok(Said::Refused(why)) => return self.end_upgrade(Err(format!("it cannot take over: {why}"))),
                // Its exit follows, and with it why.
                Ok(Said::Nothing | Said::Gone) => return,
                Ok(Said::Prepared | Said::Taken) => {}
                Err(e) => return self.end_upgrade(Err(format!("hearing from the new program: {e}"))),
            }
        }
    }

    /// It has had its time.
    pub(super) fn upgrade_late(&mut self) {
        let Some(upgrade) = &self.upgrade else { return };
        let why = match upgrade.stage {
            Stage::Beginning => format!("the new program did not begin to take over within {PREPARE:?}"),
            Stage::Prepared => {
                format!(
                    "for {CALM:?} workers were being reloaded or deleted, the process file was being read, or the list of apps could not be written; try again later"
                )
            }
            Stage::Ending(_) => return self.no_successor("the keeper does not answer"),
        };
        self.end_upgrade(Err(why));
    }

    /// No upgrade, or only a check: the successor goes. The answer is given when it has gone.
    pub(super) fn end_upgrade(&mut self, outcome: Result<(), String>) {
        let Some(upgrade) = &mut self.upgrade else { return };
        if matches!(upgrade.stage, Stage::Ending(_)) {
            return;
        }
        upgrade.stage = Stage::Ending(outcome);
        self.timers.cancel(Some(upgrade.timer));
        upgrade.timer = self.timers.after(TAKE, Timer::Upgrade);
        self.tell_keeper(&ToKeeper::Abandon, None);
    }

    /// The keeper says that there is no successor, or none any more.
    pub(super) fn no_successor(&mut self, keepers: &str) {
        let Some(upgrade) = self.upgrade.take() else { return };
        self.timers.cancel(Some(upgrade.timer));
        // Off the loop before it is closed.
        let _ = self.poll.registry().deregister(&mut SourceFd(&upgrade.channel.as_fd().as_raw_fd()));
        self.sources.remove(upgrade.token);
        // What it said at last tells more than how it ended.
        let said = match upgrade.channel.heard() {
            Ok(Said::Refused(why)) => Some(format!("it cannot take over: {why}")),
            _ => None,
        };
        let why = match upgrade.stage {
            Stage::Ending(Ok(())) => {
                info!(self.log, "the new program could take over"; "program" => &upgrade.binary);
                if let Some(asker) = upgrade.asker {
                    self.answer(asker, &checked(upgrade.asked_at));
                }
                return;
            }
            Stage::Ending(Err(why)) => why,
            Stage::Beginning | Stage::Prepared => said.unwrap_or_else(|| keepers.to_owned()),
        };
        let stderr = tail(&upgrade.stderr);
        error!(self.log, "no upgrade; this master carries on"; "program" => &upgrade.binary, "why" => &why, "stderr" => &stderr);
        let stderr = if stderr.is_empty() { String::new() } else { format!(". Its stderr: {stderr}") };
        let text = format!("no upgrade to {}: {why}; the daemon carries on as before{stderr}", upgrade.binary);
        if let Some(asker) = upgrade.asker {
            self.refuse(asker, &RpcError::upgrade_failed(text));
        }
    }
}

fn channel() -> io::Result<(Channel, std::os::fd::OwnedFd, File)> {
    let (channel, theirs) = Channel::pair(TAKE)?;
    Ok((channel, theirs, memfd::growing("preforkd-stderr")?))
}

/// The program that has the name now that ours had when we were started.
pub(super) fn own_program() -> io::Result<String> {
    let path = std::env::current_exe()?.into_os_string().into_string();
    let path = path.map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))?;
    // proc(5): what /proc/self/exe says of a file that has been replaced.
    Ok(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
}

fn checked(asked_at: u64) -> Upgraded {
    Upgraded {
        checked: true,
        version: None,
        former_version: env!("CARGO_PKG_VERSION").into(),
        master_pid: std::process::id(),
        pause_us: None,
        total_ms: (monotonic_ns() - asked_at) / 1_000_000,
    }
}

/// The end of what a program has written.
pub(super) fn tail(file: &File) -> String {
    let len = file.metadata().map_or(0, |m| m.len());
    let from = len.saturating_sub(STDERR as u64);
    let mut bytes = vec![0; (len - from) as usize];
    match file.read_exact_at(&mut bytes, from) {
        Ok(()) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(e) => format!("(cannot be read: {e})"),
    }
}
