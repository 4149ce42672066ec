//! What an event may come from. A token is an index and a generation, so that an event that was fetched
//! before its source went can never reach the next user of the place.

use std::os::fd::OwnedFd;

use mio::Token;
use slab::Slab;

use super::apps::{NodeChannel, Probe};
use super::capture::Capture;
use super::connection::Connection;
use super::logs::LogPipe;

/// A source of events.
#[derive(Debug)]
pub enum Source {
    /// The exit ring has something.
    Wake,
    /// The keeper speaks.
    Keeper,
    /// Somebody wants to connect; an index into the listeners.
    Listener(usize),
    /// A client.
    Connection(Box<Connection>),
    /// A generation's reply channel.
    Replies { pool: usize, generation: u32 },
    /// Workers say that they are ready.
    Notify,
    /// A worker's channel in Node's way.
    Node(Box<NodeChannel>),
    /// A probe of a worker's readiness.
    Probe(Box<Probe>),
    /// Watched files have changed.
    Watch,
    /// The list of apps has been written.
    List,
    /// The process file has been read again.
    ProcessFile,
    /// What is to be the master speaks.
    Successor,
    /// Another keeper may come.
    Adoption(OwnedFd),
    /// A process whose parent the keeper is not.
    Process { slot: u32, seq: u64 },
    /// A run's captured output.
    Capture(Box<Capture>),
    /// The output of a pool or worker.
    Log(Box<LogPipe>),
}

/// All of them.
#[derive(Debug, Default)]
pub struct Sources {
    entries: Slab<(u32, Source)>,
    generation: u32,
}

impl Sources {
    /// Gives a source its token.
    pub fn add(&mut self, source: Source) -> Token {
        self.generation = self.generation.wrapping_add(1);
        let index = self.entries.insert((self.generation, source));
        Token((self.generation as usize) << 32 | index)
    }

    /// Whose token this is, if it still is anybody's.
    pub fn get(&mut self, token: Token) -> Option<&mut Source> {
        let (generation, source) = self.entries.get_mut(token.0 & 0xffff_ffff)?;
        (*generation as usize == token.0 >> 32).then_some(source)
    }

    /// The same, only to look at.
    pub fn peek(&self, token: Token) -> Option<&Source> {
        let (generation, source) = self.entries.get(token.0 & 0xffff_ffff)?;
        (*generation as usize == token.0 >> 32).then_some(source)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Token, &Source)> + '_ {
        self.entries.iter().map(|(index, (generation, source))| (Token((*generation as usize) << 32 | index), source))
    }

    /// The connection of that token.
    pub fn connection(&mut self, token: Token) -> Option<&mut Connection> {
        match self.get(token)? {
            Source::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    /// The capture of that token.
    pub fn capture(&mut self, token: Token) -> Option<&mut Capture> {
        match self.get(token)? {
            Source::Capture(capture) => Some(capture),
            _ => None,
        }
    }

    /// The output of that token.
    pub fn log(&mut self, token: Token) -> Option<&mut LogPipe> {
        match self.get(token)? {
            Source::Log(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// Ends a token; the source is the caller's.
    pub fn remove(&mut self, token: Token) -> Option<Source> {
        self.get(token)?;
        Some(self.entries.remove(token.0 & 0xffff_ffff).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_does_not_reach_the_next_one() {
        let mut sources = Sources::default();
        let old = sources.add(Source::Wake);
        assert!(matches!(sources.remove(old), Some(Source::Wake)));
        let new = sources.add(Source::Keeper);
        assert_eq!(old.0 & 0xffff_ffff, new.0 & 0xffff_ffff, "the place is used again");
        assert!(sources.get(old).is_none() && sources.remove(old).is_none());
        assert!(matches!(sources.get(new), Some(Source::Keeper)));
    }
}
