//! `preforkd pid`: pids for scripts.

use clap::Args;

use super::terminal::write_out;
use super::workers::ByTarget;
use super::{Context, Error, Manner, Nothing, targets};
use crate::wire::apps::Workers;

/// Print the pids of workers, a line each; 0 is one that is down
#[derive(Debug, Args)]
pub struct Pid {
    /// Ids, names, namespaces, `/regex/`, or process files [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

impl Pid {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let target = targets::resolve(&self.targets)?;
        let mut client = context.client()?;
        let answer = match target.is_empty() {
            true => client.call("apps.list", &Nothing {}, Manner::READ),
            false => client.call("apps.list", &ByTarget { target: &target }, Manner::READ),
        }?;
        let Workers { workers } = answer.read()?;
        let pids: Vec<u32> = workers.iter().map(|worker| worker.pid.unwrap_or(0)).collect();
        match context.json {
            true => write_out(format!("{}\n", serde_json::Value::from(pids)))?,
            false => write_out(pids.iter().map(|pid| format!("{pid}\n")).collect::<String>())?,
        }
        Ok(0)
    }
}
