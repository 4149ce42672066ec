//! Node's channel: `process.send` and `process.on("message")` in a worker, which `wait_ready` and
//! `shutdown_with_message` of pm2 need. A line of JSON each way (`NODE_CHANNEL_SERIALIZATION_MODE=json`).
//!
//! Our end is with the keeper, too: a process whose channel is cut would be told so, and many end then.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{debug, warn};

use super::super::Master;
use super::super::sources::Source;
use crate::processfile::{App, Program, Ready};
use crate::wire::control::ToKeeper;

/// The longest message that is looked at, in bytes; what is longer is no `"ready"`.
const MOST: usize = 4096;

/// How often a channel is read from in one turn, so that one that never stops does not keep the others from being heard.
const READS_A_TURN: usize = 16;

/// Our end of one process's channel.
#[derive(Debug)]
pub struct NodeChannel {
    stream: UnixStream,
    slot: u32,
    line: Vec<u8>,
}

/// What one turn has brought.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    /// The process has said that it is ready.
    ready: bool,
    rest: Rest,
}

/// What is left of it.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// Perhaps: not all has been read.
    More,
    /// Its process has ended, or does not want it any more.
    Closed,
}

impl NodeChannel {
    /// Reads so often at most.
    fn hear(&mut self, reads: usize) -> Heard {
        let mut ready = false;
        let mut buffer = [0; 4096];
        for _ in 0..reads {
            let n = match self.stream.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Heard { ready, rest: Rest::Nothing },
                Ok(0) | Err(_) => return Heard { ready, rest: Rest::Closed },
                Ok(n) => n,
            };
            for &byte in &buffer[..n] {
                if byte == b'\n' {
                    ready |= self.line == b"\"ready\"";
                    self.line.clear();
                } else if self.line.len() < MOST {
                    self.line.push(byte);
                }
            }
        }
        Heard { ready, rest: Rest::More }
    }
}

/// Whether that app's processes get one.
pub(super) fn wanted(app: &App) -> bool {
    let Program::Exec { interpreter, .. } = &app.program else { return false };
    let first = interpreter.first().and_then(|word| Path::new(word).file_name());
    let node = first.is_some_and(|name| name.as_encoded_bytes().starts_with(b"node"));
    node && (app.ready == Ready::Notify || app.shutdown_with_message)
}

fn store_name(slot: u32) -> String {
    format!("node/{slot}")
}

impl Master {
    /// Makes a channel for the process in that slot; its end is the result.
    pub(super) fn open_node_channel(&mut self, slot: u32) -> io::Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair()?;
        self.tell_keeper(&ToKeeper::Store(store_name(slot)), Some(ours.as_fd()));
        self.watch_node_channel(slot, ours)?;
        Ok(theirs.into())
    }

    fn watch_node_channel(&mut self, slot: u32, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let fd = stream.as_raw_fd();
        let token = self.sources.add(Source::Node(Box::new(NodeChannel { stream, slot, line: Vec::new() })));
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        if let Some(live) = self.runs.live(slot) {
            live.node = Some(token);
        }
        Ok(())
    }

    /// One that a former master had.
    pub(in super::super) fn adopt_node_channel(&mut self, slot: u32, fd: OwnedFd) {
        let there = self.runs.live(slot).is_some_and(|live| live.worker.is_some());
        if !there {
            return self.tell_keeper(&ToKeeper::Drop(store_name(slot)), None);
        }
        if let Err(e) = self.watch_node_channel(slot, fd.into()) {
            warn!(self.log, "taking over a channel of Node's"; "error" => %e);
        }
    }

    /// Its process says something.
    pub(in super::super) fn node_says(&mut self, token: Token) {
        let Some(Source::Node(channel)) = self.sources.get(token) else { return };
        let (slot, heard) = (channel.slot, channel.hear(READS_A_TURN));
        if heard.ready {
            self.process_ready(slot);
        }
        match heard.rest {
            Rest::Nothing => {}
            Rest::More => self.again_nodes.push(token),
            Rest::Closed => self.close_node_channel(slot),
        }
    }

    /// Asks the process to end by Node's message. False: it has no channel, or does not read it.
    pub(super) fn send_shutdown_message(&mut self, slot: u32) -> bool {
        let Some(token) = self.runs.live(slot).and_then(|live| live.node) else { return false };
        let Some(Source::Node(channel)) = self.sources.get(token) else { return false };
        match channel.stream.write(b"\"shutdown\"\n") {
            Ok(n) => n > 0,
            Err(e) => {
                debug!(self.log, "telling a worker to shut down"; "error" => %e);
                false
            }
        }
    }

    /// Its process has ended, or does not want it any more.
    pub(super) fn close_node_channel(&mut self, slot: u32) {
        let Some(token) = self.runs.live(slot).and_then(|live| live.node.take()) else { return };
        if let Some(Source::Node(channel)) = self.sources.remove(token) {
            // Off the loop before it is closed: the keeper has a copy for a moment.
            let _ = self.poll.registry().deregister(&mut SourceFd(&channel.stream.as_raw_fd()));
            self.tell_keeper(&ToKeeper::Drop(store_name(slot)), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_reads_so_much_and_the_next_one_goes_on() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut channel = NodeChannel { stream: ours, slot: 0, line: Vec::new() };
        let mut hear = |ready, rest| assert_eq!(channel.hear(2), Heard { ready, rest });
        hear(false, Rest::Nothing);
        theirs.write_all(&[b'x'; 3 * 4096 - 1]).unwrap();
        theirs.write_all(b"\n\"rea").unwrap();
        hear(false, Rest::More);
        hear(false, Rest::More);
        theirs.write_all(b"dy\"\n").unwrap();
        drop(theirs);
        hear(true, Rest::Closed);
    }
}
