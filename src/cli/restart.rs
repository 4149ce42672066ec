//! `preforkd restart`: workers with a new process each.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::workers::judge;
use super::{Context, Error, Manner, targets, workers};
use crate::wire::apps::Workers;

/// End workers and start them again
///
/// Those that are stopped are started. For a restart without a gap see `reload`.
#[derive(Debug, Args)]
pub struct Restart {
    /// Ids, names, namespaces, `all`, `/regex/`, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,

    /// They get the environment of this command from now on
    #[arg(long)]
    update_env: bool,
}

/// Workers, and an environment for them.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    pub target: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    pub update_env: bool,
}

impl Restart {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let target = targets::resolve(&self.targets)?;
        let env = self.update_env.then(environment);
        let request = Request { target: &target, env, update_env: self.update_env };
        let answer = context.client()?.call("apps.restart", &request, Manner::CHANGE)?;
        let Workers { workers } = answer.read()?;
        match context.json {
            true => super::terminal::write_out(format!("{}\n", answer.result))?,
            false => workers::show(context, &workers)?,
        }
        Ok(judge(&workers))
    }
}

/// Ours; a variable that is not UTF-8 has no place in JSON and stays here.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
