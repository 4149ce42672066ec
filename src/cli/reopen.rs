//! `preforkd reopen`: log files are opened anew by their names, after somebody has renamed them.

use super::terminal::write_out;
use super::{Context, Error, Manner, Nothing};
use crate::wire::apps::LogFiles;

/// Open log files anew, as on SIGUSR1: for logrotate
#[derive(Debug, clap::Args)]
pub struct Reopen {}

impl Reopen {
    pub fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("apps.reopen", &Nothing {}, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result.get()))?;
        } else {
            let LogFiles { files } = answer.read()?;
            write_out(format!("{files} log file{} opened anew\n", if files == 1 { "" } else { "s" }))?;
        }
        Ok(0)
    }
}
