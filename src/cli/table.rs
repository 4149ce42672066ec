//! `preforkd table`: the shared table itself, read from its file; no master is asked.

use std::io;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::columns::{Cell, Column, render};
use super::terminal::{Terminal, message, write_out};
use super::{Context, Error, outcome, status};
use crate::wire::status::{State, Status, Timestamp, Usage, signal_name};

/// Print the shared table of runs, also when no master answers
#[derive(Debug, Args)]
pub struct Table {}

/// One used slot.
#[derive(Debug, Clone, Serialize)]
struct Row {
    slot: u32,
    id: String,
    pool: String,
    entry: String,
    state: State,
    pid: Option<u32>,
    generation: Option<u32>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    core_dumped: bool,
    timed_out: bool,
    queued_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Document<'a> {
    rows: &'a [Row],
}

impl Table {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let path = context.dirs()?.table();
        let rows = read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoDaemon { socket: path.clone(), source },
            _ => Error::Failed(format!("cannot read the shared table {}: {source}", path.display())),
        })?;
        if context.json {
            let document = serde_json::to_string(&Document { rows: &rows })
                .map_err(|error| Error::Failed(format!("cannot write the table as JSON: {error}")))?;
            write_out(format!("{document}\n"))?;
        } else if rows.is_empty() {
            message("the table is empty");
        } else {
            write_out(text(&context.terminal, &rows, status::now()))?;
        }
        Ok(0)
    }
}

// CONNECT HERE: `crate::table::Reader::open(path)?` and each `TableRow` into a `Row`.
fn read(path: &Path) -> io::Result<Vec<Row>> {
    std::fs::metadata(path)?;
    Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no table reader"))
}

const COLUMNS: [Column; 9] = [
    Column::number("SLOT"),
    Column::text("ID").shrinks_to(36),
    Column::text("POOL").shrinks_to(8),
    Column::text("ENTRY").shrinks_to(10),
    Column::text("STATE"),
    Column::number("PID").dispensable(1),
    Column::number("GEN").dispensable(3),
    Column::text("EXIT"),
    Column::text("STARTED").dispensable(2),
];

fn text(terminal: &Terminal, rows: &[Row], now: u64) -> String {
    let rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            let run = as_status(row);
            let style = outcome::style(&run);
            vec![
                Cell::new(&row.slot.to_string()),
                Cell::new(&row.id),
                Cell::new(&row.pool),
                Cell::new(&row.entry),
                Cell::styled(row.state.as_str(), style),
                Cell::maybe(row.pid),
                Cell::maybe(row.generation),
                Cell::styled(&outcome::short(&run), style),
                Cell::new(&status::when(terminal, now, row.started_at)),
            ]
        })
        .collect();
    render(terminal, &COLUMNS, &rows)
}

/// The same words for a row as for a status that the daemon tells.
fn as_status(row: &Row) -> Status<'_> {
    let mut status = Status::new(&*row.id, &*row.pool, &*row.entry, row.state);
    status.exit_code = row.exit_code;
    status.signal = row.signal;
    status.signal_name = row.signal.and_then(signal_name).map(Into::into);
    status.core_dumped = Some(row.core_dumped);
    status.timed_out = row.timed_out;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            slot: 3,
            id: "r1".into(),
            pool: "billing".into(),
            entry: "App\\Job\u{1b}[2J".into(),
            state: State::Exited,
            pid: Some(7),
            generation: Some(2),
            exit_code: None,
            signal: Some(11),
            core_dumped: true,
            timed_out: false,
            queued_at: None,
            started_at: Some(Timestamp(1_000_000_000)),
            ended_at: None,
            usage: None,
        }
    }

    #[test]
    fn a_slot_is_a_row() {
        let text = text(&Terminal::PLAIN, &[row()], 0);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(
            line,
            r"   3  r1  billing  App\Job\x1b[2J  exited    7    2  SIGSEGV+core  1970-01-01T00:00:01.000000Z"
        );
    }

    #[test]
    fn the_document_has_every_field() {
        let text = serde_json::to_string(&Document { rows: &[row()] }).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["rows"][0]["signal"], 11);
        assert_eq!(value["rows"][0]["exit_code"], serde_json::Value::Null);
        assert_eq!(value["rows"][0]["started_at"], "1970-01-01T00:00:01.000000Z");
    }
}
