//! A daemon that is about to be started: its folder, its pools, its command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::Daemon;

/// The program under test.
pub fn preforkd() -> &'static str {
    env!("CARGO_BIN_EXE_preforkd")
}

/// The native fixture, which `cargo test` builds beside us: examples/native.rs.
pub fn native() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let path = me.parent().and_then(Path::parent).unwrap().join("examples/native");
    assert!(path.exists(), "{} is missing: `cargo build --examples`", path.display());
    path
}

/// What a daemon is started with.
pub struct Setup {
    pub(super) root: tempfile::TempDir,
    pub(super) pools: Vec<Value>,
    pub(super) apps: Vec<Value>,
    pub(super) written: Option<PathBuf>,
    pub(super) arguments: Vec<String>,
    pub(super) wrapper: Vec<String>,
    pub(super) ready: Duration,
}

impl Setup {
    /// No pools yet.
    pub fn empty() -> Setup {
        Setup {
            root: tempfile::Builder::new().prefix("preforkd-test-").tempdir().unwrap(),
            pools: Vec::new(),
            apps: Vec::new(),
            written: None,
            arguments: Vec::new(),
            wrapper: Vec::new(),
            ready: super::PATIENCE,
        }
    }

    /// The native fixture as the pool `fixture`, with these keys beside.
    pub fn native(keys: Value) -> Setup {
        Setup::empty()
            .pool(json!({"name": "fixture", "runtime": "native", "command": [native()], "output": "none"}), keys)
    }

    /// A script pool, with `cwd` in a folder of its own: the files are (path, text).
    pub fn app(runtime: &str, files: &[(&str, &str)], keys: Value) -> Setup {
        let setup = Setup::empty();
        let app = setup.path().join("app");
        for (name, text) in files {
            let path = app.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        setup.pool(json!({"name": "app", "runtime": runtime, "cwd": app, "output": "capture"}), keys)
    }

    /// One more pool: the keys of the first, replaced and completed by the second's.
    pub fn pool(mut self, mut pool: Value, keys: Value) -> Setup {
        for (key, value) in keys.as_object().expect("keys of a pool") {
            pool[key] = value.clone();
        }
        self.pools.push(pool);
        self
    }

    /// One more app, kept up from the start.
    pub fn worker(mut self, app: Value) -> Setup {
        self.apps.push(app);
        self
    }

    /// A file in the daemon's folder, which is the apps' folder, too.
    pub fn file(self, name: &str, text: &str) -> Setup {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// The process file itself, in whatever form, in place of one with these pools and apps.
    pub fn serving(mut self, name: &str, text: &str) -> Setup {
        self.written = Some(self.path().join(name));
        self.file(name, text)
    }

    /// More words for `preforkd serve`.
    pub fn arguments(mut self, words: &[&str]) -> Setup {
        self.arguments.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    /// A program that execs what follows it: `prlimit`, `setpriv`, `unshare`.
    pub fn wrapped(mut self, words: &[&str]) -> Setup {
        self.wrapper.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    /// The folder that goes with the daemon; `app` and `dir` are in it.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The daemon's own folder.
    pub fn dir(&self) -> PathBuf {
        self.path().join("dir")
    }

    /// Writes the process file; its path.
    pub fn write_file(&self) -> PathBuf {
        if let Some(path) = &self.written {
            return path.clone();
        }
        let path = self.path().join("app.json");
        std::fs::write(&path, json!({"pools": self.pools, "apps": self.apps}).to_string()).unwrap();
        path
    }

    /// The whole command line. The daemon ends with the thread that starts it, whatever becomes of us.
    pub fn command(&self) -> Command {
        let mut words: Vec<String> = ["setpriv", "--pdeathsig", "TERM"].map(str::to_owned).to_vec();
        words.extend(self.wrapper.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(preforkd()).arg("serve").arg(self.write_file()).arg("--dir").arg(self.dir());
        if !self.arguments.iter().any(|a| a == "--listen" || a == "--no-tcp") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        // As on most machines; Python keeps what it has compiled beside its source.
        command.env_remove("PYTHONDONTWRITEBYTECODE");
        command.args(&self.arguments).env_remove("PREFORKD_DIR").current_dir(self.path());
        command
    }

    /// Starts it and waits until it answers and its pools are past loading.
    pub fn start(self) -> Daemon {
        Daemon::start(self)
    }

    /// A daemon that has to refuse to start: what it says.
    pub fn refused(self) -> String {
        super::machine::refused_start(&mut self.command())
    }
}
