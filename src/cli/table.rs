//! `preforkd table`: the shared table itself, read from its file; no master is asked.

use std::io;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::columns::{Cell, Column, render};
use super::terminal::{Terminal, message, write_out};
use super::{Context, Error, outcome, status};
use crate::table::{Reader, Record};
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
    core_dumped: Option<bool>,
    timed_out: bool,
    queued_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    usage: Option<Usage>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    /// As last noted; they may be dead by now.
    keeper_pid: Option<u32>,
    master_pid: Option<u32>,
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let path = context.dirs()?.table();
        let table = read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoDaemon { socket: path.clone(), source },
            _ => Error::Failed(format!("cannot read the shared table {}: {source}", path.display())),
        })?;
        if context.json {
            let document = serde_json::to_string(&table)
                .map_err(|error| Error::Failed(format!("cannot write the table as JSON: {error}")))?;
            write_out(format!("{document}\n"))?;
        } else if table.rows.is_empty() {
            message("the table is empty");
        } else {
            write_out(text(&context.terminal, &table.rows, status::now()))?;
        }
        Ok(0)
    }
}

fn read(path: &Path) -> io::Result<Document> {
    let reader = Reader::open(path)?;
    let (keeper, master) = reader.pids();
    let rows = reader.rows().map(Row::from).collect();
    Ok(Document { keeper_pid: there(keeper), master_pid: there(master), rows })
}

/// In the table 0 stands for what is not there.
fn there(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

impl From<Record> for Row {
    fn from(record: Record) -> Row {
        let time = |ns: u64| (ns > 0).then_some(Timestamp(ns));
        Row {
            exit_code: record.exit_code(),
            signal: record.signal(),
            core_dumped: record.core_dumped(),
            slot: record.slot,
            id: record.id,
            pool: record.pool,
            entry: record.entry,
            state: record.state,
            pid: there(record.pid),
            generation: there(record.generation),
            timed_out: record.timed_out,
            queued_at: time(record.queued_at),
            started_at: time(record.started_at),
            ended_at: time(record.ended_at),
            usage: record.usage,
        }
    }
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
    status.core_dumped = row.core_dumped;
    status.timed_out = row.timed_out;
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            core_dumped: Some(true),
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
    fn a_real_table_is_read_without_a_master() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let shared = crate::table::Table::open(&path, true).unwrap();
        shared.set_keeper(41);
        let claim = crate::table::Claim {
            id: "r9",
            pool: "api",
            entry: "m:f",
            state: State::Queued,
            worker: false,
            queued_at: 5_000,
            timeout: None,
            kill_timeout: Duration::ZERO,
        };
        shared.claim(2, &claim);
        shared.set_starting(2, 1, 7, 0);
        shared.set_running(2, 4321, 6_000, 1);
        let table = read(&path).unwrap();
        assert_eq!((table.keeper_pid, table.master_pid), (Some(41), None));
        let row = &table.rows[0];
        assert_eq!((row.slot, &*row.id, row.state, row.pid), (2, "r9", State::Running, Some(4321)));
        assert_eq!((row.queued_at, row.ended_at), (Some(Timestamp(5_000)), None));
        assert_eq!((row.exit_code, row.signal, row.core_dumped), (None, None, None));
    }

    #[test]
    fn the_document_has_every_field() {
        let document = Document { keeper_pid: Some(1), master_pid: None, rows: vec![row()] };
        let text = serde_json::to_string(&document).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["rows"][0]["signal"], 11);
        assert_eq!(value["rows"][0]["exit_code"], serde_json::Value::Null);
        assert_eq!(value["rows"][0]["started_at"], "1970-01-01T00:00:01.000000Z");
    }
}
