//! `preforkd env`: the environment of a worker.

use clap::Args;

use super::terminal::write_out;
use super::workers::ByTarget;
use super::{Context, Error, Manner, escape};
use crate::wire::apps::Environment;

/// Show what a worker's next process gets as its environment
///
/// This is the only command that shows values of variables.
#[derive(Debug, Args)]
pub struct Env {
    /// An id, or a name: then of its first instance
    target: String,
}

impl Env {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("apps.env", &ByTarget { target: &[self.target] }, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let Environment { env, .. } = answer.read()?;
        let lines: String =
            env.iter().map(|(name, value)| escape::line(&format!("{name}={value}")).into_owned() + "\n").collect();
        write_out(lines)?;
        Ok(0)
    }
}
