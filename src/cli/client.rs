//! One connection to the daemon's Unix socket, one JSON-RPC call at a time.
//!
//! The keeper holds the listening socket, so a master that dies costs a connection
//! and no more: calls that may be said twice are said again on a new one.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use super::interrupt::Interrupt;
use crate::wire::client::{Answer as Line, write_call};

/// How often a call is repeated after connections that were cut at once.
const REPEATS: u32 = 6;
/// A connection that lived this long was a good one, and the count starts again.
const GOOD_CONNECTION: Duration = Duration::from_secs(1);
/// Wait before the first repetition; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How a call is to be treated.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    patience: Option<Duration>,
    repeatable: bool,
}

impl Manner {
    /// Reads something: the answer comes soon, and asking twice does no harm.
    pub const READ: Manner = Manner { patience: Some(Duration::from_secs(60)), repeatable: true };
    /// Changes something: said once. Reloads and starts may take their time.
    pub const CHANGE: Manner = Manner { patience: Some(Duration::from_secs(600)), repeatable: false };
    /// `run` with an id of the client's: idempotent, so that it may be repeated.
    pub const START: Manner = Manner { patience: Some(Duration::from_secs(600)), repeatable: true };
    /// Waits for an exit, however long it takes.
    pub const WAIT: Manner = Manner { patience: None, repeatable: true };
}

/// What the daemon answered.
#[derive(Debug)]
pub struct Answer {
    /// The `result`, byte for byte.
    pub result: Box<RawValue>,
    /// The call was said more than once.
    pub repeated: bool,
}

impl Answer {
    /// The result as `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(self.result.get()).map_err(|error| {
            Error::Failed(format!(
                "the daemon's answer has another form than this version knows ({error}); \
                 compare `preforkd --version` and `preforkd ping`"
            ))
        })
    }
}

/// The params of methods that take none.
#[derive(Debug, Serialize)]
pub struct Nothing {}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    reader: BufReader<UnixStream>,
    opened: Instant,
    interrupt: Option<Interrupt>,
}

/// Why an exchange gave no answer.
enum Lost {
    /// The connection ended; the daemon may have done what was asked.
    Cut,
    For(Error),
}

impl Client {
    /// Connects to the daemon that listens on `socket`.
    pub fn connect(socket: PathBuf) -> Result<Client, Error> {
        let stream = open(&socket)?;
        Ok(Client { socket, reader: BufReader::new(stream), opened: Instant::now(), interrupt: None })
    }

    /// From now on Ctrl-C ends a wait with [`Error::Interrupted`].
    pub fn leave_alive_on_interrupt(&mut self, run: &str) -> Result<(), Error> {
        let interrupt = Interrupt::install(run)?;
        interrupt.watch(self.reader.get_ref())?;
        self.interrupt = Some(interrupt);
        Ok(())
    }

    /// From now on Ctrl-C ends the connection, and what is waited for with it; whoever is given this asks whether it did.
    pub fn end_on_interrupt(&mut self) -> Result<Interrupt, Error> {
        let interrupt = Interrupt::install("")?;
        interrupt.watch(self.reader.get_ref())?;
        self.interrupt = Some(interrupt.clone());
        Ok(interrupt)
    }

    /// Calls `method` and reads its answer.
    pub fn call<P: Serialize>(&mut self, method: &str, params: &P, manner: Manner) -> Result<Answer, Error> {
        let mut line = Vec::new();
        write_call(&mut line, 1, method, params)
            .map_err(|error| Error::Failed(format!("cannot write the request `{method}`: {error}")))?;
        let mut repeated = false;
        let mut left = REPEATS;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.exchange(&line, manner.patience) {
                Ok(answer) => {
                    return match answer.into_result() {
                        Ok(result) => Ok(Answer { result, repeated }),
                        Err(error) => Err(Error::Refused(error)),
                    };
                }
                Err(Lost::For(error)) => return Err(error),
                Err(Lost::Cut) => {}
            }
            if let Some(interrupt) = &self.interrupt {
                interrupt.check()?;
            }
            if !manner.repeatable {
                return Err(Error::Failed(format!(
                    "the connection ended before `{method}` was answered, and it may have been done; \
                     look with `preforkd list` before trying again"
                )));
            }
            if self.opened.elapsed() >= GOOD_CONNECTION {
                (left, pause) = (REPEATS, FIRST_PAUSE);
            }
            if left == 0 {
                return Err(Error::Failed(format!(
                    "the daemon on {} ends every connection before it answers; look at its log",
                    self.socket.display()
                )));
            }
            left -= 1;
            thread::sleep(pause);
            pause *= 2;
            self.reconnect()?;
            repeated = true;
        }
    }

    /// The next line that the daemon sends by itself; None at the connection's end. Waits for as long as it takes.
    pub fn notification(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.set_patience(None)?;
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            // A line without its end is what was under way when the master died.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// A new connection, once the master that is to follow listens. Whether there is one within `patience`.
    pub fn reconnect_within(&mut self, patience: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(interrupt) = &self.interrupt {
                interrupt.check()?;
            }
            match self.reconnect() {
                Err(Error::NoDaemon { .. }) if Instant::now() < deadline => thread::sleep(FIRST_PAUSE),
                Err(Error::NoDaemon { .. }) => return Ok(false),
                other => return other.map(|()| true),
            }
        }
    }

    /// The connection itself, for whoever is to end it while it is waited for.
    pub fn handle(&self) -> io::Result<UnixStream> {
        self.reader.get_ref().try_clone()
    }

    /// Blocks until the daemon closes the connection, at most for `patience`. Whether it did.
    pub fn closed_within(&mut self, patience: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.set_patience(Some(left))?;
            let mut line = Vec::new();
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return Ok(false),
                Err(_) => return Ok(true),
            }
        }
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        let stream = open(&self.socket)?;
        if let Some(interrupt) = &self.interrupt {
            interrupt.watch(&stream)?;
        }
        self.reader = BufReader::new(stream);
        self.opened = Instant::now();
        Ok(())
    }

    fn exchange(&mut self, line: &[u8], patience: Option<Duration>) -> Result<Line, Lost> {
        self.set_patience(patience).map_err(Lost::For)?;
        // A daemon that refuses a long line answers and closes while we still write:
        // the answer is there even though the write failed.
        let written = self.reader.get_mut().write_all(line);
        let mut answer = Vec::new();
        let mut read = self.reader.read_until(b'\n', &mut answer);
        if written.is_err() && matches!(&read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset) {
            read = self.reader.read_until(b'\n', &mut answer);
        }
        match read {
            Ok(_) if answer.ends_with(b"\n") => serde_json::from_slice(&answer).map_err(|error| {
                Lost::For(Error::Failed(format!(
                    "what answers on {} does not speak JSON-RPC: {error}",
                    self.socket.display()
                )))
            }),
            Ok(_) => Err(Lost::Cut),
            Err(error) if is_timeout(&error) => Err(Lost::For(Error::Failed(format!(
                "no answer on {} within {} s: the daemon is there, but stopped or too busy",
                self.socket.display(),
                patience.unwrap_or_default().as_secs()
            )))),
            Err(_) => Err(Lost::Cut),
        }
    }

    fn set_patience(&self, patience: Option<Duration>) -> Result<(), Error> {
        self.reader
            .get_ref()
            .set_read_timeout(patience)
            .map_err(|error| Error::Failed(format!("cannot set the connection's timeout: {error}")))
    }
}

/// SO_RCVTIMEO ends a read with EAGAIN (socket(7)).
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Whether anybody listens on `socket`.
pub fn listens(socket: &std::path::Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn open(socket: &std::path::Path) -> Result<UnixStream, Error> {
    UnixStream::connect(socket).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Failed(format!(
            "may not connect to {}: it belongs to another user; run as the daemon's user or as root",
            socket.display()
        )),
        _ => Error::NoDaemon { socket: socket.to_owned(), source },
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
