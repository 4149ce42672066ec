//! `preforkd pools`: the warm processes and what they do.

use std::fmt::Write as _;

use clap::Args;
use serde::Deserialize;

use super::columns::{Cell, Column, render};
use super::terminal::{Style, Terminal, message, write_out};
use super::{Context, Error, Manner, escape};
use crate::wire::info::PoolInfo;

/// List the pools: state, generation, idle, running and queued runs
#[derive(Debug, Args)]
pub struct Pools {}

#[derive(Deserialize)]
struct Answer {
    pools: Vec<PoolInfo>,
}

impl Pools {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call::<()>("pools", None, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let Answer { pools } = answer.read()?;
        if pools.is_empty() {
            message("no pools");
            return Ok(0);
        }
        write_out(table(&context.terminal, &pools))?;
        Ok(0)
    }
}

const COLUMNS: [Column; 10] = [
    Column::text("POOL").shrinks_to(12),
    Column::text("RUNTIME").shrinks_to(8).dispensable(1),
    Column::text("STATE"),
    Column::number("GEN").dispensable(4),
    Column::number("ZYGOTE").dispensable(3),
    Column::number("IDLE"),
    Column::number("RUNNING"),
    Column::number("QUEUED"),
    Column::number("RUNS").dispensable(2),
    Column::number("FAILED").dispensable(2),
];

/// Pools as a table, with errors and warnings below. `*` marks the default pool.
pub fn table(terminal: &Terminal, pools: &[PoolInfo]) -> String {
    let rows: Vec<Vec<Cell>> = pools
        .iter()
        .map(|pool| {
            let mark = if pool.default { "*" } else { "" };
            let state = pool.state.to_string();
            vec![
                Cell::new(&format!("{}{mark}", pool.name)),
                Cell::new(pool.runtime_version.as_deref().unwrap_or(&pool.runtime)),
                Cell::styled(&state, style(&state)),
                Cell::new(&pool.generation.to_string()),
                Cell::maybe(pool.zygote_pid),
                Cell::new(&pool.idle.to_string()),
                Cell::new(&format!("{}/{}", pool.running, pool.max_running)),
                Cell::new(&format!("{}/{}", pool.queued, pool.max_queued)),
                Cell::new(&pool.runs_total.to_string()),
                Cell::new(&pool.failed_total.to_string()),
            ]
        })
        .collect();
    let mut text = render(terminal, &COLUMNS, &rows);
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

fn note(text: &mut String, terminal: &Terminal, style: Style, pool: &str, note: &str) {
    let mut lines = note.trim_end().lines();
    let first = format!("{}: {}", escape::line(pool), escape::line(lines.next().unwrap_or("")));
    let _ = writeln!(text, "{}", terminal.paint(style, &first));
    for line in lines {
        let _ = writeln!(text, "  {}", escape::line(line));
    }
}

fn style(state: &str) -> Style {
    match state {
        "ready" => Style::Good,
        "loading" => Style::Waiting,
        _ => Style::Bad,
    }
}
