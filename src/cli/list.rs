//! `preforkd list`: workers, pools and runs at a glance.

use clap::Args;

use super::terminal::write_out;
use super::{Context, Error, Manner, Nothing, pools, runs, status, workers};
use crate::wire::info;

/// Show workers, pools and runs at a glance
///
/// CPU is the share of one processor over a process's whole life, memory what is resident now.
#[derive(Debug, Args)]
pub struct List {}

impl List {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("list", &Nothing {}, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let list: info::List = answer.read()?;
        let terminal = &context.terminal;
        let workers = match list.workers.is_empty() {
            true => "no workers\n".to_owned(),
            false => workers::table(terminal, &list.workers, &workers::usage_of),
        };
        let pools = match list.pools.is_empty() {
            true => "no pools\n".to_owned(),
            false => pools::table(terminal, &list.pools),
        };
        let runs = match list.runs.is_empty() {
            true => "no runs\n".to_owned(),
            false => runs::table(terminal, &list.runs, status::now()),
        };
        write_out([workers, pools, runs].join("\n"))?;
        Ok(0)
    }
}
