//! The methods about apps, `apps.…`.

use super::Targets;
use super::shapes::required;
use crate::wire::params::{Params, UniqueMap, params, read};
use crate::wire::rpc::RpcError;
use crate::wire::signal::de_signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A request about apps.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are PROTOCOL.md's")]
pub enum Apps {
    /// Workers as they are.
    List { target: Option<Targets> },
    /// With the definitions of their apps.
    Describe { target: Targets },
    /// What a worker's next process gets as its environment.
    Env { target: Targets },
    /// New or changed apps; those that are there and unchanged are left alone.
    Define(Box<Define>),
    /// Those that are there.
    Start { target: Targets, env: Option<BTreeMap<String, String>> },
    /// Told to end, and not started again.
    Stop { target: Targets },
    /// Ended and started again.
    Restart { target: Targets, env: Option<BTreeMap<String, String>> },
    /// Replaced one after the other, each by one that is ready.
    Reload { target: Targets },
    /// Stopped and forgotten.
    Delete { target: Targets },
    /// Counters back to 0.
    Reset { target: Targets },
    /// A signal to each process.
    Signal { target: Targets, signal: i32 },
    /// Another number of instances.
    Scale { name: String, to: String },
    /// The list is on the disk when this is answered.
    Save,
    /// Whatever is wanted and not up is started.
    Resurrect,
}

/// New or changed apps and pools.
#[derive(Debug, Clone)]
pub struct Define {
    /// As in a process file, a list of objects.
    pub apps: Option<Box<RawValue>>,
    /// As in a process file, a list of objects.
    pub pools: Option<Box<RawValue>>,
    /// What relative paths are relative to, absolute.
    pub folder: PathBuf,
    /// The caller's environment.
    pub env: BTreeMap<String, String>,
    /// Apps that are there get `env`, too, and are restarted.
    pub update_env: bool,
    /// Answered when they run, not when they have been taken.
    pub wait: bool,
    /// `apps.apply`: only what differs is touched, and nothing is started that was stopped.
    pub apply: bool,
    /// `apps.apply` tells only what it would do.
    pub dry_run: bool,
}

params!(ListParams { target: Option<Targets> });
params!(EnvParams { target: Option<Targets>, env: Option<UniqueMap>, update_env: Option<bool> });
params!(SignalParams {
    target: Option<Targets>,
    #[serde(deserialize_with = "de_signal")]
    signal: Option<i32>,
});
params!(ScaleParams { name: Option<String>, to: Option<String> });
params!(Nothing {});
params!(DefineParams {
    target: Option<Targets>,
    apps: Option<Box<RawValue>>,
    pools: Option<Box<RawValue>>,
    folder: Option<String>,
    env: Option<UniqueMap>,
    update_env: Option<bool>,
    wait: Option<bool>,
    dry_run: Option<bool>,
});

impl DefineParams {
    fn validate(self, apply: bool) -> Result<Apps, RpcError> {
        let env = self.env.map(|env| env.0);
        if let Some(target) = self.target {
            if self.apps.is_some() || self.pools.is_some() || apply {
                return Err(RpcError::invalid_params(
                    "`target` is for apps that are there, `apps` for new ones: give one",
                ));
            }
            let env = env.filter(|_| self.update_env == Some(true));
            return Ok(Apps::Start { target, env });
        }
        if self.apps.is_none() && self.pools.is_none() {
            return Err(RpcError::invalid_params("`target` or `apps` is missing"));
        }
        let folder = PathBuf::from(required(self.folder, "folder")?);
        if !folder.is_absolute() {
            return Err(RpcError::invalid_params("`folder` is not an absolute path"));
        }
        Ok(Apps::Define(Box::new(Define {
            apps: self.apps,
            pools: self.pools,
            folder,
            env: env.unwrap_or_default(),
            update_env: self.update_env.unwrap_or(false),
            wait: self.wait.unwrap_or(true),
            apply,
            dry_run: self.dry_run.unwrap_or(false),
        })))
    }
}

impl Apps {
    /// The method's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Apps::List { .. } => "apps.list",
            Apps::Describe { .. } => "apps.describe",
            Apps::Env { .. } => "apps.env",
            Apps::Define(define) if define.apply => "apps.apply",
            Apps::Define(_) | Apps::Start { .. } => "apps.start",
            Apps::Stop { .. } => "apps.stop",
            Apps::Restart { .. } => "apps.restart",
            Apps::Reload { .. } => "apps.reload",
            Apps::Delete { .. } => "apps.delete",
            Apps::Reset { .. } => "apps.reset",
            Apps::Signal { .. } => "apps.signal",
            Apps::Scale { .. } => "apps.scale",
            Apps::Save => "apps.save",
            Apps::Resurrect => "apps.resurrect",
        }
    }

    /// The method of that name (without `apps.`) with these params; None: there is no such method.
    pub(super) fn parse(name: &str, raw: Option<&RawValue>) -> Option<Result<Apps, RpcError>> {
        let target = || required(read::<ListParams>(raw)?.target, "target");
        let with_env = |make: fn(Targets, Option<BTreeMap<String, String>>) -> Apps| {
            let EnvParams { target, env, update_env } = read(raw)?;
            let env = env.map(|env| env.0).filter(|_| update_env == Some(true));
            Ok(make(required(target, "target")?, env))
        };
        Some(match name {
            "list" => read::<ListParams>(raw).map(|p| Apps::List { target: p.target }),
            "describe" => target().map(|target| Apps::Describe { target }),
            "env" => target().map(|target| Apps::Env { target }),
            "start" => read::<DefineParams>(raw).and_then(|p| p.validate(false)),
            "apply" => read::<DefineParams>(raw).and_then(|p| p.validate(true)),
            "stop" => target().map(|target| Apps::Stop { target }),
            "restart" => with_env(|target, env| Apps::Restart { target, env }),
            "reload" => target().map(|target| Apps::Reload { target }),
            "delete" => target().map(|target| Apps::Delete { target }),
            "reset" => target().map(|target| Apps::Reset { target }),
            "signal" => read::<SignalParams>(raw).and_then(|p| {
                Ok(Apps::Signal { target: required(p.target, "target")?, signal: required(p.signal, "signal")? })
            }),
            "scale" => read::<ScaleParams>(raw)
                .and_then(|p| Ok(Apps::Scale { name: required(p.name, "name")?, to: required(p.to, "to")? })),
            "save" => read::<Nothing>(raw).map(|_| Apps::Save),
            "resurrect" => read::<Nothing>(raw).map(|_| Apps::Resurrect),
            _ => return None,
        })
    }
}
