//! `preforkd describe`: all that is known of workers.

use std::time::Duration;

use clap::Args;

use super::status::{Block, now, when};
use super::terminal::{Style, Terminal, write_out};
use super::workers::{ByTarget, percent, style, title, usage_of};
use super::{Context, Error, Manner, human, targets};
use crate::wire::apps::{Described, LastExit, WorkerInfo};

/// Show everything about workers, and the definitions of their apps
#[derive(Debug, Args)]
pub struct Describe {
    /// Ids, names, namespaces, `all`, `/regex/`, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Describe {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let target = targets::resolve(&self.targets)?;
        let answer = context.client()?.call("apps.describe", &ByTarget { target: &target }, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let described: Described = answer.read()?;
        let now = now();
        let mut blocks: Vec<String> =
            described.workers.iter().map(|worker| block(&context.terminal, worker, now)).collect();
        for app in &described.apps {
            let text = serde_json::to_string_pretty(app)
                .map_err(|error| Error::Failed(format!("cannot show a definition: {error}")))?;
            let mut block = Block { terminal: &context.terminal, out: String::new() };
            block.text("definition", &text);
            blocks.push(block.out);
        }
        write_out(blocks.join("\n"))?;
        Ok(0)
    }
}

fn block(terminal: &Terminal, worker: &WorkerInfo, now: u64) -> String {
    let mut block = Block { terminal, out: String::new() };
    block.line("id", &worker.id.to_string());
    block.line("name", &title(worker));
    block.line("namespace", &worker.namespace);
    block.styled("state", style(worker.state), worker.state.as_str());
    block.maybe("reason", worker.reason.as_deref());
    block.maybe("next try", worker.next_try_at.map(|at| when(terminal, now, Some(at))));
    block.maybe("pid", worker.pid);
    block.maybe("started", worker.started_at.map(|at| when(terminal, now, Some(at))));
    block.maybe("uptime", worker.uptime_ms.map(|ms| human::span(Duration::from_millis(ms))));
    let restarts = format!("{}, and {} asked for", worker.restarts, worker.asked_restarts);
    block.line("restarts", &restarts);
    if worker.unstable > 0 {
        block.styled("unstable", Style::Waiting, &format!("{} exits in a row before min_uptime", worker.unstable));
    }
    block.maybe("last exit", worker.last_exit.as_ref().map(|exit| ending(terminal, exit, now)));
    if let Some(used) = usage_of(worker) {
        block.line("memory", &human::size(used.memory));
        let share = percent(worker, used).map(|percent| format!(", {percent:.1}% of one over its life"));
        block.line("cpu", &format!("{} of a processor{}", human::span(used.cpu), share.unwrap_or_default()));
    }
    block.line(if worker.pool.is_some() { "entry" } else { "script" }, &worker.script);
    block.maybe("interpreter", worker.interpreter.as_deref());
    let generation = worker.generation.map(|generation| format!(", generation {generation}")).unwrap_or_default();
    block.maybe("pool", worker.pool.as_deref().map(|pool| format!("{pool}{generation}")));
    block.line("cwd", &worker.cwd);
    block.maybe("user", worker.user.as_deref());
    block.line("watch", if worker.watch { "yes" } else { "no" });
    block.line("out", worker.out_file.as_deref().unwrap_or("nowhere"));
    block.line("error", worker.error_file.as_deref().unwrap_or("nowhere"));
    block.maybe("pid file", worker.pid_file.as_deref());
    if worker.log_lost > 0 {
        block.styled("log lost", Style::Bad, &human::size(worker.log_lost));
    }
    if !worker.stderr_tail.is_empty() {
        block.text("stderr", &worker.stderr_tail.join("\n"));
    }
    block.out
}

fn ending(terminal: &Terminal, exit: &LastExit, now: u64) -> String {
    let how = match (exit.exit_code, exit.signal) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(signal)) => exit.signal_name.as_deref().map_or_else(|| format!("signal {signal}"), str::to_owned),
        (None, None) => "unknown".to_owned(),
    };
    let core = if exit.core_dumped { ", core dumped" } else { "" };
    format!("{how}{core}, pid {}, {}", exit.pid, when(terminal, now, Some(exit.at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::workers::tests::worker;
    use serde_json::json;

    #[test]
    fn one_that_was_given_up_says_why() {
        let worker = worker(json!({"id": 4, "instance": 2, "state": "fatal", "reason": "16 exits in a row",
            "unstable": 16, "stderr_tail": ["a\u{1b}[2J", "b"], "interpreter": "php",
            "last_exit": {"pid": 9, "exit_code": null, "signal": 11, "signal_name": "SIGSEGV", "core_dumped": true,
                "at": "1970-01-01T00:00:01.000000Z"}}));
        let text = block(&Terminal::PLAIN, &worker, 2_000_000_000);
        for line in [
            "name        web (2)",
            "state       fatal",
            "reason      16 exits in a row",
            "restarts    0, and 0 asked for",
            "last exit   SIGSEGV, core dumped, pid 9, 1970-01-01T00:00:01.000000Z",
            "out         nowhere",
            "stderr      a\\x1b[2J",
            "            b",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
        assert!(!text.contains("\npid  ") && !text.contains("\nuptime"), "{text}");
    }
}
