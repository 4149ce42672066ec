//! What a client may ask for, validated: nothing past this page checks a request's shape again.

use super::duration::OptDuration;
use super::info::Role;
use super::json::present;
use super::params::{NoNul, Params, UniqueMap, params, read};
use super::rpc::RpcError;
use super::signal::de_signal;
use super::status::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest entry, in bytes.
pub const MAX_ENTRY: usize = 255;
/// The longest id of a run and name of a pool, in bytes.
pub const MAX_ID: usize = 64;
/// How many runs `runs` answers with when not asked for a number.
pub const DEFAULT_RUNS: u32 = 100;
/// How many runs `runs` answers with at most.
pub const MAX_RUNS: u32 = 1000;

/// A request that may be obeyed.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are PROTOCOL.md's")]
pub enum Method {
    /// Start a run, or find the one that has this id.
    Run(Box<Run>),
    /// A run's status now.
    Status { id: String },
    /// A run's status at its end, or at the timeout.
    Wait { id: String, timeout: Option<Duration> },
    /// Signal a run; after the grace time KILL.
    Kill { id: String, signal: Option<i32>, grace: Option<Duration> },
    /// Forget an ended run.
    Free { id: String },
    /// Runs, oldest first.
    Runs(RunsFilter),
    /// All pools.
    Pools,
    /// All at a glance.
    List,
    /// A new generation of a pool.
    Reload { name: String },
    /// Is anybody there?
    Ping,
    /// About the daemon.
    Info,
    /// Drain, then end.
    Shutdown,
    /// Say who one is.
    Auth { token: String },
}

impl Method {
    /// The method's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Run(_) => "run",
            Method::Status { .. } => "status",
            Method::Wait { .. } => "wait",
            Method::Kill { .. } => "kill",
            Method::Free { .. } => "free",
            Method::Runs(_) => "runs",
            Method::Pools => "pools",
            Method::List => "list",
            Method::Reload { .. } => "reload",
            Method::Ping => "ping",
            Method::Info => "info",
            Method::Shutdown => "shutdown",
            Method::Auth { .. } => "auth",
        }
    }

    /// The least role that may ask for it.
    pub fn role(&self) -> Role {
        match self {
            Method::Auth { .. } => Role::None,
            Method::Run(_)
            | Method::Status { .. }
            | Method::Wait { .. }
            | Method::Kill { .. }
            | Method::Free { .. }
            | Method::Runs(_)
            | Method::Ping => Role::Run,
            Method::Pools | Method::List | Method::Info | Method::Reload { .. } | Method::Shutdown => Role::Admin,
        }
    }

    /// The method of that name with these params.
    ///
    /// # Errors
    /// `method_not_found` and `invalid_params`.
    pub(super) fn parse(name: &str, raw: Option<&RawValue>) -> Result<Method, RpcError> {
        let id = || read::<ById>(raw)?.id();
        let none = || read::<Nothing>(raw).map(drop);
        Ok(match name {
            "run" => Method::Run(Box::new(read::<RunParams>(raw)?.validate()?)),
            "status" => Method::Status { id: id()? },
            "wait" => {
                let WaitParams { id, timeout } = read(raw)?;
                Method::Wait { id: required_id(id)?, timeout: timeout.0 }
            }
            "kill" => {
                let KillParams { id, signal, grace } = read(raw)?;
                Method::Kill { id: required_id(id)?, signal, grace: grace.0 }
            }
            "free" => Method::Free { id: id()? },
            "runs" => Method::Runs(read::<RunsParams>(raw)?.validate()?),
            "pools" => none().map(|()| Method::Pools)?,
            "list" => none().map(|()| Method::List)?,
            "reload" => {
                let name = required(read::<ReloadParams>(raw)?.name, "name")?;
                Method::Reload { name: pool_name(name, "name")? }
            }
            "ping" => none().map(|()| Method::Ping)?,
            "info" => none().map(|()| Method::Info)?,
            "shutdown" => none().map(|()| Method::Shutdown)?,
            "auth" => Method::Auth { token: required(read::<AuthParams>(raw)?.token, "token")? },
            _ => return Err(RpcError::unknown_method(name)),
        })
    }
}

/// All methods there are, for the hint beside an unknown one.
pub const METHODS: [&str; 13] =
    ["run", "status", "wait", "kill", "free", "runs", "pools", "list", "reload", "ping", "info", "shutdown", "auth"];

/// Where a run's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The pool's log files.
    Log,
    /// The status; the last 64 KiB of each.
    Capture,
    /// The daemon's own.
    Inherit,
    /// Nowhere.
    None,
}

/// What to run and how.
#[derive(Debug, Clone)]
pub struct Run {
    /// The pool; the default one if not named.
    pub pool: Option<String>,
    /// 1…255 bytes without control characters.
    pub entry: String,
    /// One JSON value for the entry, its text as it came. Never beside `args`.
    pub params: Option<Box<RawValue>>,
    /// Arguments of a script, without NULs. Never beside `params`.
    pub args: Option<Vec<String>>,
    /// The client's own id.
    pub id: Option<String>,
    /// Added to the pool's environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Not zero.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL.
    pub kill_timeout: Option<Duration>,
    /// The pool's way if not named.
    pub output: Option<Output>,
    /// What the run reads on its standard input.
    pub stdin: Option<String>,
    /// Answer at the end and not at the start.
    pub wait: bool,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsFilter {
    /// Of this pool only.
    pub pool: Option<String>,
    /// In this state only.
    pub state: Option<State>,
    /// 1…[`MAX_RUNS`]; [`DEFAULT_RUNS`] if not named.
    pub limit: Option<u32>,
    /// Those after this id.
    pub after: Option<String>,
}

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

impl RunParams {
    fn validate(self) -> Result<Run, RpcError> {
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
    fn id(self) -> Result<String, RpcError> {
        required_id(self.id)
    }
}

impl RunsParams {
    fn validate(self) -> Result<RunsFilter, RpcError> {
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

/// Whether this is an id that a run may have.
pub fn is_run_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

/// Whether this is a name that a pool may have.
pub fn is_pool_name(name: &str) -> bool {
    (1..=MAX_ID).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether this can be an entry at all; which ones a pool allows is the pool's.
///
/// # Errors
/// The rest of a sentence that begins with the key.
pub fn entry_shape(entry: &str) -> Result<(), &'static str> {
    match entry.len() {
        0 => Err("is empty"),
        1..=MAX_ENTRY if entry.chars().any(char::is_control) => Err("holds a control character"),
        1..=MAX_ENTRY => Ok(()),
        _ => Err("is longer than 255 bytes"),
    }
}

fn required<T>(value: Option<T>, key: &str) -> Result<T, RpcError> {
    value.ok_or_else(|| RpcError::invalid_params(format!("`{key}` is missing")))
}

fn required_id(id: Option<String>) -> Result<String, RpcError> {
    run_id(required(id, "id")?, "id")
}

fn run_id(id: String, key: &str) -> Result<String, RpcError> {
    if is_run_id(&id) {
        return Ok(id);
    }
    Err(RpcError::invalid_params(format!("`{key}` is not a run's id: 1 to {MAX_ID} of A-Z a-z 0-9 . _ : -")))
}

fn pool_name(name: String, key: &str) -> Result<String, RpcError> {
    if is_pool_name(&name) {
        return Ok(name);
    }
    Err(RpcError::invalid_params(format!(
        "`{key}` is not a pool's name: 1 to {MAX_ID} of A-Z a-z 0-9 . _ -, the first a letter or digit"
    )))
}

#[cfg(test)]
mod tests;
