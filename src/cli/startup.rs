//! `preforkd startup` and `unstartup`: the daemon comes with the machine.

use std::ffi::OsStr;

use clap::Args;
use serde_json::json;

use super::terminal::{message, write_out};
use super::unit::Unit;
use super::{Context, Error};

const SYSTEMCTL: &str = "systemctl";

/// Install a systemd unit that starts the daemon with the machine
///
/// As root it is the system's; otherwise one of your own manager's. The list of apps comes back by itself.
#[derive(Debug, Args)]
pub struct Startup {
    /// As root: for a daemon of this user
    #[arg(long, short, value_name = "U")]
    user: Option<String>,

    /// Print the unit, and do nothing
    #[arg(long)]
    print: bool,
}

/// Take the systemd unit away; a daemon that runs goes on
#[derive(Debug, Args)]
pub struct Unstartup {
    /// As root: that of this user's daemon
    #[arg(long, short, value_name = "U")]
    user: Option<String>,
}

impl Startup {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let unit = Unit::of(self.user.as_deref(), context)?;
        if self.print {
            match context.json {
                true => tell(&unit, json!({ "file": unit.file(), "unit": unit.text() }))?,
                false => write_out(unit.text())?,
            }
            return Ok(0);
        }
        unit.install(OsStr::new(SYSTEMCTL))?;
        if context.json {
            tell(&unit, json!({ "file": unit.file(), "enabled": true }))?;
            return Ok(0);
        }
        let (manager, user) = if unit.is_system() { ("systemctl", "") } else { ("systemctl --user", " --user") };
        write_out(format!("{} is written and enabled\n", unit.file().display()))?;
        message(&format!("start it now, where no daemon runs yet: {manager} start {}", unit.name()));
        message(&format!("its log: journalctl{user} -u {}", unit.name()));
        if !unit.is_system() {
            message("it ends with your last session, unless you allow it to stay: loginctl enable-linger");
        }
        if let Some(dir) = unit.dir() {
            message(&format!("commands for it need --dir {0}, or PREFORKD_DIR={0}", dir.display()));
        }
        Ok(0)
    }
}

impl Unstartup {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let unit = Unit::of(self.user.as_deref(), context)?;
        let removed = unit.uninstall(OsStr::new(SYSTEMCTL))?;
        match (context.json, removed) {
            (true, _) => tell(&unit, json!({ "file": unit.file(), "removed": removed }))?,
            (false, true) => write_out(format!("{} is removed\n", unit.file().display()))?,
            (false, false) => message(&format!("there is no {}", unit.file().display())),
        }
        Ok(0)
    }
}

fn tell(unit: &Unit, mut document: serde_json::Value) -> Result<(), Error> {
    document["name"] = unit.name().into();
    Ok(write_out(format!("{document}\n"))?)
}
