//! `preforkd import`: a process file from another supervisor's. No daemon needed, nothing is started.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::terminal::write_out;
use super::{Context, Error, escape};
use crate::processfile::import::{Around, import};

/// Write the process file that does what a supervisord.conf, or pm2's dump.pm2, does
///
/// The result goes to stdout, what had no equivalent to stderr, line by line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  preforkd import /etc/supervisor/supervisord.conf > preforkd.json
  pm2 save && preforkd import ~/.pm2/dump.pm2 > preforkd.json")]
pub struct Import {
    /// A supervisord.conf, with what it includes, or a dump of pm2's; which it is, is seen by what is in it
    file: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    apps: usize,
    text: &'a str,
    remarks: &'a [String],
}

impl Import {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        // What is not UTF-8 could not be written.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let env: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
        // Without it `%(host_node_name)s` is empty, and that is all.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let imported = import(&self.file, &Around { env: &env, host: host.trim() }).map_err(Error::Failed)?;
        if context.json {
            let document = Document { apps: imported.apps, text: &imported.text, remarks: &imported.remarks };
            let document = serde_json::to_string(&document)
                .map_err(|error| Error::Failed(format!("cannot write the result as JSON: {error}")))?;
            write_out(format!("{document}\n"))?;
        } else {
            write_out(imported.text)?;
            for remark in &imported.remarks {
                // Nobody is left to tell if this fails.
                let _ = writeln!(io::stderr(), "{}", escape::line(remark));
            }
        }
        Ok(0)
    }
}
