//! `preforkd list`: pools and runs at a glance.

use clap::Args;

use super::terminal::write_out;
use super::{Context, Error, Manner, Nothing, pools, runs, status};

/// Show pools and runs at a glance
#[derive(Debug, Args)]
pub struct List {}

impl List {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("list", &Nothing {}, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let list: crate::wire::info::List = answer.read()?;
        let mut text = match list.pools.is_empty() {
            true => "no pools\n".to_owned(),
            false => pools::table(&context.terminal, &list.pools),
        };
        text.push('\n');
        match list.runs.is_empty() {
            true => text.push_str("no runs\n"),
            false => text.push_str(&runs::table(&context.terminal, &list.runs, status::now())),
        }
        write_out(text)?;
        Ok(0)
    }
}
