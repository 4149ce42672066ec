//! `preforkd save`: the list of apps is on the disk.

use clap::Args;

use super::terminal::write_out;
use super::{Context, Error, Manner, Nothing};
use crate::wire::apps::Workers;

/// Make sure that the list of apps is on the disk
///
/// It is kept by itself with every change, and comes back with the daemon; this is for habits and scripts.
#[derive(Debug, Args)]
pub struct Save {}

impl Save {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("apps.save", &Nothing {}, Manner::CHANGE)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let Workers { workers } = answer.read()?;
        let file = context.dirs()?.apps();
        write_out(format!("{} workers saved in {}\n", workers.len(), file.display()))?;
        Ok(0)
    }
}
