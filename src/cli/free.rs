//! `preforkd free`: forget a run that has ended.

use clap::Args;

use super::terminal::write_out;
use super::{ById, Context, Error, Manner};

/// Forget a run that has ended; its id may be used again
#[derive(Debug, Args)]
pub struct Free {
    /// The run's id
    id: String,
}

impl Free {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("free", &ById { id: &self.id }, Manner::CHANGE)?;
        match context.json {
            true => write_out(format!("{}\n", answer.result))?,
            false => write_out(format!("{} freed\n", self.id))?,
        }
        Ok(0)
    }
}
