//! Clients: accepting, reading lines, handing them on, writing answers.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{debug, warn};

use super::connection::{Connection, Stream};
use super::listeners::Listener;
use super::runs::{Asker, Form};
use super::sources::Source;
use super::timers::Timer;
use super::{Master, verbs};
use crate::wire::http::looks_like_http;
use crate::wire::info::Role;
use crate::wire::lines::LineTooLong;
use crate::wire::phprocksyd::{self, Command};
use crate::wire::request::Method;
use crate::wire::rpc::{self, Call, Incoming, RpcError};
use crate::wire::{Protocol, protocol};

/// How long a line may take to arrive whole, and an authentication to come.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The longest line of a client that has not said who it is.
const STRANGER_LINE: usize = 4096;
/// Between two tries to accept, when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection that has only just come has its line at hand most of the time; more than this is for the next turn.
const ACCEPTS_A_TURN: usize = 256;
/// What one read of a client takes at most, in bytes.
pub const ROOM: usize = 16 << 10;
/// What one client may have read of it in one turn, in reads: the others wait meanwhile.
const READS_A_TURN: usize = 16;

enum Parsed {
    Rpc(Incoming),
    Phprocksyd(Command),
    Http,
    Empty,
}

fn parse(line: &[u8], first: bool) -> Parsed {
    if first && looks_like_http(line) {
        return Parsed::Http;
    }
    match protocol(line) {
        Protocol::Blank => Parsed::Empty,
        Protocol::Phprocksyd => Parsed::Phprocksyd(phprocksyd::parse(line)),
        Protocol::Rpc => Parsed::Rpc(rpc::parse(line)),
    }
}

impl Master {
    /// Somebody wants to connect.
    pub(super) fn accept(&mut self, index: usize) {
        for n in 0.. {
            if n == ACCEPTS_A_TURN {
                self.again.push(index);
                return;
            }
            let (stream, role) = match self.listeners[index].accept(&mut self.gate) {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => continue,
                Err(e) => {
                    self.out_of_descriptors(index, &e);
                    return;
                }
            };
            if self.connections >= self.options.max_connections {
                self.counts.refused_connections += 1;
                refuse_politely(stream, &format!("{} connections are open, no more are taken", self.connections));
                continue;
            }
            let stranger = role == Role::None;
            let max_line = self.max_line(role);
            let connection = Connection::new(stream, role, max_line);
            let fd = connection.raw_fd();
            let token = self.sources.add(Source::Connection(Box::new(connection)));
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, interest) {
                warn!(self.log, "a connection cannot be watched"; "error" => %e);
                self.sources.remove(token);
                continue;
            }
            self.connections += 1;
            if stranger {
                let timer = self.timers.after(REQUEST_TIME, Timer::Request(token));
                if let Some(c) = self.sources.connection(token) {
                    c.request_timer = Some(timer);
                }
            }
        }
    }

    /// The longest line that somebody of that role may send, in bytes.
    pub(super) fn max_line(&self, role: Role) -> usize {
        if role == Role::None { STRANGER_LINE } else { self.options.max_line }
    }

    /// A descriptor is held back for this: with it the waiting client can be told, instead of hanging in the backlog.
    fn out_of_descriptors(&mut self, index: usize, error: &io::Error) {
        warn!(self.log, "cannot accept a connection"; "error" => %error);
        self.reserve = None;
        if let Ok((stream, _)) = self.listeners[index].accept(&mut self.gate) {
            self.counts.refused_connections += 1;
            refuse_politely(stream, "the daemon has run out of file descriptors; try again later");
        }
        self.reserve = super::startup::reserve();
        if !self.accept_paused {
            self.accept_paused = true;
            self.timers.after(ACCEPT_PAUSE, Timer::Accept);
        }
    }

    /// Accepts again after a pause.
    pub(super) fn accept_all(&mut self) {
        self.accept_paused = false;
        (0..self.listeners.len()).for_each(|i| self.accept(i));
    }

    /// A client can be read from, written to, or has gone.
    pub(super) fn client_event(&mut self, token: Token, readable: bool, writable: bool, read_closed: bool) {
        if writable && self.sources.connection(token).is_some_and(|c| c.unwritten() > 0) {
            self.flush(token);
        }
        if readable {
            self.read_client(token, read_closed);
        }
    }

    /// Goes on with one that had to wait, or has had its share of a turn.
    pub(super) fn resume_client(&mut self, token: Token) {
        if let Some(c) = self.sources.connection(token) {
            c.paused = false;
            c.penalty = false;
            self.read_client(token, true);
        }
    }

    fn read_client(&mut self, token: Token, to_the_end: bool) {
        // What was left over by a pause comes first.
        self.take_lines(token);
        for n in 0.. {
            let Some(c) = self.sources.connection(token) else { return };
            if c.eof || c.last {
                return self.close_if_done(token);
            }
            if c.closing || c.paused || c.penalty {
                return;
            }
            if n == READS_A_TURN {
                return self.again_clients.push(token);
            }
            match c.read(&mut self.room) {
                Ok(None) => return,
                Ok(Some(more)) => {
                    self.take_lines(token);
                    let Some(c) = self.sources.connection(token) else { return };
                    if c.eof {
                        self.close_if_done(token);
                        return;
                    }
                    if !more && !to_the_end {
                        return;
                    }
                }
                Err(e) => {
                    debug!(self.log, "reading from a client"; "error" => %e);
                    self.close(token);
                    return;
                }
            }
        }
    }

    /// Obeys every whole line that has come.
    fn take_lines(&mut self, token: Token) {
        let mut any = false;
        loop {
            let Some(c) = self.sources.connection(token) else { return };
            if c.closing || c.last || c.penalty {
                return;
            }
            if c.is_full() {
                c.paused = true;
                return;
            }
            let first = c.first;
            let parsed = match c.lines.next_line() {
                None => break,
                Some(Ok(line)) => parse(line, first),
                Some(Err(LineTooLong { .. })) => {
                    let what = if c.role == Role::None { "authenticate first" } else { "--max-line sets the limit" };
                    self.give_up(token, &RpcError::limit(format!("the line is too long; {what}")));
                    return;
                }
            };
            c.first = false;
            any = true;
            self.obey(token, parsed);
        }
        let Some(c) = self.sources.connection(token) else { return };
        // The time runs from a line's first byte on, so that one byte a second does not buy more of it.
        if (any || c.lines.partial() == 0) && c.role != Role::None {
            let timer = c.request_timer.take();
            self.timers.cancel(timer);
        }
        if c.lines.partial() > 0 && c.request_timer.is_none() {
            c.request_timer = Some(self.timers.after(REQUEST_TIME, Timer::Request(token)));
        }
    }

    fn obey(&mut self, token: Token, parsed: Parsed) {
        match parsed {
            Parsed::Empty => {}
            Parsed::Http => {
                self.counts.refused_connections += 1;
                self.close(token);
            }
            Parsed::Phprocksyd(command) => {
                let Some(c) = self.sources.connection(token) else { return };
                let ticket = c.ticket();
                c.pending += 1;
                verbs::phprocksyd::obey(self, Asker { connection: token, form: Form::Ticket(ticket) }, command);
            }
            Parsed::Rpc(Incoming::Call(call)) => self.call(token, call, None),
            Parsed::Rpc(Incoming::Invalid(error)) => {
                if let Some(c) = self.sources.connection(token) {
                    c.answer(|out| rpc::write_error(out, &rpc::null_id(), &error));
                    self.mark(token);
                }
            }
            Parsed::Rpc(Incoming::Batch(calls)) => {
                let answers = calls.iter().filter(|c| c.id.is_some()).count();
                let Some(c) = self.sources.connection(token) else { return };
                let batch = (answers > 0).then(|| c.batch(answers));
                let mut at = 0;
                for call in calls {
                    let place = batch.filter(|_| call.id.is_some()).map(|batch| (batch, at));
                    at += usize::from(place.is_some());
                    self.call(token, call, place);
                }
            }
        }
    }

    fn call(&mut self, token: Token, call: Call, batch: Option<(u32, usize)>) {
        let Some(c) = self.sources.connection(token) else { return };
        let role = c.role;
        let form = match call.id {
            Some(id) => {
                c.pending += 1;
                Form::Rpc { id, batch }
            }
            None => Form::Silent,
        };
        let asker = Asker { connection: token, form };
        let method = match call.method {
            // A stranger does not learn what is wrong with a request that is not his to make.
            Err(e) if role == Role::None && e.code != RpcError::INVALID_REQUEST => Err(who_is_there()),
            method => method,
        };
        match method.and_then(|method| permitted(role, method)) {
            Ok(method) => verbs::obey(self, asker, method),
            Err(error) => self.refuse(asker, &error),
        }
    }
}

/// A method within the role, else the error that says what to do.
pub(super) fn permitted(role: Role, method: Method) -> Result<Method, RpcError> {
    let needed = method.role();
    if role >= needed {
        Ok(method)
    } else if role == Role::None {
        Err(who_is_there())
    } else {
        Err(RpcError::forbidden(format!("`{}` needs the Unix socket or an admin token", method.name())))
    }
}

fn who_is_there() -> RpcError {
    RpcError::unauthenticated("who is there? Begin with `auth` and a token of the daemon's --token-file")
}

/// One line, without waiting, and the end.
fn refuse_politely(stream: Stream, why: &str) {
    let mut line = Vec::new();
    rpc::write_error(&mut line, &rpc::null_id(), &RpcError::limit(why));
    line.push(b'\n');
    // A client that has sent something already would lose the line to a reset if that stayed unread.
    let mut unread = [0; 4096];
    let _ = match stream {
        Stream::Tcp(mut s) => s.write(&line).and_then(|_| s.read(&mut unread)),
        Stream::Unix(mut s) => s.write(&line).and_then(|_| s.read(&mut unread)),
    };
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        match self {
            Listener::Tcp(l) => l.as_raw_fd(),
            Listener::Unix(l) => l.as_raw_fd(),
        }
    }
}
