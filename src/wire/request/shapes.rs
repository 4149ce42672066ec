//! The params of each method, and what is asked of them beyond their types.

use super::{DEFAULT_LINES, EVENTS, EventFilter, LogStream, LogsWanted, MAX_LINES, Targets};
use super::{MAX_ID, MAX_RUNS, Output, Run, RunsFilter, entry_shape, is_pool_name, is_run_id};
use crate::wire::duration::OptDuration;
use crate::wire::json::present;
use crate::wire::params::{NoNul, Params, UniqueMap, params};
use crate::wire::quote::Quoted;
use crate::wire::rpc::RpcError;
use crate::wire::signal::de_signal;
use crate::wire::status::State;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

params!(RunParams {
    pool: Option<String>,
    entry: Option<String>,
    #[serde(deserialize_with = "present")]
    params: Option<Box<RawValue>>,
    args: Option<Vec<NoNul>>,
    id: Option<String>,
    env: Option<UniqueMap>,
    timeout: OptDuration,
    kill_timeout: OptDuration,
    output: Option<Output>,
    stdin: Option<String>,
    wait: Option<bool>,
});
params!(ById { id: Option<String> });
params!(WaitParams { id: Option<String>, timeout: OptDuration });
params!(KillParams {
    id: Option<String>,
    #[serde(deserialize_with = "de_signal")]
    signal: Option<i32>,
    grace: OptDuration,
});
params!(RunsParams { pool: Option<String>, state: Option<State>, limit: Option<u32>, after: Option<String> });
params!(ReloadParams { name: Option<String> });
params!(AuthParams { token: Option<String> });
params!(Nothing {});
params!(UpgradeParams { binary: Option<NoNul>, check: Option<bool>, keeper: Option<bool> });
params!(LogsParams { target: Option<Targets>, lines: Option<u32>, follow: Option<bool>, stream: Option<LogStream> });
params!(FlushParams { target: Option<Targets> });
params!(SubscribeParams { kinds: Option<Vec<String>>, target: Option<Targets> });

impl LogsParams {
    pub(super) fn validate(self) -> Result<LogsWanted, RpcError> {
        if self.lines.is_some_and(|lines| lines > MAX_LINES) {
            return Err(RpcError::invalid_params(format!("`lines` is 0 to {MAX_LINES}")));
        }
        Ok(LogsWanted {
            targets: self.target,
            lines: self.lines.unwrap_or(DEFAULT_LINES),
            follow: self.follow.unwrap_or(false),
            stream: self.stream,
        })
    }
}

impl SubscribeParams {
    pub(super) fn validate(self) -> Result<EventFilter, RpcError> {
        let unknown = self.kinds.iter().flatten().find(|kind| !EVENTS.contains(&kind.as_str()));
        if let Some(kind) = unknown {
            let text = format!("`kinds`: there are no events {}, only {}", Quoted(kind), EVENTS.join(", "));
            return Err(RpcError::invalid_params(text));
        }
        Ok(EventFilter { kinds: self.kinds, targets: self.target })
    }
}

impl RunParams {
    pub(super) fn validate(self) -> Result<Run, RpcError> {
        let entry = required(self.entry, "entry")?;
        entry_shape(&entry).map_err(|why| RpcError::invalid_params(format!("`entry` {why}")))?;
        // Clients that write every key send null for the one of the two they do not use.
        let params = self.params.filter(|params| self.args.is_none() || params.get() != "null");
        if params.is_some() && self.args.is_some() {
            return Err(RpcError::invalid_params(
                "`params` and `args` together: `params` is for a function, `args` for a script",
            ));
        }
        if self.timeout.0 == Some(Duration::ZERO) {
            return Err(RpcError::invalid_params("`timeout` is 0: leave it out for the pool's own"));
        }
        Ok(Run {
            pool: self.pool.map(|pool| pool_name(pool, "pool")).transpose()?,
            entry,
            params,
            args: self.args.map(|args| args.into_iter().map(|arg| arg.0).collect()),
            id: self.id.map(|id| run_id(id, "id")).transpose()?,
            env: self.env.map(|env| env.0),
            timeout: self.timeout.0,
            kill_timeout: self.kill_timeout.0,
            output: self.output,
            stdin: self.stdin,
            wait: self.wait.unwrap_or(false),
        })
    }
}

impl ById {
    pub(super) fn id(self) -> Result<String, RpcError> {
        required_id(self.id)
    }
}

impl RunsParams {
    pub(super) fn validate(self) -> Result<RunsFilter, RpcError> {
        if self.limit.is_some_and(|limit| limit == 0 || limit > MAX_RUNS) {
            return Err(RpcError::invalid_params(format!("`limit` is 1 to {MAX_RUNS}")));
        }
        Ok(RunsFilter {
            pool: self.pool.map(|pool| pool_name(pool, "pool")).transpose()?,
            state: self.state,
            limit: self.limit,
            after: self.after.map(|id| run_id(id, "after")).transpose()?,
        })
    }
}

pub(super) fn required<T>(value: Option<T>, key: &str) -> Result<T, RpcError> {
    value.ok_or_else(|| RpcError::invalid_params(format!("`{key}` is missing")))
}

pub(super) fn required_id(id: Option<String>) -> Result<String, RpcError> {
    run_id(required(id, "id")?, "id")
}

fn run_id(id: String, key: &str) -> Result<String, RpcError> {
    if is_run_id(&id) {
        return Ok(id);
    }
    Err(RpcError::invalid_params(format!("`{key}` is not a run's id: 1 to {MAX_ID} of A-Z a-z 0-9 . _ : -")))
}

pub(super) fn pool_name(name: String, key: &str) -> Result<String, RpcError> {
    if is_pool_name(&name) {
        return Ok(name);
    }
    Err(RpcError::invalid_params(format!(
        "`{key}` is not a pool's name: 1 to {MAX_ID} of A-Z a-z 0-9 . _ -, the first a letter or digit"
    )))
}
