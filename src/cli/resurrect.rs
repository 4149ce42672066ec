//! `preforkd resurrect`: whatever is wanted is up.

use clap::Args;

use super::terminal::write_out;
use super::workers::{judge, show};
use super::{Context, Error, Manner, Nothing, bringup};
use crate::wire::apps::Workers;

/// Start whatever is wanted and not up
///
/// Where no daemon runs one is brought up, and the list with it.
#[derive(Debug, Args)]
pub struct Resurrect {}

impl Resurrect {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = bringup::client(context)?.call("apps.resurrect", &Nothing {}, Manner::CHANGE)?;
        let Workers { workers } = answer.read()?;
        match context.json {
            true => write_out(format!("{}\n", answer.result))?,
            false => show(context, &workers)?,
        }
        Ok(judge(&workers))
    }
}
