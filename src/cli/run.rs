//! `preforkd run`: start a run, and with `--wait` end as it does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

use super::terminal::{Terminal, message, write_out};
use super::{Client, Context, Error, Manner, escape, outcome, params};
use crate::wire::duration::parse_duration;
use crate::wire::status::{State, Status};

const AFTER_HELP: &str = "\
Without --wait the run's id is all that is on stdout, as soon as the run has started.

With --wait:
  stdout     captured output of the run (--output capture), then its result as one line of JSON
  stderr     captured error output, then what went wrong: exception and trace, signal, timeout
  exit code  the run's own; 128+n if signal n ended it; 1 if it never ran
  Codes 1 to 3 may so be the run's or ours: --json tells them apart.
  Ctrl-C stops the waiting, not the run.
With --json stdout is the run's status alone, whatever was captured being in it.

The same --id never starts a second run: the one that is there is answered.

Examples:
  preforkd run billing 'App\\Jobs\\Invoice' --params '{\"customer\": 7}' --wait
  preforkd run billing bin/console --wait --output capture -- cache:clear --env=prod
  preforkd run api reports.daily:build --params @report.json --id daily-2026-11-20
  generate | preforkd run api imports:load --params - --timeout 10m --wait";

/// Run an entry in a warm pool: a class, a function, a script
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Run {
    /// The pool's name (see `preforkd pools`)
    pool: String,

    /// What to run: Class, Class::method, function, package.module:function, path/script
    entry: String,

    /// The entry's one argument: JSON, @FILE that holds it, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true, conflicts_with = "args")]
    params: Option<String>,

    /// Wait for the exit and end with the run's own exit code
    #[arg(long, short)]
    wait: bool,

    /// Id of the run, [A-Za-z0-9._:-], 64 at most; default: a new one
    #[arg(long)]
    id: Option<String>,

    /// End the run after this time: TERM, then KILL
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Time between TERM and KILL
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    kill_timeout: Option<Duration>,

    /// Set an environment variable; may be repeated
    #[arg(long, short, value_name = "K=V", value_parser = params::variable)]
    env: Vec<(String, String)>,

    /// The run's stdin: a file, or - for ours; default: empty
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<String>,

    /// Where its output goes; default: what the pool says
    #[arg(long, value_enum, value_name = "WHERE")]
    output: Option<Output>,

    /// Arguments of a script
    #[arg(last = true, value_name = "ARG")]
    args: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    /// The pool's log files
    Log,
    /// The last 64 KiB of each, in the status
    Capture,
    /// The daemon's own output
    Inherit,
    /// Nowhere
    None,
}

#[derive(Serialize)]
struct Request<'a> {
    pool: &'a str,
    entry: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill_timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<String>,
    wait: bool,
}

impl Run {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        if self.params.as_deref() == Some("-") && self.stdin.as_deref() == Some("-") {
            return Err(Error::Usage("--params - and --stdin - both want stdin: give one of them a file".into()));
        }
        let params = self.params.as_deref().map(params::params).transpose()?;
        let stdin = self.stdin.as_deref().map(params::input).transpose()?;
        // An id of our own makes the call repeatable should the master be replaced meanwhile.
        let id = self.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let request = Request {
            pool: &self.pool,
            entry: &self.entry,
            id: &id,
            params: params.as_deref(),
            args: &self.args,
            env: self.env.iter().map(|(name, value)| (&**name, &**value)).collect(),
            timeout: self.timeout.map(milliseconds),
            kill_timeout: self.kill_timeout.map(milliseconds),
            output: self.output,
            stdin,
            wait: self.wait,
        };
        let mut client = context.client()?;
        if self.wait {
            client.leave_alive_on_interrupt(&id)?;
        }
        self.start(context, &mut client, request)
    }

    fn start(&self, context: &Context, client: &mut Client, request: Request) -> Result<u8, Error> {
        let manner = if self.wait { Manner::WAIT } else { Manner::START };
        let answer = client.call("run", &request, manner)?;
        let mut status: Status = answer.read()?;
        let mut json = Cow::Borrowed(answer.result.get());
        if answer.repeated && self.id.is_none() && status.duplicate.is_some() {
            // Said twice by us, so that `duplicate` says nothing about the id.
            status.duplicate = None;
            json = Cow::Owned(serde_json::to_string(&status).map_err(|error| Error::Failed(error.to_string()))?);
        }
        if status.duplicate == Some(true) {
            message(&format!("the id {} was taken, so nothing was started: this is the run that has it", status.id));
        }
        let written = match (context.json, self.wait) {
            (true, _) => write_out(format!("{json}\n")),
            (false, true) => ended(&context.terminal, &status),
            (false, false) => write_out(format!("{}\n", status.id)),
        };
        match written.map_err(Error::from) {
            // The exit code is worth more to a script than who reads our output.
            Ok(()) | Err(Error::ReaderGone) => {}
            Err(error) => return Err(error),
        }
        self.report(context, &status)
    }

    /// What went wrong, on stderr, and the exit code.
    fn report(&self, context: &Context, status: &Status) -> Result<u8, Error> {
        let wrong = outcome::report(status).filter(|_| self.wait || status.state == State::Failed);
        if let Some(wrong) = &wrong {
            message(wrong);
            if self.wait && context.terminal.person && status.stderr.is_none() && status.state == State::Exited {
                hint(context, status);
            }
        }
        match status.state {
            _ if self.wait => Ok(outcome::exit_code(status)),
            State::Failed => Err(Error::Reported),
            _ => Ok(0),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Shows what a run that was waited for left behind.
fn ended(terminal: &Terminal, status: &Status) -> io::Result<()> {
    let captured = status.stderr.as_deref().unwrap_or("");
    let newline = if captured.is_empty() || captured.ends_with('\n') { "" } else { "\n" };
    // Nobody is left to tell if this fails.
    let _ = write!(io::stderr(), "{captured}{newline}");
    write_out(on_stdout(terminal, status))
}

/// Captured output as it is, then the result on a line of its own.
fn on_stdout(terminal: &Terminal, status: &Status) -> String {
    let mut text = status.stdout.as_deref().unwrap_or("").to_owned();
    if let Some(result) = &status.result {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match terminal.person {
            true => text.push_str(&escape::json(result.get())),
            false => text.push_str(result.get()),
        }
        text.push('\n');
    }
    text
}

/// Where to look when a run that was not captured went wrong.
fn hint(context: &Context, status: &Status) {
    let Ok(dirs) = context.dirs() else { return };
    let log = dirs.logs().join(format!("{}-error.log", status.pool));
    if log.exists() {
        message(&format!("its output is in {} (or use --output capture)", log.display()));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::tests::status;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        run: Run,
    }

    fn parse(arguments: &[&str]) -> Result<Run, clap::Error> {
        Alone::try_parse_from(["run", "billing", "E"].iter().chain(arguments)).map(|alone| alone.run)
    }

    #[test]
    fn arguments_of_a_script_stand_after_two_dashes() {
        let run = parse(&["--wait", "--", "cache:clear", "--env=prod", "--wait"]).unwrap();
        assert_eq!(run.args, ["cache:clear", "--env=prod", "--wait"]);
        assert!(run.wait && run.env.is_empty());
        assert!(parse(&["cache:clear"]).is_err());
    }

    #[test]
    fn params_and_arguments_exclude_each_other() {
        let error = parse(&["--params", "1", "--", "a"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
    }

    #[test]
    fn negative_numbers_and_stdin_are_params() {
        assert_eq!(parse(&["--params", "-5"]).unwrap().params.as_deref(), Some("-5"));
        assert_eq!(parse(&["--params", "-"]).unwrap().params.as_deref(), Some("-"));
    }

    #[test]
    fn bad_durations_and_variables_are_refused() {
        for wrong in [["--timeout", "soon"], ["--kill-timeout", "1w"], ["--env", "X"], ["--output", "file"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(parse(&["--timeout", "5m"]).unwrap().timeout, Some(Duration::from_secs(300)));
    }

    #[test]
    fn stdin_serves_one_purpose() {
        let run = parse(&["--params", "-", "--stdin", "-"]).unwrap();
        let context = Context { dir: Some("/nowhere".into()), json: false, terminal: Terminal::PLAIN };
        assert!(run.execute(&context).unwrap_err().is_usage());
    }

    #[test]
    fn output_comes_first_and_the_result_has_its_own_line() {
        let run = status(r#"{"state":"exited","exit_code":0,"stdout":"no newline","result":{"a":1}}"#);
        assert_eq!(on_stdout(&Terminal::PLAIN, &run), "no newline\n{\"a\":1}\n");
        let quiet = status(r#"{"state":"exited","exit_code":0}"#);
        assert_eq!(on_stdout(&Terminal::PLAIN, &quiet), "");
    }
}
