//! `preforkd pools`: the warm processes and what they do.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::columns::{Cell, Column, render};
use super::terminal::{Style, Terminal, message, write_out};
use super::{Context, Error, Manner, Nothing, escape, human};
use crate::wire::info::{PoolInfo, PoolState};

/// List the pools: state, generation, idle, running and queued runs
///
/// IDLE is how many children wait for a run, of how many the pool wants now; RUNNING and QUEUED of how many there may be. MEMORY is what
/// the warm process has resident, HUGE the share of it in huge pages, FORK how long a fork of it took.
#[derive(Debug, Args)]
pub struct Pools {}

impl Pools {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("pools", &Nothing {}, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let crate::wire::info::Pools { pools } = answer.read()?;
        if pools.is_empty() {
            message("no pools");
            return Ok(0);
        }
        write_out(table(&context.terminal, &pools))?;
        Ok(0)
    }
}

const COLUMNS: [Column; 13] = [
    Column::text("POOL").shrinks_to(12),
    Column::text("RUNTIME").shrinks_to(8).dispensable(1),
    Column::text("STATE"),
    Column::number("GEN").dispensable(4),
    Column::number("ZYGOTE").dispensable(5),
    Column::number("IDLE"),
    Column::number("RUNNING"),
    Column::number("QUEUED"),
    Column::number("RUNS").dispensable(3),
    Column::number("FAILED").dispensable(2),
    Column::number("MEMORY").dispensable(6),
    Column::number("HUGE").dispensable(7),
    Column::number("FORK").dispensable(8),
];

/// Pools as a table, with errors and warnings below. `*` marks the default pool. Memory is the warm process's own, with the share
/// of it that lies in huge pages.
pub fn table(terminal: &Terminal, pools: &[PoolInfo]) -> String {
    // Only `pools` is told of memory; in a list of everything there is no place for it.
    let shown = if pools.iter().any(|pool| pool.memory_bytes.is_some()) { COLUMNS.len() } else { COLUMNS.len() - 3 };
    let rows: Vec<Vec<Cell>> = pools
        .iter()
        .map(|pool| {
            let mark = if pool.default { "*" } else { "" };
            let mut cells = vec![
                Cell::new(&format!("{}{mark}", pool.name)),
                Cell::new(pool.runtime_version.as_deref().unwrap_or(&pool.runtime)),
                Cell::styled(&pool.state.to_string(), style(pool.state)),
                Cell::new(&pool.generation.to_string()),
                Cell::maybe(pool.zygote_pid),
                Cell::new(&format!("{}/{}", pool.idle, pool.idle_wanted)),
                Cell::new(&format!("{}/{}", pool.running, pool.max_running)),
                Cell::new(&format!("{}/{}", pool.queued, pool.max_queued)),
                Cell::new(&pool.runs_total.to_string()),
                Cell::new(&pool.failed_total.to_string()),
                Cell::maybe(pool.memory_bytes.map(human::size)),
                Cell::maybe(share(pool)),
                Cell::maybe(pool.fork_us.map(|us| human::span(Duration::from_micros(us)))),
            ];
            cells.truncate(shown);
            cells
        })
        .collect();
    let mut text = render(terminal, &COLUMNS[..shown], &rows);
    for pool in pools {
        if let Some(error) = &pool.error {
            note(&mut text, terminal, Style::Bad, &pool.name, error);
        }
        for warning in &pool.warnings {
            note(&mut text, terminal, Style::Waiting, &pool.name, warning);
        }
    }
    text
}

fn share(pool: &PoolInfo) -> Option<String> {
    let (huge, all) = (pool.huge_bytes?, pool.memory_bytes?);
    Some(format!("{}%", (huge * 100).checked_div(all)?))
}

fn note(text: &mut String, terminal: &Terminal, style: Style, pool: &str, note: &str) {
    let mut lines = note.trim_end().lines();
    let first = format!("{}: {}", escape::line(pool), escape::line(lines.next().unwrap_or("")));
    let _ = writeln!(text, "{}", terminal.paint(style, &first));
    for line in lines {
        let _ = writeln!(text, "  {}", escape::line(line));
    }
}

fn style(state: PoolState) -> Style {
    match state {
        PoolState::Ready => Style::Good,
        PoolState::Loading => Style::Waiting,
        PoolState::Backoff => Style::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> PoolInfo {
        PoolInfo {
            name: "billing".into(),
            runtime: "php".into(),
            state: PoolState::Backoff,
            generation: 3,
            zygote_pid: None,
            idle: 3,
            idle_wanted: 4,
            running: 2,
            queued: 1,
            max_running: 64,
            max_queued: 1000,
            runs_total: 12,
            failed_total: 1,
            error: Some("preload: Fatal error\x1b[2J\n#0 bootstrap.php(3)".into()),
            default: true,
            runtime_version: None,
            warnings: vec!["no FFI".into()],
            preload_ms: None,
            memory_bytes: None,
            huge_bytes: None,
            fork_us: None,
        }
    }

    #[test]
    fn a_pool_is_a_row_and_its_troubles_stand_below() {
        let text = table(&Terminal::PLAIN, &[pool()]);
        let lines: Vec<&str> = text.lines().collect();
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(words, ["billing*", "php", "backoff", "3", "-", "3/4", "2/64", "1/1000", "12", "1"]);
        assert_eq!(lines[2], r"billing: preload: Fatal error\x1b[2J");
        assert_eq!(lines[3], "  #0 bootstrap.php(3)");
        assert_eq!(lines[4], "billing: no FFI");
        let warm =
            PoolInfo { memory_bytes: Some(200 << 20), huge_bytes: Some(150 << 20), fork_us: Some(140), ..pool() };
        assert!(table(&Terminal::PLAIN, &[warm]).lines().nth(1).unwrap().ends_with("200 MiB   75%  140 µs"));
    }
}
