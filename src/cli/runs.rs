//! `preforkd runs`: the runs that are remembered, oldest first, a page at a time.

use clap::Args;
use serde::Serialize;

use super::columns::{Cell, Column, render};
use super::terminal::{Terminal, message, write_out};
use super::{Context, Error, Manner, human, outcome, status};
use crate::wire::info::RunsPage;
use crate::wire::status::{State, Status};

/// List runs, oldest first
#[derive(Debug, Args)]
pub struct Runs {
    /// Only this pool's
    #[arg(long, value_name = "P")]
    pool: Option<String>,

    /// Only those in this state: queued, starting, running, exited, failed, unknown
    #[arg(long, value_name = "S", value_parser = state)]
    state: Option<State>,

    /// At most so many (1 to 1000) [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,

    /// Go on after the run with this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
}

fn state(text: &str) -> Result<State, String> {
    text.parse().map_err(|_| "expected queued, starting, running, exited, failed or unknown".into())
}

impl Runs {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let request =
            Request { pool: self.pool.as_deref(), state: self.state, limit: self.limit, after: self.after.as_deref() };
        let answer = context.client()?.call("runs", &request, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let page: RunsPage = answer.read()?;
        if page.runs.is_empty() {
            message("no runs");
            return Ok(0);
        }
        write_out(table(&context.terminal, &page.runs, status::now()))?;
        if let Some(next) = &page.next {
            message(&format!("there are more: --after {next}"));
        }
        Ok(0)
    }
}

const COLUMNS: [Column; 8] = [
    Column::text("ID").shrinks_to(36),
    Column::text("POOL").shrinks_to(8),
    Column::text("ENTRY").shrinks_to(12),
    Column::text("STATE"),
    Column::number("PID").dispensable(2),
    Column::text("EXIT"),
    Column::text("STARTED").dispensable(1),
    Column::number("TOOK").dispensable(3),
];

/// Runs as a table; `now` in ns since the epoch.
pub fn table(terminal: &Terminal, runs: &[Status], now: u64) -> String {
    let rows: Vec<Vec<Cell>> = runs
        .iter()
        .map(|run| {
            let style = outcome::style(run);
            vec![
                Cell::new(&run.id),
                Cell::new(&run.pool),
                Cell::new(&run.entry),
                Cell::styled(&run.state.to_string(), style),
                Cell::maybe(run.pid),
                Cell::styled(&outcome::short(run), style),
                Cell::new(&status::when(terminal, now, run.started_at)),
                Cell::maybe(status::took(run, now).map(human::span)),
            ]
        })
        .collect();
    render(terminal, &COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::status as run;

    #[test]
    fn a_run_is_a_row() {
        let runs = [
            run(r#"{"entry":"A","state":"exited","signal":9,"signal_name":"SIGKILL","pid":12,
                    "started_at":"1970-01-01T00:00:01.000000Z","ended_at":"1970-01-01T00:00:01.250000Z"}"#),
            run(r#"{"entry":"\u001b]0;x\u0007","state":"queued"}"#),
        ];
        let text = table(&Terminal::PLAIN, &runs, 0);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ID  POOL"), "{text}");
        assert!(lines[1].contains("SIGKILL  1970-01-01T00:00:01.000000Z  250 ms"), "{text}");
        assert!(lines[2].contains(r"\x1b]0;x\x07"), "{text}");
    }

    #[test]
    fn at_80_columns_a_uuid_stays_whole() {
        let id = "019ab234-5678-7abc-8def-0123456789ab";
        let long = run(&format!(
            r#"{{"id":"{id}","pool":"a-long-pool-name","entry":"{}","state":"running","pid":4194303}}"#,
            "App\\\\Jobs\\\\".repeat(9)
        ));
        let terminal = Terminal { width: Some(80), colour: false, person: true };
        let text = table(&terminal, &[long], 0);
        assert!(text.contains(id), "{text}");
        assert!(text.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 80), "{text}");
    }

    #[test]
    fn states_are_checked_here() {
        assert_eq!(state("running"), Ok(State::Running));
        assert!(state("done").unwrap_err().contains("expected"));
    }
}
