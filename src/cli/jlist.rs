//! `preforkd jlist`: workers in the shape and the words that pm2 has, for scripts written for it.

use std::collections::HashMap;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::terminal::write_out;
use super::workers::{ByTarget, percent, usage_of};
use super::{Context, Error, Manner};
use crate::sys::usage::Usage;
use crate::wire::apps::{Described, WorkerInfo, WorkerState};
use crate::wire::status::Timestamp;

/// Print the workers as pm2's jlist does: one JSON document in its words
///
/// Values of variables are not in it; `env` shows them. Ours, with more in it, is `list --json`.
#[derive(Debug, Args)]
pub struct Jlist {}

/// Print the workers as jlist does, with line breaks
#[derive(Debug, Args)]
pub struct Prettylist {}

impl Jlist {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        write_out(format!("{}\n", document(context)?))?;
        Ok(0)
    }
}

impl Prettylist {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        write_out(format!("{:#}\n", document(context)?))?;
        Ok(0)
    }
}

fn document(context: &Context) -> Result<Value, Error> {
    let all = ["all".to_owned()];
    let answer = context.client()?.call("apps.describe", &ByTarget { target: &all }, Manner::READ)?;
    Ok(translate(&answer.read()?, &usage_of))
}

fn translate(described: &Described, usage: &dyn Fn(&WorkerInfo) -> Option<Usage>) -> Value {
    let apps: HashMap<&str, &Value> =
        described.apps.iter().filter_map(|app| Some((app["name"].as_str()?, app))).collect();
    let mut instances: HashMap<&str, usize> = HashMap::new();
    for worker in &described.workers {
        *instances.entry(&worker.name).or_default() += 1;
    }
    let of = |worker: &WorkerInfo| {
        let app = apps.get(&*worker.name).copied().unwrap_or(&Value::Null);
        process(worker, app, instances.get(&*worker.name).copied().unwrap_or(0), usage(worker))
    };
    described.workers.iter().map(of).collect()
}

fn process(worker: &WorkerInfo, app: &Value, instances: usize, used: Option<Usage>) -> Value {
    let milliseconds = |time: Option<Timestamp>| time.map(|time| time.0 / 1_000_000);
    // A death by signal is no success: as shells tell it.
    let exit_code = worker.last_exit.as_ref().and_then(|exit| exit.exit_code.or(exit.signal.map(|n| 128 + n)));
    let cpu = used.and_then(|used| percent(worker, used)).unwrap_or(0.0);
    json!({
        "pid": worker.pid.unwrap_or(0),
        "name": worker.name,
        "pm_id": worker.id,
        "monit": {
            "memory": used.map_or(0, |used| used.memory),
            "cpu": (cpu * 10.0).round() / 10.0,
        },
        "pm2_env": {
            "name": worker.name,
            "namespace": worker.namespace,
            "pm_id": worker.id,
            "status": status(worker.state),
            "restart_time": worker.restarts,
            "unstable_restarts": worker.unstable,
            "pm_uptime": milliseconds(worker.started_at),
            "created_at": milliseconds(worker.added_at.or(worker.started_at)),
            "exec_mode": if is_cluster(worker, instances) { "cluster_mode" } else { "fork_mode" },
            "exec_interpreter": worker.interpreter.as_deref().unwrap_or("none"),
            "pm_exec_path": worker.script,
            "node_args": app["interpreter"].as_array().and_then(|words| words.get(1..)).unwrap_or_default(),
            "args": app["args"].as_array().cloned().unwrap_or_default(),
            "pm_cwd": worker.cwd,
            "pm_out_log_path": worker.out_file.as_deref().unwrap_or("/dev/null"),
            "pm_err_log_path": worker.error_file.as_deref().unwrap_or("/dev/null"),
            "pm_pid_path": worker.pid_file,
            "instances": instances,
            "autorestart": app["autorestart"].as_bool().unwrap_or(true),
            "watch": worker.watch,
            "username": worker.user,
            "exit_code": exit_code,
        },
    })
}

/// What pm2 would have run in its cluster, which the process file has no word for: instances of a program for Node.
fn is_cluster(worker: &WorkerInfo, instances: usize) -> bool {
    let interpreter = worker.interpreter.as_deref().map(Path::new).and_then(Path::file_name);
    instances > 1 && interpreter.is_some_and(|name| name == "node")
}

/// pm2's word for a state.
fn status(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Stopped | WorkerState::Exited => "stopped",
        WorkerState::Starting => "launching",
        WorkerState::Running | WorkerState::Ready => "online",
        WorkerState::Backoff => "waiting restart",
        WorkerState::Stopping => "stopping",
        WorkerState::Fatal => "errored",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::workers::tests::worker;

    #[test]
    fn scripts_written_for_pm2_find_what_they_look_for() {
        let up = worker(json!({"id": 3, "pid": 41, "uptime_ms": 1000, "restarts": 2, "asked_restarts": 5,
            "started_at": "1970-01-01T00:00:01.500000Z", "interpreter": "/usr/bin/node"}));
        let down = worker(
            json!({"id": 4, "instance": 1, "added_at": "1970-01-01T00:00:01.250000Z", "state": "fatal", "last_exit": {"pid": 9, "exit_code": null,
            "signal": 9, "signal_name": "SIGKILL", "core_dumped": false, "at": "1970-01-01T00:00:01.000000Z"}}),
        );
        let described = Described {
            workers: vec![up, down],
            apps: vec![json!({"name": "web", "autorestart": false, "args": ["a"], "interpreter": ["node", "--x"]})],
        };
        let usage = |w: &WorkerInfo| w.pid.map(|_| Usage { memory: 4096, cpu: Duration::from_millis(123) });
        let list = translate(&described, &usage);
        assert_eq!((&list[0]["pid"], &list[0]["pm_id"], &list[0]["name"]), (&json!(41), &json!(3), &json!("web")));
        assert_eq!(list[0]["monit"], json!({"memory": 4096, "cpu": 12.3}));
        let env = &list[0]["pm2_env"];
        assert_eq!(
            (&env["status"], &env["restart_time"], &env["pm_uptime"]),
            (&json!("online"), &json!(2), &json!(1500))
        );
        assert_eq!((&env["instances"], &env["autorestart"], &env["args"]), (&json!(2), &json!(false), &json!(["a"])));
        assert_eq!(env["node_args"], json!(["--x"]));
        assert_eq!(
            (&env["exec_mode"], &list[1]["pm2_env"]["exec_mode"]),
            (&json!("cluster_mode"), &json!("fork_mode"))
        );
        assert_eq!((&env["created_at"], &list[1]["pm2_env"]["created_at"]), (&json!(1500), &json!(1250)));
        assert_eq!((&list[1]["pid"], &list[1]["pm2_env"]["status"]), (&json!(0), &json!("errored")));
        assert_eq!(list[1]["pm2_env"]["exit_code"], 137);
    }
}
