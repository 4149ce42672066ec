//! What zygotes and children say. The kernel vouches for who they are; what they say is checked against that.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use serde::Deserialize;
use slog::{debug, warn};

use super::Master;
use super::lost::has_mark;
use super::runs::Extra;
use super::timers::Timer;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::fault;
use crate::sys::memfd;
use crate::sys::pidfd::PidFd;
use crate::sys::seqpacket::Ancillary;
use crate::table::ExitEntry;
use crate::wire::channel::{
    ErrorObject, Flags, ForkFailed, Forked, Header, INLINE_MAX, RESULT_MAX, ReadyInfo, Refused, RefusedCode, Reply,
};
use crate::wire::json;
use crate::wire::rpc::RpcError;
use crate::wire::status::State;

/// The largest payload of a reply, in bytes; an error object may hold twice 64 KiB, escaped.
const PAYLOAD_MAX: usize = RESULT_MAX + 64;
/// What one generation may say in one turn: more than its channel holds, so that what lay in it at the beginning has been
/// read at the end, and still a bound, so that one that never stops does not keep the others from being heard.
const MESSAGES_A_TURN: usize = 8192;
/// The deepest result.
const DEPTH: usize = 512;

impl Master {
    /// Reads everything that has come on a generation's reply channel.
    pub(super) fn replies(&mut self, pool: usize, generation: u32) {
        // Lent out, since handling a message needs all of the master.
        let Some(mut batch) = self.batch.take() else { return };
        let mut read = 0;
        batch.note(&self.pools[pool].definition.name, generation);
        while let Some(g) = self.pools[pool].generation(generation) {
            let received = match batch.receive(g.replies.as_fd()) {
                Ok(received) => received,
                Err(e) => {
                    warn!(self.log, "reading what a zygote says"; "pool" => &self.pools[pool].definition.name, "error" => %e);
                    break;
                }
            };
            fault::point("replies-read");
            for i in 0..received.messages {
                let (bytes, extra) = batch.message(i);
                let extra = std::mem::take(extra);
                if self.reply(pool, generation, bytes, extra).is_none() {
                    self.counts.dropped_messages += 1;
                    debug!(self.log, "a message was dropped"; "pool" => &self.pools[pool].definition.name, "bytes" => bytes.len());
                }
            }
            // Read once, so on record before anything else is done.
            self.flush_journal();
            if received.closed {
                // Nobody is left who could say anything; exits say the rest.
                if let Some(g) = self.pools[pool].generation(generation) {
                    let fd = g.replies.as_fd().as_raw_fd();
                    let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                    g.silent = true;
                    if g.zygote.is_none() {
                        self.send_lost_again(pool, generation);
                    }
                }
                break;
            }
            if !received.more {
                break;
            }
            read += received.messages;
            if read >= MESSAGES_A_TURN {
                self.again_replies.push((pool, generation));
                break;
            }
        }
        batch.settle();
        self.batch = Some(batch);
    }

    /// What a former master had read, and may not have put on record before it was killed. All of it can be heard twice.
    pub(super) fn repeat_replies(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        if let Some((name, generation, messages)) = batch.left()
            && let Some(pool) = self.pool_index(&name)
        {
            for i in 0..messages {
                let (bytes, extra) = batch.message(i);
                let mut extra = std::mem::take(extra);
                // What is about nobody any more has been dealt with.
                if self.repeat(bytes, &mut extra).is_some() {
                    self.reply(pool, generation, bytes, extra);
                }
            }
            self.flush_journal();
        }
        batch.settle();
        self.batch = Some(batch);
    }

    /// Whether this is still to be heard. Its descriptors have gone with the former master: a handle on its sender is made anew, and
    /// of a payload it is told that it is lost.
    fn repeat(&mut self, bytes: &[u8], extra: &mut Ancillary) -> Option<()> {
        let (header, _) = Header::<Reply>::decode(bytes).ok()?;
        let live = self.runs.live(header.slot).filter(|live| live.nonce == header.nonce)?;
        match header.kind {
            // It is known to run.
            Reply::Started if live.process.is_some() => None,
            Reply::Started => {
                let handle = extra.pid.and_then(|pid| PidFd::open(pid).ok());
                // The number may be another one's by now. That of one who has ended is told by the ring.
                extra.pidfd = handle.filter(|_| extra.pid.is_some_and(|pid| has_mark(pid, header.nonce)));
                Some(())
            }
            Reply::Result | Reply::Error if header.flags.contains(Flags::MEMFD) => {
                let said = live.extra.as_ref().is_some_and(|extra| extra.result.is_some() || extra.error.is_some());
                if live.process.as_ref().map(|p| p.0) == extra.pid && !said {
                    let message = "what the run sent was lost with the master that had received it".into();
                    let told = ErrorObject { class: "ResultLost".into(), message, trace: None };
                    live.extra.get_or_insert_default().error = Some(told);
                }
                None
            }
            _ => Some(()),
        }
    }

    /// Handles one message; None: it does not belong here, or its sender may not say it.
    fn reply(&mut self, pool: usize, generation: u32, bytes: &[u8], mut extra: Ancillary) -> Option<()> {
        let (header, inline) = Header::<Reply>::decode(bytes).ok()?;
        if extra.truncated || extra.fds.len() != header.flags.fd_count() {
            return None;
        }
        let pid = extra.pid?;
        let large = if header.flags.contains(Flags::MEMFD) {
            match memfd::read_whole(extra.fds.pop()?, PAYLOAD_MAX.max(INLINE_MAX * 6)) {
                Ok(payload) => Some(payload),
                Err(e) => {
                    let live = self.runs.live(header.slot)?;
                    if live.nonce == header.nonce && live.process.as_ref().map(|p| p.0) == Some(pid) {
                        let message = format!("what the run sent cannot be read: {e}").into();
                        let told = ErrorObject { class: "ResultLost".into(), message, trace: None };
                        live.extra.get_or_insert_default().error = Some(told);
                    }
                    return None;
                }
            }
        } else {
            None
        };
        let payload = large.as_deref().unwrap_or(inline);
        match header.kind {
            Reply::Ready | Reply::PreloadFailed | Reply::ForkFailed | Reply::Forked => {
                let g = self.pools[pool].generation(generation)?;
                if g.zygote.as_ref().map(|z| z.0) != Some(pid) {
                    return None;
                }
                match header.kind {
                    Reply::Ready => self.zygote_ready(pool, generation, read::<ReadyInfo>(payload)?),
                    Reply::PreloadFailed => self.preload_failed(pool, generation, &read::<ErrorObject<'_>>(payload)?),
                    Reply::ForkFailed => {
                        self.fork_failed(pool, header.slot, header.nonce, &read::<ForkFailed>(payload)?)
                    }
                    _ => self.whois(pool, header.slot, header.nonce, read::<Forked>(payload)?.pid),
                }
                Some(())
            }
            Reply::Started => {
                if !self.is_asked_for(pool, header.slot, header.nonce) {
                    self.kill_unasked(pool, pid, header.nonce, extra.pidfd);
                    return None;
                }
                // The first child of a zygote has nothing to tell, nor has one of a kit that does not measure it.
                if let (Some(us), Some(g)) = (payload.first_chunk(), self.pools[pool].generation(generation)) {
                    g.fork_took(u32::from_le_bytes(*us));
                }
                self.started(pool, generation, header.slot, pid, extra.pidfd)
            }
            Reply::Refused => {
                let live = self.runs.live(header.slot)?;
                if live.state != State::Starting || live.nonce != header.nonce || live.pool != Some(pool) {
                    return None;
                }
                let refused = read::<Refused>(payload)?;
                let error = match refused.code {
                    RefusedCode::Refused => RpcError::entry_refused(refused.message),
                    RefusedCode::NotFound => RpcError::entry_not_found(refused.message),
                    RefusedCode::Error => RpcError::start_failed(refused.message),
                };
                self.fail_start(header.slot, &error);
                Some(())
            }
            Reply::Progress | Reply::Result | Reply::Error => {
                let live = self.runs.live(header.slot)?;
                if live.nonce != header.nonce || live.process.as_ref().map(|p| p.0) != Some(pid) {
                    return None;
                }
                if live.worker.is_some() {
                    // A worker has nobody to give a result to; an uncaught error is in its log.
                    return Some(());
                }
                let extra = live.extra.get_or_insert_default();
                say(extra, header.kind, payload)?;
                if header.kind != Reply::Progress {
                    // On record now, not only at its end: the master may die in between.
                    live.said = live.captures.is_empty();
                    self.journal.append(extra.record(header.slot, &live.id, false));
                }
                Some(())
            }
        }
    }

    /// A child says that it has started: from here on it is the run's process.
    pub(super) fn started(
        &mut self,
        pool: usize,
        generation: u32,
        slot: u32,
        pid: u32,
        pidfd: Option<PidFd>,
    ) -> Option<()> {
        let mut fork_seq = self.runs.live(slot)?.fork_seq;
        if let Some(&other) = self.pids.get(&pid) {
            // The number is taken by one whose exit is in the ring but not done with: it has been reaped, and reused.
            let from = self.runs.live(other).map_or(0, |l| l.fork_seq);
            let exit = self.first_exit(from, pid)?;
            self.complete(other, &exit);
            self.claimed.push(exit.seq);
            fork_seq = fork_seq.max(exit.seq + 1);
        }
        // A sender of whom the kernel gives no handle though it could has been reaped. Before 6.5 the handle is made from
        // the number; whether it was still this process's is told by the ring below.
        let could = self.pools[pool].generation(generation).is_some_and(|g| g.pidfds);
        let handle = pidfd.or_else(|| if could { None } else { PidFd::open(pid).ok() });
        let handle_inode = || handle.as_ref().and_then(PidFd::inode);
        let is_ours = |exit: &ExitEntry| exit.inode == 0 || handle_inode().is_none_or(|inode| inode == exit.inode);
        // An exit of this number since the fork was asked for is its own, or that of one who had the number before. Its own
        // waits for its turn in the ring; what was said before it may be unread yet.
        let mut over = None;
        if let Some(exit) = self.last_exit(fork_seq, pid) {
            fork_seq = if is_ours(&exit) { exit.seq } else { exit.seq + 1 };
        } else if let Some(exit) = self.unclaimed.get(&pid).copied().filter(|exit| exit.seq >= fork_seq) {
            // Passed by already; then everything that was said before it has been read with this message, or is in this batch.
            over = Some(exit).filter(is_ours);
            fork_seq = exit.seq + 1;
        }
        self.unclaimed.remove(&pid);
        let live = self.runs.live(slot)?;
        self.late.extend(over.map(|exit| (slot, live.seq, exit)));
        live.fork_seq = fork_seq;
        live.request = None;
        let assigned = live.generation;
        live.state = State::Running;
        live.generation = generation;
        live.process = Some((pid, handle));
        let (timeout, seq, early) = (live.timeout, live.seq, live.early_signal.take());
        self.table.set_running(slot, pid, wall_ns(), monotonic_ns());
        self.pids.insert(pid, slot);
        self.starting -= 1;
        self.pools[pool].starting -= 1;
        if assigned != generation {
            self.generation_lost_one(pool, assigned);
            self.table.set_generation(slot, generation);
            if let Some(g) = self.pools[pool].generation(generation) {
                g.live += 1;
            }
        }
        if let Some(timeout) = timeout {
            let key = self.timers.after(timeout, Timer::RunTimeout { slot, seq });
            if let Some(live) = self.runs.live(slot) {
                live.timer = Some(key);
            }
        }
        self.pools[pool].fork_backoff.worked();
        self.pools[pool].reload_backoff.worked();
        if self.runs.live(slot).is_some_and(|live| live.worker.is_some()) {
            self.worker_spawned(slot);
        } else {
            self.tell_started(slot);
            self.run_event(slot);
        }
        self.busy(pool);
        if let Some((signal, grace)) = early {
            self.signal_run(slot, signal, grace);
        }
        Some(())
    }

    fn fork_failed(&mut self, pool: usize, slot: u32, nonce: u64, failed: &ForkFailed) {
        let name = self.pools[pool].definition.name.clone();
        warn!(self.log, "a fork failed"; "pool" => &name, "why" => &failed.message);
        self.pools[pool].error = Some(failed.message.clone());
        if failed.errno.is_some() {
            self.pause_forks(pool);
        }
        if let Some(at) = self.pools[pool].idle.iter().position(|c| c.number == slot && c.nonce == nonce) {
            let failed = self.pools[pool].idle.remove(at);
            self.dismiss_idle(pool, failed);
            // Asking again at once would only fail again.
            self.pause_forks(pool);
            return;
        }
        let found = match self.runs.live(slot) {
            Some(live) if live.state == State::Starting && live.nonce == nonce => Some(slot),
            // An idle child that had got its request before its fork failed.
            _ => {
                self.runs.alive().find(|(_, l)| l.state == State::Starting && l.order == (slot, nonce)).map(|(s, _)| s)
            }
        };
        if let Some(slot) = found {
            let text = format!("pool \"{name}\" cannot fork: {}", failed.message);
            self.fail_start(slot, &RpcError::start_failed(text));
        }
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Keeps what a run says of itself.
fn say(extra: &mut Extra, kind: Reply, payload: &[u8]) -> Option<()> {
    match kind {
        Reply::Result if payload.len() <= RESULT_MAX => match json::value(payload, DEPTH) {
            Ok(value) => extra.result = Some(value),
            Err(e) => {
                let message = format!("the result cannot be kept: {e}").into();
                extra.error = Some(ErrorObject { class: "ResultNotJson".into(), message, trace: None });
            }
        },
        Reply::Error => {
            let e = read::<ErrorObject<'_>>(payload)?;
            let own = |t: Cow<'_, str>| Cow::Owned(t.into_owned());
            extra.error = Some(ErrorObject { class: own(e.class), message: own(e.message), trace: e.trace.map(own) });
        }
        // Progress is the status's business once statuses show it; until then it is taken, and goes nowhere.
        Reply::Progress => {}
        _ => return None,
    }
    Some(())
}
