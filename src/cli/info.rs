//! `preforkd info`: about the daemon itself.

use std::time::Duration;

use clap::Args;

use super::status::Block;
use super::terminal::{Terminal, write_out};
use super::{Context, Error, Manner, Nothing, human};
use crate::wire::info;

/// Show the daemon: version, processes, addresses, counts, limits
#[derive(Debug, Args)]
pub struct Info {}

impl Info {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("info", &Nothing {}, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
        } else {
            write_out(text(&context.terminal, &answer.read()?))?;
        }
        Ok(0)
    }
}

fn text(terminal: &Terminal, info: &info::Info) -> String {
    let mut block = Block { terminal, out: String::new() };
    let milliseconds = |ms| human::span(Duration::from_millis(ms));
    block.line("version", &info.version);
    match &info.warning {
        None => block.line("keeper", &format!("pid {}", info.keeper_pid)),
        Some(warning) => block.line("keeper", &format!("dead! {warning}")),
    }
    block.line("master", &format!("pid {}", info.master_pid));
    block.line("up", &milliseconds(info.uptime_ms));
    block.line("dir", &info.dir);
    block.line("listens", &info.listen.join(", "));
    let counts = &info.counts;
    block.line(
        "runs",
        &format!(
            "{} queued, {} starting, {} running, {} ended and kept, {} since the start",
            counts.queued, counts.starting, counts.running, counts.ended, counts.runs_total
        ),
    );
    block.line("idle", &format!("{} children wait for a run", counts.idle));
    block.line("connections", &format!("{} open, {} refused", counts.connections, counts.refused_connections));
    block.line("kept", &format!("{} of results and output", human::size(counts.kept_bytes)));
    block.line("dropped", &format!("{} messages of children", counts.dropped_messages));
    let limits = &info.limits;
    block.line(
        "limits",
        &format!(
            "lines {}, results {}, nesting {}, batches {}",
            human::size(limits.max_line),
            human::size(limits.max_result),
            limits.max_depth,
            limits.max_batch
        ),
    );
    block.line(
        "",
        &format!(
            "{} connections; a request in {}, an answer read in {}",
            limits.max_connections,
            milliseconds(limits.request_timeout_ms),
            milliseconds(limits.answer_timeout_ms)
        ),
    );
    block.line("", &format!("keeps {} ended runs and {}", limits.max_kept_runs, human::size(limits.max_kept_bytes)));
    block.out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_have_units() {
        let info = info::Info {
            version: "0.1.0".into(),
            keeper_pid: 10,
            master_pid: 11,
            uptime_ms: 90_500,
            dir: "/run/preforkd".into(),
            listen: vec!["127.0.0.1:31337".into(), "/run/preforkd/preforkd.sock".into()],
            counts: info::Counts { running: 3, kept_bytes: 2048, ..info::Counts::default() },
            limits: info::Limits { max_line: 1 << 20, request_timeout_ms: 10_000, ..info::Limits::default() },
            warning: None,
        };
        let text = text(&Terminal::PLAIN, &info);
        for part in ["up          1 min 30 s", "3 running", "kept        2.00 KiB", "lines 1.00 MiB", "in 10.0 s"] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }
}
