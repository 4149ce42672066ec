//! The keeper has died: what is alive goes on, nothing new is started, and another keeper is waited for.
//!
//! Our children are nobody's that we know by then. How they end is told by their handles, from Linux 6.15 on; before, it is `unknown`.
//! `serve --adopt` brings another keeper: it is given everything that is to be kept, starts a successor of ours as its own child, and
//! has the same clients, runs and workers from then on. Only zygotes are loaded anew, since their children would not be its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{crit, info, warn};

use super::Master;
use super::apps;
use super::capture::{capture_name, tail_name};
use super::logs;
use super::runs::Live;
use super::sources::Source;
use super::timers::Timer;
use super::zygotes::replies_name;
use crate::pool::send_order;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::peer::unix_uid;
use crate::sys::pidfd::PidFd;
use crate::sys::process::effective_uid;
use crate::sys::reap::{How, Rusage};
use crate::sys::{seqpacket, tree};
use crate::table::{ExitEntry, Record};
use crate::wire::channel::{Order, TREE_ENV};
use crate::wire::control::ToKeeper;
use crate::wire::status::{RunError, State};

/// How often a process that is dead is asked how it ended, until its parent has reaped it.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// After this it is `unknown`.
const ASK_UNTIL: Duration = Duration::from_secs(2);
/// What is told of an end that nobody saw.
const UNSEEN: &str = "the keeper had died, and nobody could see how it ended";
/// Why nothing is started.
pub(super) const NO_KEEPER: &str = "the daemon's keeper has died, so that nothing new is started; take over with `preforkd serve --adopt` and the same arguments";

impl Master {
    /// The keeper has gone.
    pub(super) fn orphaned_now(&mut self) {
        crit!(self.log, "the keeper has died: what runs goes on, and nothing new is started"; "do" => "preforkd serve --adopt, with the same arguments");
        self.orphaned = true;
        let before = std::mem::replace(&mut self.fostered, true);
        // Off the loop: it would be readable for ever.
        let _ = self.poll.registry().deregister(&mut SourceFd(&self.keeper.as_raw_fd()));
        self.no_successor("the keeper has died");
        self.keeper_stays("the keeper has died");
        if !before {
            self.part();
        }
        if let Err(e) = self.await_keeper() {
            crit!(self.log, "no other keeper can be let in; end this daemon with `preforkd shutdown`"; "error" => %e);
        }
    }

    /// Nothing new, and whoever is alive is looked after by his handle.
    fn part(&mut self) {
        for index in 0..self.pools.len() {
            let pool = &mut self.pools[index];
            // Whoever it forked from now on would be a child of nobody's that we know.
            if let Err(e) = send_order(pool.orders.ours.as_fd(), Order::Retire, 0, 0) {
                warn!(self.log, "telling a zygote to leave"; "pool" => &pool.definition.name, "error" => %e);
            }
            (pool.current, pool.down, pool.error) = (None, true, Some(NO_KEEPER.into()));
            pool.idle.clear();
            for g in &mut pool.generations {
                g.retired = true;
                g.zygote = None;
                self.timers.cancel(g.preload_timer.take());
            }
        }
        let slots: Vec<u32> = self.runs.alive().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.watch_process(slot));
    }

    fn await_keeper(&mut self) -> io::Result<()> {
        let listener = seqpacket::listen(&self.options.dirs.adopt())?;
        let fd = listener.as_fd().as_raw_fd();
        let token = self.sources.add(Source::Adoption(listener));
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    /// Another keeper is there.
    pub(super) fn adopted(&mut self, token: Token) {
        let Some(Source::Adoption(listener)) = self.sources.get(token) else { return };
        let keeper = match seqpacket::accept(listener.as_fd()) {
            Ok(keeper) => keeper,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Err(e) => return warn!(self.log, "another keeper cannot be let in"; "error" => %e),
        };
        if unix_uid(keeper.as_fd()).is_ok_and(|uid| uid != effective_uid() && uid != 0) {
            return warn!(self.log, "a stranger offered to be the keeper");
        }
        if let Some(Source::Adoption(listener)) = self.sources.remove(token) {
            // Off the loop before it is closed.
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.as_fd().as_raw_fd()));
        }
        // Nobody else is let in.
        let _ = std::fs::remove_file(self.options.dirs.adopt());
        let fd = keeper.as_raw_fd();
        self.keeper = keeper;
        self.orphaned = false;
        let token = self.sources.add(Source::Keeper);
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            return warn!(self.log, "the new keeper cannot be heard"; "error" => %e);
        }
        let mut failed = None;
        let kept = self.kept();
        info!(self.log, "another keeper has come"; "descriptors" => kept.len());
        for (name, fd) in &kept {
            let message = ToKeeper::Store(name.clone()).encode();
            failed = seqpacket::send(self.keeper.as_fd(), &[io::IoSlice::new(&message)], &[*fd], true).err().or(failed);
        }
        if let Some(e) = failed {
            return warn!(self.log, "giving everything to the new keeper"; "error" => %e);
        }
        // It starts a successor as its own child then.
        self.tell_keeper(&ToKeeper::Strangers, None);
        self.tell_keeper(&ToKeeper::Ready, None);
    }

    /// Everything that a keeper has to keep, by name.
    fn kept(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let mut kept: Vec<(String, BorrowedFd<'_>)> =
            vec![("lock".into(), self.lock.as_fd()), ("wake".into(), self.wake.as_fd())];
        kept.extend(self.definitions.as_ref().map(|fd| (super::kept::DEFINITIONS.into(), fd.as_fd())));
        kept.extend(self.batch.iter().filter_map(|batch| Some((super::kept::INBOX.into(), batch.file()?))));
        kept.extend(self.logs.stage().map(|fd| (super::kept::STAGE.into(), fd)));
        kept.extend(self.listeners.iter().map(|l| (l.store_name(), l.as_fd())));
        for pool in &self.pools {
            let name = |number| replies_name(&pool.definition.name, number);
            kept.extend(pool.generations.iter().map(|g| (name(g.number), g.replies.as_fd())));
        }
        for (slot, live) in self.runs.alive() {
            for (token, stream) in live.captures.iter().zip(["out", "error"]) {
                if let Some(Source::Capture(capture)) = self.sources.peek(*token) {
                    kept.push((capture_name(slot, stream), capture.as_fd()));
                    kept.extend(capture.tail().map(|tail| (tail_name(slot, stream), tail.as_fd())));
                }
            }
        }
        for (_, source) in self.sources.all() {
            match source {
                Source::Log(pipe) => kept.push(logs::kept(pipe)),
                Source::Node(channel) => kept.push(apps::kept_channel(channel)),
                _ => {}
            }
        }
        kept.extend(self.apps.notify.as_ref().map(|socket| ("notify".into(), socket.as_fd())));
        kept.extend(self.apps.kept_sockets());
        kept
    }

    /// Hears of the end of that process from its handle.
    pub(super) fn watch_process(&mut self, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        let (seq, Some((_, Some(handle)))) = (live.seq, &live.process) else { return };
        let fd = handle.as_fd().as_raw_fd();
        let token = self.sources.add(Source::Process { slot, seq });
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            warn!(self.log, "the end of a process cannot be heard of"; "slot" => slot, "error" => %e);
            self.sources.remove(token);
        }
    }

    /// A process has died whose parent the keeper is not.
    pub(super) fn process_died(&mut self, token: Token) {
        let Some(&mut Source::Process { slot, seq }) = self.sources.get(token) else { return };
        self.sources.remove(token);
        if let Some((_, Some(handle))) = self.runs.live_seq(slot, seq).and_then(|live| live.process.as_ref()) {
            // It is readable from now on.
            let _ = self.poll.registry().deregister(&mut SourceFd(&handle.as_fd().as_raw_fd()));
        }
        self.ask_how(slot, seq, monotonic_ns());
    }

    /// Asks how it ended. `since`: when it was seen to be dead, ns monotonic.
    pub(super) fn ask_how(&mut self, slot: u32, seq: u64, since: u64) {
        // What it said before is told first.
        if let Some(live) = self.runs.live_seq(slot, seq)
            && let (Some(pool), generation) = (live.pool, live.generation)
        {
            self.replies(pool, generation);
        }
        let Some((pid, Some(handle))) = self.runs.live_seq(slot, seq).and_then(|live| live.process.as_ref()) else {
            return;
        };
        match handle.how_it_ended() {
            Ok(Some(how)) => {
                let exit = ExitEntry {
                    seq: self.table.ring_head(),
                    pid: *pid,
                    inode: handle.inode().unwrap_or(0),
                    how,
                    usage: Rusage::default(),
                    at: wall_ns(),
                };
                self.complete(slot, &exit);
            }
            Ok(None) if Duration::from_nanos(monotonic_ns() - since) < ASK_UNTIL => {
                self.timers.after(ASK_EVERY, Timer::AskHow { slot, seq, since });
            }
            _ => self.ended_unseen(slot),
        }
    }

    /// It has ended, and nobody can say how.
    fn ended_unseen(&mut self, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        let Some((pid, handle)) = &live.process else { return };
        let exit = ExitEntry {
            seq: self.table.ring_head(),
            pid: *pid,
            inode: handle.as_ref().and_then(PidFd::inode).unwrap_or(0),
            // For a worker: that it was not asked to end is all that counts.
            how: How::Exited(255),
            usage: Rusage::default(),
            at: wall_ns(),
        };
        if live.worker.is_some() {
            warn!(self.log, "a worker has ended, and how is not known: it is taken for exit code 255"; "pid" => exit.pid);
        } else {
            let unseen = || RunError { class: "unknown".into(), message: UNSEEN.into(), trace: None };
            live.extra.get_or_insert_default().error.get_or_insert_with(unseen);
        }
        self.complete_as(slot, &exit, State::Unknown);
    }

    /// The handle on a process of a former daemon's, if it can be proved to be that row's: its mark is the row's own number.
    pub(super) fn survivor(row: &Record) -> Option<PidFd> {
        let member = tree::hold_any(row.pid).filter(|_| row.pid != 0 && row.nonce != 0)?;
        let mark = tree::variable(&member, TREE_ENV)?;
        // Still alive after the look at it: so that was what the handle is on.
        (mark == super::trees::mark(row.nonce) && member.handle.send(0).is_ok()).then_some(member.handle)
    }

    /// Runs and workers of a former daemon's that are alive are ours, though their parent is not the keeper.
    pub(super) fn adopt_survivors(&mut self, slots: &[u32]) {
        if slots.is_empty() {
            return;
        }
        warn!(self.log, "processes of a daemon that has died are alive, and have been adopted"; "count" => slots.len());
        slots.iter().for_each(|slot| self.watch_process(*slot));
        self.tell_keeper(&ToKeeper::Strangers, None);
    }

    /// A takeover by a keeper that is not the parent of everybody.
    pub(super) fn watch_strangers(&mut self) {
        let keeper = crate::sys::process::parent();
        let stranger = |live: &Live| {
            let pid = live.process.as_ref().map(|(pid, _)| *pid);
            pid.and_then(crate::sys::process::parent_and_owner).is_none_or(|(parent, _)| parent != keeper)
        };
        let slots: Vec<u32> = self.runs.alive().filter(|(_, live)| stranger(live)).map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.watch_process(slot));
    }
}
