//! When a worker is ready: it says so, a probe finds out, a line of its output tells, or its time has come.
//!
//! A probe asks again and again until it is answered or until the worker's `listen_timeout`, which its life sees to.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{debug, warn};

use super::super::Master;
use super::super::sources::Source;
use super::super::timers::Timer;
use crate::processfile::Ready;
use crate::sys::listen::numeric;
use crate::sys::notify::NotifySocket;
use crate::sys::process;
use crate::wire::control::ToKeeper;

/// Between two probes.
// Timers of readiness are not cancelled: they name the process that they are for.
const AGAIN: Duration = Duration::from_millis(50);
/// How far up a sender's ancestors are looked at for a worker's process.
const ANCESTORS: usize = 8;
/// What all of them may say in one turn, so that one that never stops does not keep the others from being heard. To find out
/// whose process said it may take reading of eight others from proc(5).
const MESSAGES_A_TURN: usize = 32;
/// How many that are not known yet are looked for once more.
const MOST_EARLY: usize = 1024;
/// What of an answer has to be read to know its status.
const STATUS_LINE: usize = 12;

/// A probe that is under way.
#[derive(Debug)]
pub struct Probe {
    stream: TcpStream,
    slot: u32,
    seq: u64,
    /// What is asked, for HTTP; None: to be connected is enough.
    request: Option<String>,
    answer: Vec<u8>,
}

impl Master {
    /// Its process runs: looks after its getting ready.
    pub(super) fn await_ready(&mut self, id: u32, slot: u32) {
        let Some(ready) = self.apps.entry_of(id).map(|entry| entry.app.ready.clone()) else { return };
        let Some(seq) = self.runs.live(slot).map(|live| live.seq) else { return };
        match ready {
            Ready::Started | Ready::Notify => {}
            Ready::Log(pattern) => self.await_ready_line(id, &pattern),
            Ready::After(time) => {
                self.timers.after(time, Timer::Ready { slot, seq });
            }
            Ready::Tcp(_) | Ready::Http(_) => self.probe(slot, seq),
        }
    }

    /// The time of `{"after": …}` is over, or that of the next probe has come.
    pub(in super::super) fn ready_timer(&mut self, slot: u32, seq: u64) {
        let Some(id) = self.runs.live_seq(slot, seq).and_then(|live| live.worker) else { return };
        match self.apps.entry_of(id).map(|entry| &entry.app.ready) {
            Some(Ready::After(_)) => self.process_ready(slot),
            Some(_) => self.probe(slot, seq),
            None => {}
        }
    }

    /// One try.
    fn probe(&mut self, slot: u32, seq: u64) {
        let Some(id) = self.runs.live_seq(slot, seq).and_then(|live| live.worker) else { return };
        let (address, request) = match self.apps.entry_of(id).map(|entry| &entry.app.ready) {
            Some(Ready::Tcp(address)) => (address.clone(), None),
            Some(Ready::Http(url)) => {
                let rest = url.strip_prefix("http://").unwrap_or(url);
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let request = format!(
                    "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: preforkd\r\n\r\n"
                );
                let address = if host.rsplit_once(':').is_some() { host.to_owned() } else { format!("{host}:80") };
                (address, Some(request))
            }
            _ => return,
        };
        let stream = numeric(&address)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP address, and not localhost"))
            .and_then(TcpStream::connect);
        let stream = match stream {
            Ok(stream) => stream,
            Err(e) => {
                debug!(self.log, "a probe"; "address" => address, "error" => %e);
                return self.probe_again(slot, seq);
            }
        };
        let fd = stream.as_raw_fd();
        let probe = Probe { stream, slot, seq, request, answer: Vec::new() };
        let token = self.sources.add(Source::Probe(Box::new(probe)));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut SourceFd(&fd), token, interest).is_err() {
            self.sources.remove(token);
            self.probe_again(slot, seq);
        }
    }

    fn probe_again(&mut self, slot: u32, seq: u64) {
        self.timers.after(AGAIN, Timer::Ready { slot, seq });
    }

    /// Something has happened to a probe.
    pub(in super::super) fn probe_event(&mut self, token: Token) {
        let Some(Source::Probe(probe)) = self.sources.get(token) else { return };
        let (slot, seq) = (probe.slot, probe.seq);
        let Some(found) = probe.go_on() else { return };
        if let Some(Source::Probe(probe)) = self.sources.remove(token) {
            // It is closed with the source; that it was registered is all that is undone here.
            let _ = self.poll.registry().deregister(&mut SourceFd(&probe.stream.as_raw_fd()));
        }
        let still = self.runs.live_seq(slot, seq).is_some();
        match (still, found) {
            (false, _) => {}
            (true, true) => self.process_ready(slot),
            (true, false) => self.probe_again(slot, seq),
        }
    }

    /// Where processes say that they are ready. Made when it is needed for the first time.
    ///
    /// Our folder is closed to other users. Only root starts processes as those, so that its socket has no path.
    pub(super) fn notify_address(&mut self) -> io::Result<OsString> {
        if self.apps.notify.is_none() {
            let path = self.options.dirs.notify();
            let socket = if process::effective_uid() == 0 {
                NotifySocket::bind_abstract()
                    .map_err(|e| io::Error::new(e.kind(), format!("cannot listen to what workers say: {e}")))?
            } else {
                NotifySocket::bind(&path)
                    .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}: {e}", path.display())))?
            };
            self.tell_keeper(&ToKeeper::Store("notify".into()), Some(socket.as_fd()));
            self.watch_notify(socket)?;
        }
        self.apps.notify.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), NotifySocket::address)
    }

    /// Listens to it.
    pub(in super::super) fn watch_notify(&mut self, socket: NotifySocket) -> io::Result<()> {
        let token = self.sources.add(Source::Notify);
        self.poll.registry().register(&mut SourceFd(&socket.as_fd().as_raw_fd()), token, Interest::READABLE)?;
        self.apps.notify = Some(socket);
        Ok(())
    }

    /// Reads what has been said to it. `all`: this turn has had every event that there was.
    ///
    /// A pool's child says that it has started on its zygote's channel and that it is ready here. Both may come together,
    /// so this is for the end of a turn, and whoever is not known yet is looked for once more at the end of the next.
    pub(in super::super) fn notified(&mut self, all: bool) {
        for pid in std::mem::take(&mut self.apps.early_ready) {
            if !self.says_ready(pid) && !all {
                self.apps.early_ready.push(pid);
            }
        }
        if !self.apps.notify_due {
            return;
        }
        for _ in 0..MESSAGES_A_TURN {
            // Lent for a moment only: whoever gets ready lets others start, which need its address.
            let Some(socket) = &self.apps.notify else { return };
            let heard = socket.peek().unwrap_or_else(|e| {
                warn!(self.log, "reading what workers say"; "error" => %e);
                None
            });
            let Some((pid, text)) = heard else {
                self.apps.notify_due = false;
                return;
            };
            if is_ready(&text) {
                if !self.says_ready(pid) && self.apps.early_ready.len() < MOST_EARLY {
                    self.apps.early_ready.push(pid);
                }
                // Said once, so on record before it is gone.
                self.flush_journal();
            }
            if let Some(Err(e)) = self.apps.notify.as_ref().map(NotifySocket::skip) {
                warn!(self.log, "reading what workers say"; "error" => %e);
            }
        }
    }

    /// False: it is no process of a worker's, or not known to be one yet.
    fn says_ready(&mut self, pid: u32) -> bool {
        let Some(slot) = self.slot_of_descendant(pid) else { return false };
        self.process_ready(slot);
        true
    }

    /// The worker's process that this is, or descends from.
    fn slot_of_descendant(&self, mut pid: u32) -> Option<u32> {
        for _ in 0..ANCESTORS {
            if let Some(slot) = self.pids.get(&pid) {
                return Some(*slot);
            }
            pid = process::parent_and_owner(pid)?.0;
        }
        None
    }
}

impl Probe {
    /// Whether it has been answered well; None: not yet.
    fn go_on(&mut self) -> Option<bool> {
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Some(false),
        }
        if let Err(e) = self.stream.peer_addr() {
            return (e.kind() != io::ErrorKind::NotConnected).then_some(false);
        }
        let Some(request) = &self.request else { return Some(true) };
        if !request.is_empty() {
            match self.stream.write(request.as_bytes()) {
                Ok(n) if n == request.len() => self.request = Some(String::new()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                // A request of some hundred bytes fits into any socket.
                Ok(_) | Err(_) => return Some(false),
            }
        }
        let mut buffer = [0; 512];
        while self.answer.len() < STATUS_LINE {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(false),
                Ok(n) => self.answer.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(false),
            }
        }
        // `HTTP/1.1 200`
        Some(self.answer.starts_with(b"HTTP/1.") && matches!(self.answer[9], b'2' | b'3'))
    }
}

/// Whether a message of sd_notify(3) says that its sender is ready.
fn is_ready(text: &str) -> bool {
    text.lines().any(|line| line == "READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_a_line_of_its_own() {
        for (text, ready) in [("READY=1", true), ("STATUS=x\nREADY=1\n", true), ("STATUS=READY=1", false), ("", false)]
        {
            assert_eq!(is_ready(text), ready, "{text}");
        }
    }
}
