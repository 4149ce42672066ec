//! Masters: how they are started, heard, and followed by others.

use std::ffi::OsString;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{CALM, Keeper, KeeperError, LAST_WORDS, Master, PATIENCE, SIGKILL};
use crate::sys::clock::monotonic_ns;
use crate::sys::eventfd::EventFd;
use crate::sys::reap::{Exit, How};
use crate::sys::spawn::{Program, spawn};
use crate::sys::{notify, seqpacket};
use crate::wire::control::{self, ToKeeper, ToMaster};

/// A master that lived for less than this is started again only after a pause.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The pause doubles from the first to the second.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl Keeper<'_> {
    pub(super) fn start_master(&mut self) -> Result<(), KeeperError> {
        self.reaper.drained();
        // The binary we are, even when its file has been replaced or removed meanwhile.
        let program = self.binary.clone().unwrap_or_else(|| "/proc/self/exe".into());
        let why = if self.served { self.why("restart") } else { String::new() };
        let master = match self.spawn_master(program, &[]) {
            Err(e) if self.binary.take().is_some() => {
                self.say(&format!("{e}; going back to the program that this daemon was started with"));
                return self.start_master();
            }
            spawned => spawned?,
        };
        if let Err(e) = self.hand_kept(&master, &why, false) {
            // It would wait for the rest for ever; its exit brings the next one, after a pause.
            self.say(&format!("handing the kept descriptors to the master: {e}"));
            let _ = master.handle.send(SIGKILL);
        }
        self.master = Some(master);
        // Once more and not again and again: it may be what a master dies of.
        if std::mem::take(&mut self.reload_due) {
            self.tell(&ToMaster::Reload);
        }
        if let Some(order) = &self.last_order {
            self.tell(order);
            self.last_master = true;
        }
        Ok(())
    }

    /// Starts `program` as we were started, as a master with these descriptors besides.
    pub(super) fn spawn_master(
        &self,
        program: OsString,
        more: &[(BorrowedFd<'_>, i32)],
    ) -> Result<Master, KeeperError> {
        let failed = |source| KeeperError::System { doing: "starting the master".into(), source };
        let (ours, theirs) = seqpacket::pair().map_err(failed)?;
        seqpacket::set_send_timeout(ours.as_fd(), PATIENCE).map_err(failed)?;
        let mut argv: Vec<OsString> = std::env::args_os().collect();
        argv.splice(..1, [program]);
        let ours_alone = [control::MASTER_ENV, control::SUCCESSOR_ENV, control::KEEPER_ENV, notify::NOTIFY_SOCKET];
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            // The service manager hears of readiness from us; for a worker it is not.
            .filter(|(k, _)| ours_alone.iter().all(|name| k != name))
            .chain([(control::MASTER_ENV.into(), control::MASTER_FD.to_string().into())])
            .collect();
        if !more.is_empty() {
            env.push((control::SUCCESSOR_ENV.into(), "1".into()));
        }
        let mut fds = vec![(theirs.as_fd(), control::MASTER_FD)];
        fds.extend_from_slice(more);
        let (pid, handle) = spawn(&Program { argv, env, fds, ..Program::default() })?;
        Ok(Master { pid, handle, control: Some(ours), started_at: monotonic_ns(), quit: None, fostered: false })
    }

    /// Hands everything that is kept to a master, and why it is to begin. `handed`: its predecessor hands over the rest.
    pub(super) fn hand_kept(&self, master: &Master, why: &str, handed: bool) -> io::Result<()> {
        let Some(control) = &master.control else { return Ok(()) };
        self.store.send(control.as_fd(), handed)?;
        let message = ToMaster::Begin(why.into()).encode();
        seqpacket::send(control.as_fd(), &[IoSlice::new(&message)], &[], true)
    }

    /// Takes everything that the master has said.
    pub(super) fn listen(&mut self) {
        let Some(master) = &mut self.master else { return };
        let (mut stopping, mut first, mut busy, mut calm) = (false, false, false, true);
        let (mut upgrade, mut replace, mut lost) = (None, None, None);
        while let Some(control) = &master.control {
            let received = match self.inbox.receive(control.as_fd()) {
                Ok(received) => received,
                Err(e) => {
                    // Its exit follows, or it is broken beyond repair: then a new one serves better.
                    let _ = writeln!(io::stderr(), "preforkd: keeper: reading from the master: {e}");
                    let _ = master.handle.send(SIGKILL);
                    master.control = None;
                    break;
                }
            };
            for i in 0..received.messages {
                let (bytes, extra) = self.inbox.message(i);
                let message = ToKeeper::decode(bytes);
                if matches!(message, Some(ToKeeper::Busy)) {
                    busy = true;
                    continue;
                }
                calm = false;
                if let Some(ToKeeper::Upgrade(_) | ToKeeper::Frozen | ToKeeper::Commit | ToKeeper::Abandon) = message {
                    upgrade = message.map(|step| (step, std::mem::take(&mut extra.fds)));
                    continue;
                }
                if let Some(ToKeeper::Replace(path) | ToKeeper::CheckKeeper(path)) = &message {
                    let check = matches!(message, Some(ToKeeper::CheckKeeper(_)));
                    replace = Some((OsString::from(path), check, std::mem::take(&mut extra.fds)));
                    continue;
                }
                match (message, extra.fds.pop()) {
                    (Some(ToKeeper::Store(name)), Some(fd)) => {
                        if master.fostered && name == "wake" {
                            // What it waits for, and its successors will.
                            match fd.try_clone() {
                                Ok(wake) => self.wake = EventFd::from(wake),
                                Err(e) => drop(writeln!(io::stderr(), "preforkd: keeper: copying a descriptor: {e}")),
                            }
                        }
                        self.store.put(name, fd);
                    }
                    (Some(ToKeeper::Strangers), _) => self.strangers = true,
                    (Some(ToKeeper::Reloaded), _) => self.reload_due = false,
                    (Some(ToKeeper::Drop(name)), _) => self.store.remove(&name),
                    (Some(ToKeeper::Ready), _) => first |= !std::mem::replace(&mut self.served, true),
                    (Some(ToKeeper::Drained), _) => self.reaper.drained(),
                    (Some(ToKeeper::Stopping), _) => stopping = true,
                    (Some(ToKeeper::Quit(code)), _) => master.quit = Some(code),
                    (Some(_) | None, _) => {}
                }
            }
            if received.closed {
                // It closes this only by ending; that it has something to say on the way takes it a moment.
                master.control = None;
                self.end_master_at = Some(monotonic_ns() + LAST_WORDS.as_nanos() as u64);
                if master.fostered {
                    lost = Some(master.pid);
                }
            }
            if !received.more {
                break;
            }
        }
        let now = monotonic_ns();
        if busy {
            self.watch(now);
        }
        if !calm {
            self.calm_at = Some(now + CALM.as_nanos() as u64);
        }
        if let Some(pid) = lost {
            self.lost_foster(pid);
        }
        if first {
            self.tell_manager();
            if self.master.as_ref().is_some_and(|master| master.fostered) {
                // Its successor will be our own child.
                self.tell(&ToMaster::Upgrade);
            }
        }
        if let Some((step, fds)) = upgrade {
            self.upgrade(step, fds);
        }
        if let Some((binary, check, fds)) = replace {
            self.ask(binary, check, &fds);
        }
        if stopping {
            self.see_to_the_end(self.options.shutdown_timeout);
        }
    }

    /// A master that has closed its channel is dead. Its idle children die with it, all at once, so that the signal which would name
    /// it is lost among theirs, and a sweep comes late.
    pub(super) fn ended_master(&mut self, died: &mut Vec<Exit>) -> io::Result<()> {
        let masters = self.masters();
        match &self.master {
            Some(master) if master.fostered => self.lost_foster(master.pid),
            Some(master) => self.reaper.named(&self.table, master.pid, &masters, died)?,
            None => {}
        }
        Ok(())
    }

    /// Returns the exit code when that was the end.
    pub(super) fn master_died(&mut self, exit: &Exit) -> Option<u8> {
        self.listen();
        if self.master.as_ref().is_none_or(|master| master.pid != exit.pid) {
            // Its last words were that it has a successor.
            return None;
        }
        let master = self.master.take()?;
        self.end_successor("its predecessor has died");
        // Nobody is there any more who has asked.
        if let Some(candidate) = &mut self.candidate {
            candidate.by = 0;
        }
        self.end_master_at = None;
        if let Some(code) = master.quit {
            return Some(code);
        }
        let code = match exit.how {
            How::Exited(code) => code as u8,
            How::Killed(_) | How::Dumped(_) => 1,
        };
        if !self.served {
            return Some(code.max(1));
        }
        if self.stop_by.is_some() {
            return self.go_on_ending(&format!("the master (pid {}) has died ({})", master.pid, exit.how));
        }
        let lived = Duration::from_nanos(monotonic_ns() - master.started_at);
        self.short_lives = if lived < SHORT_LIFE { self.short_lives + 1 } else { 0 };
        self.distrust();
        let pause = match self.short_lives {
            0 | 1 => Duration::ZERO,
            n => PAUSE.1.min(PAUSE.0 * 2u32.saturating_pow(n.min(16) - 2)),
        };
        self.say(&format!(
            "the master (pid {}) has died ({}); starting another in {} ms",
            master.pid,
            exit.how,
            pause.as_millis()
        ));
        self.restart_at = Some(monotonic_ns() + pause.as_nanos() as u64);
        None
    }

    pub(super) fn tell(&self, message: &ToMaster) {
        if let Some(control) = self.master.as_ref().and_then(|m| m.control.as_ref())
            && let Err(e) = seqpacket::send(control.as_fd(), &[IoSlice::new(&message.encode())], &[], false)
        {
            self.say(&format!("telling the master {message:?}: {e}"));
        }
    }
}
