//! One client: what has been read of it, and what waits to be written to it.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::timers::Key;
use crate::wire::info::Role;
use crate::wire::lines::LineBuffer;

/// What may wait unwritten before nothing more is read from the client, in bytes.
const ENOUGH: usize = 1 << 20;
/// Answers that may still be to come before nothing more is read from the client.
const MOST_PENDING: usize = 10_000;
/// What may wait unwritten before the client is given up, in bytes: several of the largest answers.
const TOO_MUCH: usize = 64 << 20;

/// The socket.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over the Unix socket.
    Unix(UnixStream),
}

/// A client.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// What has been read.
    pub lines: LineBuffer,
    /// What waits to be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// What it may ask for.
    pub role: Role,
    /// No line has been looked at yet.
    pub first: bool,
    /// It is in the list of those to be written to.
    pub dirty: bool,
    /// It has sent everything it will.
    pub eof: bool,
    /// It is not there any more; what it has sent still counts.
    pub gone: bool,
    /// Close it once everything is written.
    pub closing: bool,
    /// No more lines are looked at; close it once everything is answered.
    pub last: bool,
    /// Lines wait until there is room for their answers.
    pub paused: bool,
    /// It is told of things without asking again: what waits for it has a bound, so that it may read as slowly as it likes.
    pub subscribed: bool,
    /// Lines wait until a guess has been paid for.
    pub penalty: bool,
    /// Answers that are still to come.
    pub pending: usize,
    /// For the line that is not whole, or the authentication.
    pub request_timer: Option<Key>,
    /// For what is not written.
    pub answer_timer: Option<Key>,
    /// Wrong tokens so far.
    pub wrong_tokens: u32,
    /// Phprocksyd's answers in the order of their commands; None is still to come.
    tickets: VecDeque<Option<Vec<u8>>>,
    first_ticket: u64,
    batches: HashMap<u32, Batch>,
    next_batch: u32,
}

/// Phprocksyd's answers in order, from this place on.
pub type Tickets = (u64, Vec<Option<Vec<u8>>>);
/// Name, answers still to come, answers.
pub type Batches = Vec<(u32, u64, Vec<Vec<u8>>)>;

#[derive(Debug)]
struct Batch {
    /// Answers still to come.
    missing: usize,
    /// In the order of the calls.
    answers: Vec<Vec<u8>>,
}

impl Connection {
    /// A client that has just come.
    pub fn new(stream: Stream, role: Role, max_line: usize) -> Self {
        Connection {
            stream,
            lines: LineBuffer::new(max_line),
            out: Vec::new(),
            written: 0,
            role,
            first: true,
            dirty: false,
            eof: false,
            gone: false,
            closing: false,
            last: false,
            paused: false,
            subscribed: false,
            penalty: false,
            pending: 0,
            request_timer: None,
            answer_timer: None,
            wrong_tokens: 0,
            tickets: VecDeque::new(),
            first_ticket: 0,
            batches: HashMap::new(),
            next_batch: 0,
        }
    }

    /// For registering it.
    pub fn raw_fd(&self) -> RawFd {
        match &self.stream {
            Stream::Tcp(s) => s.as_raw_fd(),
            Stream::Unix(s) => s.as_raw_fd(),
        }
    }

    /// Reads once, through `room`. `Ok(None)`: nothing is there; `Ok(Some(true))`: there may be more.
    /// A read that did not fill its buffer has emptied the socket (epoll(7), question 9).
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<Option<bool>> {
        let got = match &mut self.stream {
            Stream::Tcp(s) => s.read(room),
            Stream::Unix(s) => s.read(room),
        };
        match got {
            Ok(0) => {
                self.eof = true;
                Ok(Some(false))
            }
            Ok(n) => {
                self.lines.push(&room[..n]);
                Ok(Some(n == room.len()))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Some(true)),
            Err(e) => Err(e),
        }
    }

    /// Writes what it can. True: everything.
    pub fn write(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            let wrote = match &mut self.stream {
                Stream::Tcp(s) => s.write(rest),
                Stream::Unix(s) => s.write(rest),
            };
            match wrote {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // The front is dropped now and then, so that a slow reader does not make us keep what it has read.
                    if self.written > ENOUGH {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(false);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > ENOUGH / 4 {
            self.out = Vec::new();
        }
        Ok(true)
    }

    /// Bytes that wait to be written.
    pub fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// Nothing more is read until it has read some of its answers.
    pub fn is_full(&self) -> bool {
        self.unwritten() > ENOUGH || self.pending > MOST_PENDING
    }

    /// It reads so slowly that it is given up.
    pub fn is_hopeless(&self) -> bool {
        self.unwritten() > TOO_MUCH
    }

    /// Whether it came over TCP.
    pub fn is_tcp(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    /// What waits to be written.
    pub fn waiting(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// Answers that wait for others: tickets, and batches behind the name of the latest.
    pub fn in_between(&self) -> (Tickets, (u32, Batches)) {
        let batches = self.batches.iter().map(|(name, b)| (*name, b.missing as u64, b.answers.clone()));
        ((self.first_ticket, self.tickets.iter().cloned().collect()), (self.next_batch, batches.collect()))
    }

    /// Goes on from what another master had.
    pub fn resume(&mut self, out: Vec<u8>, tickets: Tickets, batches: Batches, next_batch: u32) {
        (self.out, self.written) = (out, 0);
        (self.first_ticket, self.tickets) = (tickets.0, tickets.1.into());
        let batches = batches.into_iter().map(|(name, missing, answers)| {
            let missing = missing as usize;
            (name, Batch { missing, answers })
        });
        self.batches = batches.collect();
        self.next_batch = next_batch;
    }

    /// Adds one answer line.
    pub fn answer(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
        self.out.push(b'\n');
    }

    /// Takes the next place in the order of Phprocksyd's answers.
    pub fn ticket(&mut self) -> u64 {
        self.tickets.push_back(None);
        self.first_ticket + self.tickets.len() as u64 - 1
    }

    /// The answer of that place; it is written once all before it are there.
    pub fn answer_ticket(&mut self, ticket: u64, line: Vec<u8>) {
        let at = (ticket - self.first_ticket) as usize;
        if let Some(place) = self.tickets.get_mut(at) {
            *place = Some(line);
        }
        while let Some(Some(line)) = self.tickets.front_mut() {
            let line = std::mem::take(line);
            self.answer(|out| out.extend_from_slice(&line));
            self.tickets.pop_front();
            self.first_ticket += 1;
        }
    }

    /// That place, the last one, stays without an answer.
    pub fn drop_ticket(&mut self, ticket: u64) {
        if ticket + 1 == self.first_ticket + self.tickets.len() as u64 {
            self.tickets.pop_back();
        }
    }

    /// Begins a batch of `answers` answers (more than none).
    pub fn batch(&mut self, answers: usize) -> u32 {
        self.next_batch = self.next_batch.wrapping_add(1);
        self.batches.insert(self.next_batch, Batch { missing: answers, answers: vec![Vec::new(); answers] });
        self.next_batch
    }

    /// The answer at place `at` of a batch; the last one to come completes the line.
    pub fn answer_batch(&mut self, batch: u32, at: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(b) = self.batches.get_mut(&batch) else { return };
        write(&mut b.answers[at]);
        b.missing -= 1;
        if b.missing == 0
            && let Some(done) = self.batches.remove(&batch)
        {
            self.answer(|out| {
                for (i, answer) in done.answers.iter().enumerate() {
                    out.push(if i == 0 { b'[' } else { b',' });
                    out.extend_from_slice(answer);
                }
                out.push(b']');
            });
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(s) => s.as_fd(),
            Stream::Unix(s) => s.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Connection, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        (Connection::new(Stream::Unix(a), Role::Admin, 1024), b)
    }

    #[test]
    fn tickets_are_answered_in_order_and_batches_as_one_line() {
        let (mut c, mut client) = connection();
        let tickets: Vec<u64> = (0..3).map(|_| c.ticket()).collect();
        c.answer_ticket(tickets[2], b"three".to_vec());
        let batch = c.batch(2);
        c.answer_batch(batch, 1, |out| out.push(b'2'));
        c.answer_ticket(tickets[0], b"one".to_vec());
        c.answer_batch(batch, 0, |out| out.push(b'1'));
        c.answer_ticket(tickets[1], b"two".to_vec());
        let last = c.ticket();
        c.answer_ticket(last, b"four".to_vec());
        assert!(c.write().unwrap());
        drop(c);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\n[1,2]\ntwo\nthree\nfour\n");
    }

    #[test]
    fn fault_19_a_client_that_does_not_read_fills_a_bounded_buffer() {
        let (mut c, client) = connection();
        let line = vec![b'x'; 100_000];
        while !c.is_full() {
            c.answer(|out| out.extend_from_slice(&line));
            assert!(!c.is_hopeless());
            c.write().unwrap();
        }
        assert!(c.unwritten() < ENOUGH + 2 * line.len());
        drop(client);
        assert!(c.write().is_err());
    }
}
