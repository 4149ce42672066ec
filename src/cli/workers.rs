//! Workers as a table, and what every verb that acts on them does with the answer.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::columns::{Cell, Column, render};
use super::terminal::{Style, Terminal, message, write_out};
use super::{Context, Error, Manner, escape, human};
use crate::sys::usage::{self, Usage};
use crate::wire::apps::{WorkerInfo, WorkerState, Workers};

/// The params of every method that takes targets and nothing else.
#[derive(Debug, Serialize)]
pub struct ByTarget<'a> {
    /// Ids, names, namespaces, `all`, `/regex/`.
    pub target: &'a [String],
}

/// Asks for something to be done with workers, and prints those it was done with.
pub fn act<P: Serialize>(context: &Context, method: &str, params: &P) -> Result<u8, Error> {
    let answer = context.client()?.call(method, params, Manner::CHANGE)?;
    if context.json {
        write_out(format!("{}\n", answer.result))?;
        return Ok(0);
    }
    let Workers { workers } = answer.read()?;
    show(context, &workers)?;
    Ok(0)
}

/// The table, or that there is nothing to show.
pub fn show(context: &Context, workers: &[WorkerInfo]) -> Result<(), Error> {
    if workers.is_empty() {
        message("no workers");
        return Ok(());
    }
    Ok(write_out(table(&context.terminal, workers, &usage_of))?)
}

/// 1 if one of those that were to be up has been given up or does not stay up; each is told with its reason.
pub fn judge(workers: &[WorkerInfo]) -> u8 {
    let down = |worker: &&WorkerInfo| matches!(worker.state, WorkerState::Fatal | WorkerState::Backoff);
    let mut code = 0;
    for worker in workers.iter().filter(down) {
        code = 1;
        let why = worker.reason.as_deref().unwrap_or("no reason was told");
        message(&format!("{} {}: {why}", title(worker), worker.state));
        for line in &worker.stderr_tail {
            message(&format!("  {}", escape::line(line)));
        }
    }
    code
}

/// `web`, or `web (3)` for one of several.
pub fn title(worker: &WorkerInfo) -> String {
    match worker.instance {
        0 => worker.name.to_string(),
        instance => format!("{} ({instance})", worker.name),
    }
}

const COLUMNS: [Column; 11] = [
    Column::number("ID"),
    Column::text("NAME").shrinks_to(12),
    Column::text("NAMESPACE").shrinks_to(8).dispensable(3),
    Column::number("INST").dispensable(4),
    Column::text("STATE"),
    Column::number("PID"),
    Column::number("UPTIME").dispensable(1),
    Column::number("RESTARTS"),
    Column::number("CPU").dispensable(5),
    Column::number("MEM").dispensable(2),
    Column::text("USER").dispensable(6),
];

/// Workers as a table.
pub fn table(terminal: &Terminal, workers: &[WorkerInfo], usage: &dyn Fn(&WorkerInfo) -> Option<Usage>) -> String {
    let rows: Vec<Vec<Cell>> = workers
        .iter()
        .map(|worker| {
            let used = usage(worker);
            vec![
                Cell::new(&worker.id.to_string()),
                Cell::new(&worker.name),
                Cell::new(&worker.namespace),
                Cell::new(&worker.instance.to_string()),
                Cell::styled(worker.state.as_str(), style(worker.state)),
                Cell::maybe(worker.pid),
                Cell::maybe(worker.uptime_ms.map(|ms| human::span(Duration::from_millis(ms)))),
                Cell::new(&worker.restarts.to_string()),
                Cell::maybe(used.and_then(|used| percent(worker, used)).map(|percent| format!("{percent:.1}%"))),
                Cell::maybe(used.map(|used| human::size(used.memory))),
                Cell::maybe(worker.user.as_deref().map(Cow::from)),
            ]
        })
        .collect();
    render(terminal, &COLUMNS, &rows)
}

/// The style that goes with a state.
pub fn style(state: WorkerState) -> Style {
    match state {
        WorkerState::Running | WorkerState::Ready => Style::Good,
        WorkerState::Starting | WorkerState::Stopping | WorkerState::Backoff => Style::Waiting,
        WorkerState::Fatal => Style::Bad,
        WorkerState::Stopped | WorkerState::Exited => Style::Normal,
    }
}

/// What the worker's process uses; None: there is none, or it has gone meanwhile.
pub fn usage_of(worker: &WorkerInfo) -> Option<Usage> {
    usage::of(worker.pid?).ok()
}

/// Share of one processor over the process's whole life, as `ps` shows it.
pub fn percent(worker: &WorkerInfo, used: Usage) -> Option<f64> {
    let uptime = Duration::from_millis(worker.uptime_ms.filter(|ms| *ms > 0)?);
    Some(100.0 * used.cpu.as_secs_f64() / uptime.as_secs_f64())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A worker of which only what a test is about is said.
    pub fn worker(known: serde_json::Value) -> WorkerInfo<'static> {
        let mut all = serde_json::json!({
            "id": 0, "name": "web", "namespace": "default", "instance": 0, "state": "running", "pid": null,
            "added_at": null, "started_at": null, "uptime_ms": null, "restarts": 0, "asked_restarts": 0, "unstable": 0,
            "next_try_at": null, "last_exit": null, "reason": null, "stderr_tail": [], "script": "/app/web.php",
            "interpreter": null, "pool": null, "generation": null, "user": null, "watch": false, "out_file": null,
            "error_file": null, "pid_file": null, "cwd": "/app", "log_lost": 0
        });
        for (key, value) in known.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_worker_is_a_row_with_what_it_uses() {
        let workers = [
            worker(serde_json::json!({"id": 3, "pid": 41, "uptime_ms": 2000, "restarts": 2, "user": "www"})),
            worker(serde_json::json!({"name": "m\u{1b}[2J", "instance": 1, "state": "fatal"})),
        ];
        let usage = |w: &WorkerInfo| w.pid.map(|_| Usage { memory: 3 << 20, cpu: Duration::from_millis(500) });
        let text = table(&Terminal::PLAIN, &workers, &usage);
        let words = |n: usize| text.lines().nth(n).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(1), "3 web default 0 running 41 2.00 s 2 25.0% 3.00 MiB www", "{text}");
        assert_eq!(words(2), r"0 m\x1b[2J default 1 fatal - - 0 - - -", "{text}");
    }

    #[test]
    fn at_80_columns_everything_needed_is_there() {
        let long = worker(serde_json::json!({"name": "a-very-long-name-of-an-app-of-somebody", "pid": 4194303,
            "namespace": "a-namespace-of-somebody", "uptime_ms": 99_000_000, "restarts": 12345, "user": "somebody"}));
        let usage = |_: &WorkerInfo| Some(Usage { memory: 1 << 30, cpu: Duration::from_secs(9) });
        let text = table(&Terminal { width: Some(80), ..Terminal::PLAIN }, &[long], &usage);
        assert!(text.contains("4194303") && text.contains("12345") && text.contains("running"), "{text}");
        assert!(text.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 80), "{text}");
    }

    #[test]
    fn those_that_do_not_stay_up_make_the_exit_code() {
        let state = |state: &str| worker(serde_json::json!({"state": state}));
        assert_eq!(judge(&[state("running"), state("exited"), state("stopped")]), 0);
        assert_eq!(judge(&[state("running"), state("backoff")]), 1);
        assert_eq!(judge(&[state("fatal")]), 1);
    }
}
