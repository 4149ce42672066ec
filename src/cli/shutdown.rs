//! `preforkd shutdown`: end the daemon and everything it runs.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::client::listens;
use super::terminal::{message, write_out};
use super::{Context, Error, Manner, Nothing};

/// End the daemon: no new runs, then TERM, then KILL
///
/// It returns once the daemon is gone, so that another may be started.
#[derive(Debug, Default, Args)]
pub struct Shutdown {
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

/// Longer than any sensible --shutdown-timeout.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between the master's end, which closes our connection, and the keeper's, which closes the socket.
const KEEPER: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Shutdown {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let socket = context.dirs()?.socket();
        let mut client = context.client()?;
        let answer = client.call("shutdown", &Nothing {}, Manner::CHANGE)?;
        let mut gone = self.no_wait;
        if !gone && client.closed_within(PATIENCE)? {
            let deadline = Instant::now() + KEEPER;
            gone = loop {
                if !listens(&socket) {
                    break true;
                }
                if Instant::now() > deadline {
                    break false;
                }
                thread::sleep(LOOK_EVERY);
            };
        }
        match (context.json, self.no_wait) {
            (true, _) => write_out(format!("{}\n", answer.result))?,
            (false, true) => write_out("stopping\n")?,
            (false, false) if gone => write_out("stopped\n")?,
            (false, false) => {}
        }
        if !gone {
            message(&format!("it was told to stop, but something still answers on {}", socket.display()));
            return Err(Error::Reported);
        }
        Ok(0)
    }
}
