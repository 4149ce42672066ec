//! The methods, by name.

use super::apps::Apps;
use super::shapes::{
    AuthParams, ById, FlushParams, KillParams, LogsParams, Nothing, ReloadParams, RunParams, RunsParams,
    SubscribeParams, UpgradeParams, WaitParams, pool_name, required, required_id,
};
use super::{EventFilter, LogsWanted, Run, RunsFilter, Targets};
use crate::wire::info::Role;
use crate::wire::params::read;
use crate::wire::rpc::RpcError;
use serde_json::value::RawValue;
use std::time::Duration;

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
    /// Another program takes over.
    Upgrade { binary: Option<String>, check: bool, keeper: bool },
    /// Say who one is.
    Auth { token: String },
    /// About apps.
    Apps(Apps),
    /// The last lines of logs, and those that follow.
    AppsLogs(LogsWanted),
    /// Log files become empty.
    AppsFlush { targets: Option<Targets> },
    /// Log files are opened anew by their names.
    AppsReopen,
    /// Be told of what happens.
    EventsSubscribe(EventFilter),
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
            Method::Upgrade { .. } => "upgrade",
            Method::Auth { .. } => "auth",
            Method::Apps(apps) => apps.name(),
            Method::AppsLogs(_) => "apps.logs",
            Method::AppsFlush { .. } => "apps.flush",
            Method::AppsReopen => "apps.reopen",
            Method::EventsSubscribe(_) => "events.subscribe",
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
            Method::Pools
            | Method::List
            | Method::Info
            | Method::Reload { .. }
            | Method::Shutdown
            | Method::Upgrade { .. }
            | Method::Apps(_)
            | Method::AppsLogs(_)
            | Method::AppsFlush { .. }
            | Method::AppsReopen
            | Method::EventsSubscribe(_) => Role::Admin,
        }
    }

    /// The method of that name with these params.
    ///
    /// # Errors
    /// `method_not_found` and `invalid_params`.
    pub(in crate::wire) fn parse(name: &str, raw: Option<&RawValue>) -> Result<Method, RpcError> {
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
            "upgrade" => {
                let UpgradeParams { binary, check, keeper } = read(raw)?;
                let (check, keeper) = (check.unwrap_or(false), keeper.unwrap_or(false));
                Method::Upgrade { binary: binary.map(|path| path.0), check, keeper }
            }
            "auth" => Method::Auth { token: required(read::<AuthParams>(raw)?.token, "token")? },
            "apps.logs" => Method::AppsLogs(read::<LogsParams>(raw)?.validate()?),
            "apps.flush" => Method::AppsFlush { targets: read::<FlushParams>(raw)?.target },
            "apps.reopen" => none().map(|()| Method::AppsReopen)?,
            "events.subscribe" => Method::EventsSubscribe(read::<SubscribeParams>(raw)?.validate()?),
            _ => {
                let apps = name.strip_prefix("apps.").and_then(|name| Apps::parse(name, raw));
                Method::Apps(apps.unwrap_or_else(|| Err(RpcError::unknown_method(name)))?)
            }
        })
    }
}

/// All methods there are, for the hint beside an unknown one.
pub const METHODS: [&str; 32] = [
    "run",
    "status",
    "wait",
    "kill",
    "free",
    "runs",
    "pools",
    "list",
    "reload",
    "ping",
    "info",
    "shutdown",
    "upgrade",
    "auth",
    "apps.list",
    "apps.describe",
    "apps.env",
    "apps.start",
    "apps.apply",
    "apps.stop",
    "apps.restart",
    "apps.reload",
    "apps.delete",
    "apps.reset",
    "apps.signal",
    "apps.scale",
    "apps.save",
    "apps.resurrect",
    "apps.logs",
    "apps.flush",
    "apps.reopen",
    "events.subscribe",
];
