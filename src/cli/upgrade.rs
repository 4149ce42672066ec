//! `preforkd upgrade`: another binary takes over while everything goes on.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::terminal::write_out;
use super::{Context, Error, Manner, human};
use crate::wire::info::Upgraded;

/// Put a new version of preforkd in charge, while runs, workers, clients and logs go on
///
/// The new program takes everything over, and only when it has, the old one leaves; if it cannot, the old one
/// carries on and the reason is told. Without --binary it is the program that now has the name
/// that the daemon was started by.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// The new program
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// The same
    #[arg(value_name = "PATH", conflicts_with = "binary")]
    path: Option<PathBuf>,

    /// Only ask it whether it could take over: all but the last step is done
    #[arg(long)]
    check: bool,

    /// Replace the keeper instead of the master: in place, so that its pid and its children stay
    ///
    /// The keeper holds everything together and changes seldom; a release says so when it is worth it.
    #[arg(long)]
    keeper: bool,
}

#[derive(Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<String>,
    check: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keeper: bool,
}

impl Upgrade {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let (check, keeper) = (self.check, self.keeper);
        let binary = self.binary.or(self.path).map(absolute).transpose()?;
        let mut client = context.client()?;
        let answer = client.call("upgrade", &Request { binary, check, keeper }, Manner::CHANGE)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let done: Upgraded = answer.read()?;
        let took = human::span(Duration::from_millis(done.total_ms));
        write_out(match (done.version, done.pause_us) {
            (Some(version), Some(pause)) => format!(
                "preforkd {} → {version}, master {} (nobody was served for {}; {took} in all)\n",
                done.former_version,
                done.master_pid,
                human::span(Duration::from_micros(pause)),
            ),
            (Some(version), None) => format!("keeper {} → {version} ({took})\n", done.former_version),
            _ => format!("it could take over from preforkd {} ({took}); nothing has changed\n", done.former_version),
        })?;
        Ok(0)
    }
}

fn absolute(path: PathBuf) -> Result<String, Error> {
    let path = std::path::absolute(&path)
        .map_err(|e| Error::Usage(format!("{}: cannot make the path absolute: {e}", path.display())))?;
    path.into_os_string().into_string().map_err(|path| Error::Usage(format!("{}: is not UTF-8", path.display())))
}
