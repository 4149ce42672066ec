//! `preforkd wait`: until a run has ended.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::terminal::{message, write_out};
use super::{Context, Error, Manner, outcome, status};
use crate::wire::duration::parse_duration;
use crate::wire::status::Status;

/// Wait until a run has ended and show it; Ctrl-C leaves the run alive
///
/// Exit code 0 once the run has ended, however it did; 1 if it still runs at the timeout.
#[derive(Debug, Args)]
pub struct Wait {
    /// The run's id
    id: String,

    /// Wait no longer than this
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// End with the run's own exit code, as `run --wait` does
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

impl Wait {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let mut client = context.client()?;
        client.leave_alive_on_interrupt(&self.id)?;
        let timeout = self.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let answer = client.call("wait", &Request { id: &self.id, timeout }, Manner::WAIT)?;
        let run: Status = answer.read()?;
        let text = match context.json {
            true => format!("{}\n", answer.result),
            false => status::block(&context.terminal, &run, status::now()),
        };
        let written = write_out(text);
        if !run.state.is_final() {
            message(&format!("run {} is still {} at the timeout", run.id, run.state));
            return Err(Error::Reported);
        }
        if self.exit_code {
            return Ok(outcome::exit_code(&run));
        }
        written?;
        Ok(0)
    }
}
