//! `preforkd schema`: what a process file may hold, for editors.

use clap::Args;

use super::terminal::write_out;
use super::{Context, Error};
use crate::processfile;

/// Print the JSON Schema of process files
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    pub(super) fn execute(self, _: &Context) -> Result<u8, Error> {
        write_out(format!("{}\n", processfile::SCHEMA.trim_end()))?;
        Ok(0)
    }
}
