//! The systemd unit that starts a daemon with the machine: its text, where it lies, how systemd hears of it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Context, Error};
use crate::sys::process::effective_uid;
use crate::sys::users;

const SYSTEM: &str = "/etc/systemd/system";

/// A unit, of the system or of a user's own manager.
#[derive(Debug)]
pub struct Unit {
    program: PathBuf,
    path: String,
    dir: Option<PathBuf>,
    user: Option<String>,
    /// Of the system's manager, not of a user's.
    system: bool,
    folder: PathBuf,
}

impl Unit {
    /// The unit for a daemon of `user` (None: of whoever asks). Root's are the system's; without `--dir` another user's
    /// daemon has a folder in /var/lib, for its XDG_RUNTIME_DIR is there only while it is logged in.
    pub fn of(user: Option<&str>, context: &Context) -> Result<Unit, Error> {
        let system = effective_uid() == 0;
        if user.is_some() && !system {
            return Err(Error::Usage("only root makes units for others; without --user it is one of your own".into()));
        }
        if let Some(user) = user {
            users::resolve(Some(user), None).map_err(|error| Error::Usage(format!("--user {user}: {error}")))?;
        }
        let user = user.filter(|user| *user != "root");
        let given = context.dir.as_deref().map(std::path::absolute).transpose();
        let given = given.map_err(|error| Error::Usage(format!("--dir: cannot make it absolute: {error}")))?;
        let program = std::env::current_exe()
            .map_err(|error| Error::Failed(format!("cannot tell where this program is: {error}")))?;
        Ok(Unit {
            program,
            path: std::env::var("PATH").unwrap_or_default(),
            dir: given.or_else(|| user.map(|user| format!("/var/lib/preforkd-{user}").into())),
            user: user.map(str::to_owned),
            system,
            folder: if system { SYSTEM.into() } else { config_home()?.join("systemd/user") },
        })
    }

    /// `preforkd.service`, or `preforkd-USER.service`.
    pub fn name(&self) -> String {
        match &self.user {
            Some(user) => format!("preforkd-{user}.service"),
            None => "preforkd.service".to_owned(),
        }
    }

    /// Where it is installed.
    pub fn file(&self) -> PathBuf {
        self.folder.join(self.name())
    }

    /// The folder to give with --dir, where it is not the usual one of whoever asks.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Whether it is the system's.
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// Its text, each line with its reason.
    pub fn text(&self) -> String {
        let mut text = String::from(HEAD);
        if self.system {
            text.push_str("# Workers may need the network from their first instruction on.\nWants=network-online.target\nAfter=network-online.target\n");
        }
        text.push_str(SERVICE);
        let mut command = format!("{} serve", quoted(&self.program.to_string_lossy()));
        if let Some(dir) = &self.dir {
            let _ = write!(command, " --dir {}", quoted(&dir.to_string_lossy())); // a String takes everything
        }
        let _ = writeln!(text, "ExecStart={command}");
        text.push_str(LIFE);
        let _ = writeln!(text, "Environment={}", quoted_assignment("PATH", &self.path));
        match (&self.user, &self.dir) {
            (Some(user), dir) => {
                let _ = writeln!(text, "# The daemon and all that it starts are this user's.\nUser={user}");
                if dir.as_deref() == Some(Path::new(&format!("/var/lib/preforkd-{user}"))) {
                    let _ = writeln!(
                        text,
                        "# Its folder, made and given to the user by systemd.\nStateDirectory=preforkd-{user}\nStateDirectoryMode=0700"
                    );
                }
            }
            (None, None) if self.system => text.push_str(ROOTS_FOLDERS),
            (None, _) => {}
        }
        text.push_str(RESOURCES);
        if self.system {
            text.push_str(HARDENING);
        }
        if self.system && self.user.is_none() {
            text.push_str(HARDENING_OF_ROOT);
        }
        let target = if self.system { "multi-user.target" } else { "default.target" };
        let _ = write!(text, "\n[Install]\nWantedBy={target}\n");
        text
    }

    /// Writes it and has it started with the machine from now on.
    pub fn install(&self, systemctl: &OsStr) -> Result<(), Error> {
        let file = self.file();
        let failed = |error| Error::Failed(format!("cannot write {}: {error}; see --print", file.display()));
        fs::create_dir_all(&self.folder).map_err(failed)?;
        // Never half of it, whenever systemd looks.
        let new = file.with_extension("service.new");
        fs::write(&new, self.text()).and_then(|()| fs::rename(&new, &file)).map_err(failed)?;
        self.systemctl(systemctl, &["daemon-reload"])?;
        self.systemctl(systemctl, &["enable", &self.name()])
    }

    /// Takes it away; whether it was there. A daemon that runs goes on.
    pub fn uninstall(&self, systemctl: &OsStr) -> Result<bool, Error> {
        let file = self.file();
        if !file.exists() {
            return Ok(false);
        }
        self.systemctl(systemctl, &["disable", &self.name()])?;
        fs::remove_file(&file).map_err(|error| Error::Failed(format!("cannot remove {}: {error}", file.display())))?;
        self.systemctl(systemctl, &["daemon-reload"])?;
        Ok(true)
    }

    fn systemctl(&self, program: &OsStr, words: &[&str]) -> Result<(), Error> {
        let mut command = Command::new(program);
        if !self.system {
            command.arg("--user");
        }
        let said = format!("systemctl {}", words.join(" "));
        // What it tells is for people: our stdout is for our result.
        let output = command.args(words).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Error::Failed(format!("cannot run `{said}`: {error}; see --print")))?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(Error::Failed(format!("`{said}` failed ({}): {}", output.status, why.trim())))
    }
}

fn config_home() -> Result<PathBuf, Error> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_CONFIG_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| Error::Usage("neither XDG_CONFIG_HOME nor HOME is set to an absolute path".into()))
}

/// A word of a command line (systemd.service(5)): `%` and `$` stand for themselves when doubled.
fn quoted(word: &str) -> String {
    format!("\"{}\"", escaped(word).replace('$', "$$"))
}

/// `"NAME=VALUE"` (systemd.exec(5)); `$` has no meaning there.
fn quoted_assignment(name: &str, value: &str) -> String {
    format!("\"{name}={}\"", escaped(value))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n")
}

const HEAD: &str = "\
[Unit]
Description=preforkd: keeps workers up and runs of warm applications going
";

const SERVICE: &str = "
[Service]
# It says READY=1 when its socket answers.
Type=notify
";

const LIFE: &str = "\
# A process file that `serve` is given is read again; only what differs in it is touched.
ExecReload=/bin/kill -HUP $MAINPID
# The stop signal goes to the daemon alone, which stops its workers in order; whatever is left is killed.
KillMode=mixed
# More than its own --shutdown-timeout (8 s).
TimeoutStopSec=20
# `preforkd shutdown` is an end that is meant; anything else is not.
Restart=on-failure
RestartSec=1
# Interpreters are found where they are found now.
";

const ROOTS_FOLDERS: &str = "\
# /run/preforkd and /var/lib/preforkd; the first outlives a restart of the unit.
RuntimeDirectory=preforkd
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=restart
StateDirectory=preforkd
StateDirectoryMode=0700
";

const RESOURCES: &str = "\
# A worker that the kernel kills for its memory is started again; systemd's way would be to stop all of them.
OOMPolicy=continue
# Workers are many; each app has its own limits.
TasksMax=infinity
# The daemon may make cgroups of its own for the trees of its workers.
Delegate=yes
";

/// `NoNewPrivileges` would break sudo, ping and sendmail in apps; with `User=` most other options imply it.
const HARDENING: &str = "\
# Hardening holds for the daemon and for all apps, so that it is only what an app has no business with.
# /usr and the boot loader cannot be written.
ProtectSystem=yes
";

const HARDENING_OF_ROOT: &str = "\
# No module is loaded into the kernel, not even by root's apps.
ProtectKernelModules=yes
# No process changes its execution domain (personality(2)), which weakens address space randomisation.
LockPersonality=yes
";

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
