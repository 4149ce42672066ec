//! How a run stands or ended: in words, in a colour, and as an exit code.

use std::borrow::Cow;

use super::escape;
use super::terminal::Style;
use crate::wire::status::{State, Status};

/// Shells report death by signal n as 128 + n (POSIX XCU 2.8.2 asks for more than 128).
const SIGNAL_BASE: i32 = 128;

/// The exit code of `run --wait`: the run's own, 128+n for signal n, 1 where there is none.
pub fn exit_code(status: &Status) -> u8 {
    let code = match (status.exit_code, status.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNAL_BASE + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}

/// The colour of a run's state: an end that was no success is a bad one.
pub fn style(status: &Status) -> Style {
    match status.state {
        State::Queued | State::Starting => Style::Waiting,
        State::Running => Style::Good,
        State::Exited if status.exit_code == Some(0) => Style::Normal,
        State::Exited | State::Failed | State::Unknown => Style::Bad,
    }
}

/// For a column: `0`, `3`, `SIGKILL`, `SIGSEGV+core`, `SIGTERM timeout`, `-`.
pub fn short(status: &Status) -> String {
    let mut text = match (status.exit_code, status.signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => signal_name(status, signal).into_owned(),
        (None, None) => "-".to_owned(),
    };
    if status.core_dumped == Some(true) {
        text.push_str("+core");
    }
    if status.timed_out {
        text.push_str(" timeout");
    }
    text
}

/// What happened, in one sentence without a subject; `None` for exit code 0 and for what has not ended.
pub fn sentence(status: &Status) -> Option<String> {
    let mut text = match (status.state, status.exit_code, status.signal) {
        (State::Exited, Some(0), _) if !status.timed_out => return None,
        (State::Exited, Some(code), _) => format!("exited with code {code}"),
        (State::Exited, None, Some(signal)) => format!("was ended by {}", signal_name(status, signal)),
        (State::Exited, None, None) => "exited".to_owned(),
        (State::Failed, ..) => "did not run".to_owned(),
        (State::Unknown, ..) => "ended, and how is not known".to_owned(),
        (State::Queued | State::Starting | State::Running, ..) => return None,
    };
    if status.core_dumped == Some(true) {
        text.push_str(" and dumped core");
    }
    if status.timed_out {
        text.push_str(" after its timeout");
    }
    Some(text)
}

/// The sentence and the error with its trace, escaped, ready for stderr.
pub fn report(status: &Status) -> Option<String> {
    let mut text = match sentence(status) {
        Some(sentence) => format!("run {} {sentence}", status.id),
        None if status.error.is_some() => format!("run {} reported an error", status.id),
        None => return None,
    };
    if let Some(error) = &status.error {
        text.push_str(&format!(": {}: {}", escape::line(&error.class), escape::lines(&error.message)));
        if let Some(trace) = error.trace.as_deref().filter(|trace| !trace.trim().is_empty()) {
            text.push('\n');
            text.push_str(&escape::lines(trace.trim_end()));
        }
    }
    Some(text)
}

fn signal_name<'a>(status: &'a Status, signal: i32) -> Cow<'a, str> {
    match &status.signal_name {
        Some(name) => escape::line(name),
        None => Cow::Owned(format!("signal {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::status;

    #[test]
    fn the_exit_code_is_the_runs_own() {
        assert_eq!(exit_code(&status(r#"{"state":"exited","exit_code":0}"#)), 0);
        assert_eq!(exit_code(&status(r#"{"state":"exited","exit_code":255}"#)), 255);
        assert_eq!(exit_code(&status(r#"{"state":"exited","exit_code":137}"#)), 137);
        assert_eq!(exit_code(&status(r#"{"state":"exited","signal":9}"#)), 137);
        assert_eq!(exit_code(&status(r#"{"state":"exited","signal":64}"#)), 192);
        assert_eq!(exit_code(&status(r#"{"state":"failed"}"#)), 1);
        assert_eq!(exit_code(&status(r#"{"state":"unknown"}"#)), 1);
    }

    #[test]
    fn code_137_and_signal_9_read_differently() {
        assert_eq!(short(&status(r#"{"state":"exited","exit_code":137}"#)), "137");
        assert_eq!(short(&status(r#"{"state":"exited","signal":9,"signal_name":"SIGKILL"}"#)), "SIGKILL");
        let crash = status(r#"{"state":"exited","signal":11,"signal_name":"SIGSEGV","core_dumped":true}"#);
        assert_eq!(short(&crash), "SIGSEGV+core");
        assert_eq!(sentence(&crash).unwrap(), "was ended by SIGSEGV and dumped core");
        assert_eq!(short(&status(r#"{"state":"running"}"#)), "-");
    }

    #[test]
    fn success_is_silent_and_a_timeout_is_not() {
        assert_eq!(report(&status(r#"{"state":"exited","exit_code":0}"#)), None);
        assert_eq!(report(&status(r#"{"state":"running"}"#)), None);
        let late = status(r#"{"state":"exited","signal":15,"signal_name":"SIGTERM","timed_out":true}"#);
        assert_eq!(report(&late).unwrap(), "run r1 was ended by SIGTERM after its timeout");
        let handled = status(r#"{"state":"exited","exit_code":0,"timed_out":true}"#);
        assert_eq!(report(&handled).unwrap(), "run r1 exited with code 0 after its timeout");
    }

    #[test]
    fn an_exception_is_told_with_its_trace_and_without_its_escapes() {
        let thrown = status(
            r##"{"state":"exited","exit_code":255,"error":{"class":"E","message":"a\u001b[2J\nb","trace":"#0 x\n"}}"##,
        );
        assert_eq!(report(&thrown).unwrap(), "run r1 exited with code 255: E: a\\x1b[2J\nb\n#0 x");
        let failed =
            status(r#"{"state":"failed","error":{"class":"start_failed","message":"fork: EAGAIN","trace":null}}"#);
        assert_eq!(report(&failed).unwrap(), "run r1 did not run: start_failed: fork: EAGAIN");
    }
}
