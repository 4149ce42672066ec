//! `preforkd kill`: a signal to a run and its whole group; without a run the end of the daemon.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::shutdown::Shutdown;
use super::terminal::write_out;
use super::{Context, Error, Manner};
use crate::wire::duration::parse_duration;
use crate::wire::signal::signal_number;
use crate::wire::status::Status;

/// End a run: TERM, after a grace time KILL; without ID end the daemon
///
/// It does not wait for the end of a run; `preforkd wait ID` does. Without ID it is `preforkd shutdown`.
#[derive(Debug, Args)]
pub struct Kill {
    /// The run's id; none: the daemon
    id: Option<String>,

    /// Signal by name or number; default: TERM
    #[arg(long, short, value_name = "S", value_parser = signal, requires = "id")]
    signal: Option<i32>,

    /// Time until KILL follows; default: the run's kill_timeout
    #[arg(long, value_name = "D", value_parser = parse_duration, requires = "id")]
    grace: Option<Duration>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<u64>,
}

pub(super) fn signal(text: &str) -> Result<i32, String> {
    signal_number(text).ok_or_else(|| "expected a signal such as TERM, SIGUSR1 or 9".into())
}

impl Kill {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let Some(id) = &self.id else {
            return Shutdown::default().execute(context);
        };
        let grace = self.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let request = Request { id, signal: self.signal, grace };
        let answer = context.client()?.call("kill", &request, Manner::CHANGE)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
        } else {
            let run: Status = answer.read()?;
            write_out(format!("{} {}\n", run.id, run.state))?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal("SIGUSR1"), Ok(10));
        assert_eq!(signal("hup"), Ok(1));
        assert_eq!(signal("9"), Ok(9));
        assert!(signal("FOO").unwrap_err().contains("expected"));
    }
}
