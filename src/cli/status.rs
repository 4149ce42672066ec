//! `preforkd status`: one run in full; without an id the same as `list`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::terminal::{Style, Terminal, write_out};
use super::{ById, Context, Error, Manner, escape, human, list, outcome};
use crate::wire::status::{Status, Timestamp};

/// Show a run: state, exit, result, times, what it used (without ID: `list`)
#[derive(Debug, Args)]
pub struct Show {
    /// The run's id
    id: Option<String>,
}

impl Show {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let Some(id) = &self.id else {
            return list::List {}.execute(context);
        };
        let answer = context.client()?.call("status", &ById { id }, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
        } else {
            write_out(block(&context.terminal, &answer.read()?, now()))?;
        }
        Ok(0)
    }
}

/// ns since the epoch.
pub fn now() -> u64 {
    Timestamp::from(SystemTime::now()).0
}

/// A time for people or, where none reads, for programs.
pub fn when(terminal: &Terminal, now: u64, time: Option<Timestamp>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if terminal.person => human::ago(now, time.0),
        Some(time) => time.to_string(),
    }
}

/// How long it has run, or ran.
pub fn took(status: &Status, now: u64) -> Option<Duration> {
    let start = status.started_at?.0;
    let end = match status.ended_at {
        Some(end) => end.0,
        None if status.state.is_final() => return None,
        None => now,
    };
    Some(Duration::from_nanos(end.saturating_sub(start)))
}

/// One run as lines of label and value; what does not apply has no line.
pub fn block(terminal: &Terminal, status: &Status, now: u64) -> String {
    let mut block = Block { terminal, out: String::new() };
    block.line("id", &status.id);
    block.line("pool", &status.pool);
    block.line("entry", &status.entry);
    block.styled("state", outcome::style(status), status.state.as_str());
    block.maybe("timed out", status.timed_out.then_some("yes"));
    block.maybe("exit code", status.exit_code);
    if let Some(signal) = status.signal {
        let name = status.signal_name.as_deref().unwrap_or("?");
        let core = if status.core_dumped == Some(true) { ", core dumped" } else { "" };
        block.line("signal", &format!("{signal} {name}{core}"));
    }
    block.maybe("pid", status.pid);
    block.maybe("generation", status.generation);
    for (label, time) in [("queued", status.queued_at), ("started", status.started_at), ("ended", status.ended_at)] {
        if let Some(time) = time {
            let text = match terminal.person {
                true => format!("{} ({time})", human::ago(now, time.0)),
                false => time.to_string(),
            };
            block.line(label, &text);
        }
    }
    block.maybe("took", took(status, now).map(human::span));
    if let Some(usage) = &status.usage {
        let span = |us| human::span(Duration::from_micros(us));
        block.line("cpu", &format!("{} user, {} system", span(usage.user_us), span(usage.system_us)));
        block.line("memory", &format!("{} at most", human::size(usage.max_rss_bytes)));
        block.line("faults", &format!("{} minor, {} major", usage.minor_faults, usage.major_faults));
        block.line(
            "switches",
            &format!("{} voluntary, {} involuntary", usage.voluntary_switches, usage.involuntary_switches),
        );
    }
    if let Some(result) = &status.result {
        block.line("result", &escape::json(result.get()));
    }
    if let Some(error) = &status.error {
        block.text("error", &format!("{}: {}", error.class, error.message));
        if let Some(trace) = &error.trace {
            block.text("trace", trace);
        }
    }
    for (label, captured) in [("stdout", &status.stdout), ("stderr", &status.stderr)] {
        if let Some(captured) = captured.as_deref().filter(|text| !text.is_empty()) {
            block.text(label, captured);
        }
    }
    block.out
}

/// Lines of label and value.
pub struct Block<'a> {
    /// Decides on colours.
    pub terminal: &'a Terminal,
    /// The lines so far.
    pub out: String,
}

const LABEL: usize = 12;

impl Block<'_> {
    /// A value of one line, escaped.
    pub fn line(&mut self, label: &str, value: &str) {
        self.styled(label, Style::Normal, value);
    }

    /// The same in a style.
    pub fn styled(&mut self, label: &str, style: Style, value: &str) {
        let label = self.terminal.paint(Style::Label, &format!("{label:LABEL$}"));
        let value = self.terminal.paint(style, &escape::line(value));
        let _ = writeln!(self.out, "{label}{value}");
    }

    /// A line if there is a value.
    pub fn maybe(&mut self, label: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.line(label, &value.to_string());
        }
    }

    /// A value of several lines, the later ones indented to the first.
    pub fn text(&mut self, label: &str, value: &str) {
        let value = escape::lines(value.trim_end());
        let mut lines = value.lines();
        self.line(label, lines.next().unwrap_or(""));
        for line in lines {
            let _ = writeln!(self.out, "{:LABEL$}{line}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::status;

    const ENDED: &str = r#"{"entry":"App\\Job","state":"exited","pid":7,"generation":2,"exit_code":3,
        "result":{"a":"\u001b"},"started_at":"2026-11-20T23:11:02.000000Z","ended_at":"2026-11-20T23:11:02.012400Z",
        "stdout":"one\ntwo\u001b[2J\n","error":{"class":"E","message":"m","trace":null},
        "usage":{"user_us":3000,"system_us":900,"max_rss_bytes":1048576,"minor_faults":5,"major_faults":0,
                 "voluntary_switches":1,"involuntary_switches":2}}"#;

    #[test]
    fn a_block_has_a_line_for_each_thing_known() {
        let text = block(&Terminal::PLAIN, &status(ENDED), 0);
        for line in [
            "id          r1",
            "entry       App\\Job",
            "state       exited",
            "exit code   3",
            "took        12.4 ms",
            "cpu         3.00 ms user, 900 µs system",
            "memory      1.00 MiB at most",
            "result      {\"a\":\"\\u001b\"}",
            "error       E: m",
            "stdout      one",
            "            two\\x1b[2J",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
        assert!(!text.contains("signal") && !text.contains('\x1b') && !text.contains("trace"), "{text}");
    }

    #[test]
    fn a_death_by_signal_has_no_exit_code() {
        let run =
            status(r#"{"state":"exited","signal":11,"signal_name":"SIGSEGV","core_dumped":true,"timed_out":true}"#);
        let text = block(&Terminal::PLAIN, &run, 0);
        assert!(text.contains("signal      11 SIGSEGV, core dumped\n"), "{text}");
        assert!(text.contains("timed out   yes\n") && !text.contains("exit code"), "{text}");
    }

    #[test]
    fn people_get_relative_times_and_programs_do_not() {
        let person = Terminal { person: true, ..Terminal::PLAIN };
        let ended = status(ENDED);
        let now = ended.ended_at.unwrap().0 + 3_000_000_000;
        assert!(block(&person, &ended, now).contains("ended       3 s ago (2026-11-20T23:11:02.012400Z)"));
        assert!(block(&Terminal::PLAIN, &ended, now).contains("ended       2026-11-20T23:11:02.012400Z"));
        assert_eq!(when(&Terminal::PLAIN, now, None), "-");
    }

    #[test]
    fn a_live_run_has_run_until_now() {
        let live = status(r#"{"state":"running","started_at":"1970-01-01T00:00:01.000000Z"}"#);
        assert_eq!(took(&live, 3_000_000_000), Some(Duration::from_secs(2)));
        assert_eq!(took(&status(r#"{"state":"queued"}"#), 5), None);
        let lost = status(r#"{"state":"unknown","started_at":"1970-01-01T00:00:01.000000Z"}"#);
        assert_eq!(took(&lost, 3_000_000_000), None);
    }
}
