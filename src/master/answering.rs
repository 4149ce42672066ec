//! Answers to clients: written at the end of a turn, each where it belongs; and the ends of connections.

use std::time::Duration;

use mio::Token;
use mio::unix::SourceFd;
use serde::Serialize;
use serde_json::value::RawValue;
use slog::{debug, warn};

use super::Master;
use super::runs::{Asker, Form};
use super::sources::{Source, Sources};
use super::timers::Timer;
use crate::wire::info::Role;
use crate::wire::phprocksyd;
use crate::wire::rpc::{self, RpcError};

/// How long a client may take to read what waits for it.
pub const ANSWER_TIME: Duration = Duration::from_secs(30);

/// An answer of this size, in bytes, has taken as much of the heap again: that is given back after a while.
const MUCH: usize = 1 << 20;

impl Master {
    /// Answers with a result.
    pub(super) fn answer<T: Serialize + ?Sized>(&mut self, asker: Asker, result: &T) {
        respond(&mut self.sources, &mut self.dirty, asker, |out, id| rpc::write_result(out, id, result));
    }

    /// Answers with an error, in Phprocksyd's way where that was asked.
    pub(super) fn refuse(&mut self, asker: Asker, error: &RpcError) {
        if let Form::Ticket(ticket) = asker.form {
            let mut line = Vec::new();
            phprocksyd::error_text(&mut line, &error.message);
            return self.answer_ticket(asker.connection, ticket, line);
        }
        respond(&mut self.sources, &mut self.dirty, asker, |out, id| rpc::write_error(out, id, error));
    }

    /// Answers a Phprocksyd command.
    pub(super) fn answer_ticket(&mut self, connection: Token, ticket: u64, line: Vec<u8>) {
        if let Some(c) = self.sources.connection(connection) {
            c.pending -= 1;
            c.answer_ticket(ticket, line);
            self.mark(connection);
        }
    }

    /// It will be written to at the end of this turn.
    pub(super) fn mark(&mut self, token: Token) {
        if let Some(c) = self.sources.connection(token)
            && !c.dirty
        {
            c.dirty = true;
            self.dirty.push(token);
        }
    }

    /// Writes to all who have something coming.
    pub(super) fn flush_all(&mut self) {
        while let Some(token) = self.dirty.pop() {
            self.flush(token);
        }
    }

    pub(super) fn flush(&mut self, token: Token) {
        let Some(c) = self.sources.connection(token) else { return };
        c.dirty = false;
        let much = c.unwritten() > MUCH;
        let done = match c.write() {
            Ok(done) => done,
            Err(e) => {
                debug!(self.log, "writing to a client"; "error" => %e);
                return self.close(token);
            }
        };
        if c.paused && !c.is_full() {
            self.again_clients.push(token);
        }
        let subscribed = c.subscribed;
        if much {
            self.calm_soon();
        }
        let Some(c) = self.sources.connection(token) else { return };
        if done {
            let timer = c.answer_timer.take();
            self.timers.cancel(timer);
            if subscribed {
                self.tell_gap(token);
            }
            self.close_if_done(token);
        } else if c.is_hopeless() {
            warn!(self.log, "a client does not read its answers; closing it");
            self.close(token);
        } else if c.answer_timer.is_none() && !subscribed {
            c.answer_timer = Some(self.timers.after(ANSWER_TIME, Timer::Answer(token)));
        }
    }

    pub(super) fn close_if_done(&mut self, token: Token) {
        let Some(c) = self.sources.connection(token) else { return };
        let answered = c.pending == 0 && (c.last || c.eof && !c.paused && !c.penalty);
        if c.gone && c.eof || c.unwritten() == 0 && (c.closing || answered) {
            self.close(token);
        }
    }

    /// Its last answer is this error.
    pub(super) fn give_up(&mut self, token: Token, error: &RpcError) {
        self.counts.refused_connections += 1;
        if let Some(c) = self.sources.connection(token) {
            c.closing = true;
            c.answer(|out| rpc::write_error(out, &rpc::null_id(), error));
            self.mark(token);
        }
    }

    /// Closes after what has been asked is answered.
    pub(super) fn close_after_answers(&mut self, token: Token) {
        if let Some(c) = self.sources.connection(token) {
            c.last = true;
            self.mark(token);
        }
    }

    /// Closes it. Its runs go on.
    pub(super) fn close(&mut self, token: Token) {
        let Some(Source::Connection(c)) = self.sources.remove(token) else { return };
        // Off the loop before it is closed: a child may hold a copy for a moment, and epoll would go on reporting it.
        let _ = self.poll.registry().deregister(&mut SourceFd(&c.raw_fd()));
        self.timers.cancel(c.request_timer);
        self.timers.cancel(c.answer_timer);
        if c.subscribed {
            self.unsubscribe(token);
        }
        self.connections -= 1;
    }

    /// A new role: longer lines, and no more deadline for saying who it is.
    pub(super) fn admit(&mut self, token: Token, role: Role) {
        let max_line = self.options.max_line;
        if let Some(c) = self.sources.connection(token) {
            c.role = role;
            c.lines.set_max(max_line);
            let timer = c.request_timer.take();
            self.timers.cancel(timer);
        }
    }
}

/// Puts one answer where it belongs; a client that has gone gets none.
pub(super) fn respond(
    sources: &mut Sources,
    dirty: &mut Vec<Token>,
    asker: Asker,
    write: impl FnOnce(&mut Vec<u8>, &RawValue),
) {
    let Form::Rpc { id, batch } = asker.form else { return };
    let Some(c) = sources.connection(asker.connection) else { return };
    c.pending -= 1;
    match batch {
        None => c.answer(|out| write(out, &id)),
        Some((batch, at)) => c.answer_batch(batch, at, |out| write(out, &id)),
    }
    if !c.dirty {
        c.dirty = true;
        dirty.push(asker.connection);
    }
}
