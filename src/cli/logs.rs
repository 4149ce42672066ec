//! `preforkd logs`: the last lines, and those that come.

use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::interrupt::Interrupt;
use super::terminal::{Hue, Terminal, message, write_out};
use super::{Client, Context, Error, Manner, escape};
use crate::wire::apps::{Gap, LogLine, Logs as Answer};

/// How long a daemon whose master has died may take to have another one.
const SUCCESSOR: Duration = Duration::from_secs(10);

/// Show the last lines of logs, and follow them
///
/// On a terminal it goes on with the lines that come, until Ctrl-C; elsewhere only with -f.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Names, ids, namespaces, `all` or `/REGEX/` [default: all]
    #[arg(value_name = "TARGET")]
    target: Vec<String>,

    /// How many of the last lines of each file
    #[arg(long, default_value_t = 15, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    lines: u32,

    /// Do not follow
    #[arg(long, conflicts_with = "follow")]
    nostream: bool,

    /// Follow even where stdout is not a terminal
    #[arg(short, long)]
    follow: bool,

    /// Only standard error
    #[arg(long, conflicts_with = "out")]
    err: bool,

    /// Only standard output
    #[arg(long)]
    out: bool,

    /// Only lines in which this regular expression is found
    #[arg(long, value_name = "RE")]
    grep: Option<Regex>,
}

#[derive(Debug, Serialize)]
struct Params<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    target: &'a [String],
    lines: u32,
    follow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
}

/// What comes by itself to whoever follows `apps.logs`.
#[derive(Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "lowercase")]
pub enum Notification<'a> {
    /// A line has come.
    #[serde(borrow)]
    Log(LogLine<'a>),
    /// Lines have come that are not told.
    Gap(Gap),
}

/// How lines look, and which of them are wanted.
struct View<'a> {
    json: bool,
    terminal: Terminal,
    grep: Option<&'a Regex>,
    /// Of the names so far, so that the texts stand below each other.
    width: usize,
}

impl Logs {
    pub fn execute(self, context: &Context) -> Result<u8, Error> {
        let follow = !self.nostream && (self.follow || context.terminal.person);
        let stream = if self.err { Some("err") } else { self.out.then_some("out") };
        let mut client = context.client()?;
        let interrupt = follow.then(|| client.end_on_interrupt()).transpose()?;
        let mut view = View { json: context.json, terminal: context.terminal, grep: self.grep.as_ref(), width: 0 };
        let mut params = Params { target: &self.target, lines: self.lines, follow, stream };
        let pressed = |interrupt: &Option<Interrupt>| interrupt.as_ref().is_some_and(Interrupt::pressed);
        loop {
            match client.call("apps.logs", &params, Manner::READ) {
                Ok(answer) => view.show(&answer.read::<Answer<'_>>()?.lines)?,
                Err(_) if pressed(&interrupt) => return Ok(0),
                Err(e) => return Err(e),
            }
            if !follow {
                return Ok(0);
            }
            self.listen(&mut client, &mut view)?;
            if pressed(&interrupt) {
                return Ok(0);
            }
            // What the last lines of the files are now has been shown already, but for a moment's.
            params.lines = 0;
            let there = client.reconnect_within(SUCCESSOR);
            if pressed(&interrupt) {
                return Ok(0);
            }
            if !there? {
                message("the daemon has ended");
                return Ok(0);
            }
            message("the daemon's master was replaced; lines may be missing here, in the files they are not");
        }
    }

    /// Shows what comes, until the connection ends.
    fn listen(&self, client: &mut Client, view: &mut View<'_>) -> Result<(), Error> {
        while let Some(line) = client.notification()? {
            match serde_json::from_slice(&line) {
                Ok(Notification::Log(line)) => view.show(&[line])?,
                Ok(Notification::Gap(Gap { lost })) => {
                    message(&format!("{lost} lines came faster than they were read here, and are in the files alone"));
                }
                Err(e) => return Err(Error::Failed(format!("the daemon tells of something unknown: {e}"))),
            }
        }
        Ok(())
    }
}

impl View<'_> {
    fn show(&mut self, lines: &[LogLine<'_>]) -> Result<(), Error> {
        let mut out = String::new();
        for line in lines {
            if self.grep.is_some_and(|grep| !grep.is_match(&line.text)) {
                continue;
            }
            out.push_str(&self.line(line)?);
            out.push('\n');
        }
        if !out.is_empty() {
            write_out(out)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &LogLine<'_>) -> Result<String, Error> {
        if self.json {
            let text =
                serde_json::to_string(line).map_err(|e| Error::Failed(format!("cannot write a line as JSON: {e}")))?;
            return Ok(escape::json(&text).into_owned());
        }
        let name = match line.worker {
            Some(id) => format!("{id}|{}", line.name),
            None => line.name.to_string(),
        };
        self.width = self.width.max(name.len());
        let hue = if line.stream == "err" { Hue::Error } else { Hue::of(&line.name) };
        let prefix = self.terminal.tint(hue, &format!("{name:width$} | ", width = self.width));
        // A pipe gets the bytes; a terminal must not be steered by them.
        let text = line.text.trim_end_matches('\r');
        Ok(if self.terminal.person { format!("{prefix}{}", escape::lines(text)) } else { format!("{prefix}{text}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, worker: Option<u32>, text: &'static str) -> LogLine<'static> {
        LogLine { name: name.into(), worker, stream: "out".into(), at: None, text: text.into() }
    }

    fn view(json: bool, terminal: Terminal) -> View<'static> {
        View { json, terminal, grep: None, width: 0 }
    }

    #[test]
    fn names_stand_before_texts_that_stand_below_each_other() {
        let mut view = view(false, Terminal::PLAIN);
        assert_eq!(view.line(&line("billing", None, "a")).unwrap(), "billing | a");
        assert_eq!(view.line(&line("web", Some(7), "b\r")).unwrap(), "7|web   | b");
    }

    #[test]
    fn a_terminal_is_not_steered_and_a_pipe_gets_the_bytes() {
        let text = "\x1b[2Jx\ty";
        assert_eq!(view(false, Terminal::PLAIN).line(&line("a", None, text)).unwrap(), "a | \x1b[2Jx\ty");
        let terminal = Terminal { person: true, ..Terminal::PLAIN };
        assert_eq!(view(false, terminal).line(&line("a", None, text)).unwrap(), "a | \\x1b[2Jx\ty");
        let colours = Terminal { person: true, colour: true, ..Terminal::PLAIN };
        let coloured = view(false, colours).line(&line("a", None, "x")).unwrap();
        assert!(coloured.starts_with("\x1b[") && coloured.ends_with("a | \x1b[0mx"), "{coloured:?}");
    }

    #[test]
    fn json_is_one_line_of_the_protocol_a_line() {
        let text = view(true, Terminal::PLAIN).line(&line("a", Some(1), "x\u{9b}")).unwrap();
        assert_eq!(text, r#"{"name":"a","worker":1,"stream":"out","at":null,"text":"x\u009b"}"#);
    }

    #[test]
    fn notifications_are_read() {
        let text = r#"{"jsonrpc":"2.0","method":"log","params":{"name":"a","worker":null,"stream":"err","at":"2026-11-20T23:11:02.123456Z","text":"q\"x"}}"#;
        assert!(matches!(serde_json::from_str(text).unwrap(), Notification::Log(line) if line.text == "q\"x"));
        let text = r#"{"jsonrpc":"2.0","method":"gap","params":{"lost":3}}"#;
        assert!(matches!(serde_json::from_str(text).unwrap(), Notification::Gap(Gap { lost: 3 })));
    }
}
