//! A daemon that runs, and its end: nothing of it is left, also when a test panics.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::processes::{self, Process, descendants};
use super::setup::Setup;
use super::{Client, eventually, machine, preforkd, within};

/// A shutdown has to be through after 8 s; the rest is for a busy machine.
const SHUTDOWN: Duration = Duration::from_secs(10);

pub struct Daemon {
    child: Child,
    setup: Setup,
    /// Whether its end is part of the test, so that nothing is expected of it.
    abandoned: bool,
}

impl Daemon {
    pub(super) fn start(setup: Setup) -> Daemon {
        let log = File::options().create(true).append(true).open(setup.path().join("log")).unwrap();
        let child = setup
            .command()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("starting the daemon");
        let mut daemon = Daemon { child, setup, abandoned: false };
        let limit = daemon.setup.ready;
        within(limit, "the daemon answers", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended at its start, {status}:\n{}", daemon.log());
            }
            let mut client = Client::unix(&daemon.socket()).ok()?;
            let pools = client.ok("pools", json!({}));
            let loading = pools["pools"].as_array()?.iter().any(|p| p["state"] == "loading");
            (!loading).then_some(())
        });
        daemon
    }

    /// The folder that belongs to this test.
    pub fn path(&self) -> &Path {
        self.setup.path()
    }

    /// The daemon's own folder.
    pub fn dir(&self) -> PathBuf {
        self.setup.dir()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir().join("preforkd.sock")
    }

    /// What it wrote on stdout and stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// Over the Unix socket.
    pub fn client(&self) -> Client {
        Client::unix(&self.socket()).expect("connecting to the Unix socket")
    }

    /// Over TCP.
    pub fn tcp(&self) -> Client {
        Client::tcp(self.address()).expect("connecting by TCP")
    }

    pub fn info(&self) -> Value {
        self.client().ok("info", json!({}))
    }

    /// Its first TCP address.
    pub fn address(&self) -> SocketAddr {
        let info = self.info();
        let listen = info["listen"].as_array().expect("listen is a list");
        let found = listen.iter().find_map(|l| l.as_str()?.parse().ok());
        found.unwrap_or_else(|| panic!("no TCP address in {listen:?}"))
    }

    /// The process that was started; with a wrapper that does not exec, not the keeper.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn master(&self) -> u32 {
        self.info()["master_pid"].as_u64().unwrap() as u32
    }

    pub fn zygote(&self) -> u32 {
        let pools = self.client().ok("pools", json!({}));
        pools["pools"][0]["zygote_pid"].as_u64().unwrap_or_else(|| panic!("no zygote: {pools}")) as u32
    }

    /// `preforkd WORDS` on this daemon.
    pub fn cli(&self, words: &[&str]) -> Output {
        machine::run(Command::new(preforkd()).args(words).env("PREFORKD_DIR", self.dir()).current_dir(self.path()))
    }

    /// Waits until the descriptors of the master are `count` again.
    pub fn fds_are(&self, count: usize) {
        let master = self.master();
        eventually(&format!("the master has {count} descriptors again"), || {
            // The connection that asks is one itself, and gone by now or soon.
            (processes::fds(master).len() <= count).then_some(())
        });
    }

    /// The end comes from elsewhere; see that the daemon leaves by itself, and with which code.
    pub fn ends(&mut self, limit: Duration) -> ExitStatus {
        let status = within(limit, "the daemon has ended", || self.child.try_wait().unwrap());
        self.abandoned = true;
        status
    }

    /// SIGTERM, and the time it took until the end.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        processes::send(self.keeper(), Signal::SIGTERM);
        let status = self.ends(SHUTDOWN);
        (status, started.elapsed())
    }

    /// As a power cut would: everything of it is killed. The folder stays, for another one.
    pub fn crash(mut self) -> Setup {
        self.abandoned = true;
        // All at once, so that nobody tidies up after another.
        descendants(self.child.id()).iter().for_each(|p| p.signal(Signal::SIGSTOP));
        self.kill_all();
        let (pools, apps) = (std::mem::take(&mut self.setup.pools), std::mem::take(&mut self.setup.apps));
        let root = std::mem::replace(&mut self.setup.root, tempfile::tempdir().unwrap());
        Setup { root, pools, apps, ..Setup::empty() }
    }

    /// What it takes to end it: `unshare --fork` passes no signal on.
    fn keeper(&self) -> u32 {
        if processes::title(self.child.id()).starts_with("unshare") {
            let children = descendants(self.child.id());
            return children
                .iter()
                .map(|p| p.pid)
                .find(|pid| processes::parent(*pid) == Some(self.child.id()))
                .unwrap_or(self.child.id());
        }
        self.child.id()
    }

    fn kill_all(&mut self) {
        let mut tree = descendants(self.child.id());
        let _ = self.child.kill();
        // The keeper first, for it would start another master; then whatever was below it, and what that forked meanwhile.
        for _ in 0..50 {
            tree.retain(|p| p.alive());
            let more: HashSet<Process> = tree.iter().flat_map(|p| descendants(p.pid)).collect();
            tree.extend(more);
            if tree.is_empty() {
                break;
            }
            tree.iter().for_each(|p| p.signal(Signal::SIGKILL));
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            if !self.abandoned && !std::thread::panicking() {
                panic!("the daemon ended before the test did:\n{}", self.log());
            }
            return;
        }
        let before = descendants(self.child.id());
        processes::send(self.keeper(), Signal::SIGTERM);
        let deadline = Instant::now() + SHUTDOWN;
        let mut ended = None;
        while ended.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            ended = self.child.try_wait().unwrap_or(None);
        }
        if ended.is_none() {
            self.kill_all();
        }
        let left: Vec<Process> = before.into_iter().filter(|p| p.alive()).collect();
        let named: Vec<String> = left.iter().map(|p| p.describe()).collect();
        left.iter().for_each(|p| p.signal(Signal::SIGKILL));
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
            return;
        }
        let Some(status) = ended else { panic!("the daemon did not end within {SHUTDOWN:?}:\n{}", self.log()) };
        assert!(status.success(), "the daemon ended with {status}:\n{}", self.log());
        assert!(named.is_empty(), "the daemon left processes behind: {named:?}\n{}", self.log());
    }
}
