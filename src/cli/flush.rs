//! `preforkd flush [TARGET…]`: log files become empty.

use serde::Serialize;

use super::terminal::write_out;
use super::{Context, Error, Manner};
use crate::wire::apps::LogFiles;

/// Empty log files; rotated ones stay
#[derive(Debug, clap::Args)]
pub struct Flush {
    /// Names, ids, namespaces, `all` or `/REGEX/` [default: all]
    #[arg(value_name = "TARGET")]
    target: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Params<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    target: &'a [String],
}

impl Flush {
    pub fn execute(self, context: &Context) -> Result<u8, Error> {
        let answer = context.client()?.call("apps.flush", &Params { target: &self.target }, Manner::READ)?;
        if context.json {
            write_out(format!("{}\n", answer.result.get()))?;
        } else {
            let LogFiles { files } = answer.read()?;
            write_out(format!("{files} log file{} emptied\n", if files == 1 { "" } else { "s" }))?;
        }
        Ok(0)
    }
}
