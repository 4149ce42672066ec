//! A daemon that comes by itself, with `start` or with the machine.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;

use crate::cli::{code, document, stderr, stdout};
use crate::cli_workers::{pids, states, write};
use crate::house::{Setup, eventually, machine, preforkd, processes};

/// A folder whose daemon came by itself; it goes with the test.
struct Alone(tempfile::TempDir);

impl Alone {
    fn new() -> Alone {
        Alone(tempfile::Builder::new().prefix("preforkd-test-").tempdir().unwrap())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(preforkd());
        command.args(words).env("PREFORKD_DIR", self.dir()).current_dir(self.0.path());
        command
    }

    fn cli(&self, words: &[&str]) -> Output {
        machine::run(&mut self.command(words))
    }

    fn dir(&self) -> std::path::PathBuf {
        self.0.path().join("dir")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("logs/daemon.log")).unwrap_or_default()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if Path::new(&self.dir().join("preforkd.sock")).exists() {
            let output = self.cli(&["kill"]);
            if !std::thread::panicking() {
                assert_eq!(code(&output), 0, "{output:?}\n{}", self.log());
            }
        }
    }
}

#[test]
fn start_brings_one_daemon_up_however_many_call() {
    let alone = Alone::new();
    let calls: Vec<_> = (0..6)
        .map(|n| {
            let mut command = Command::new("sh");
            command.args(["-c", "exec 9>held; exec \"$@\"", "sh", preforkd(), "start", "sleep 1000", "--json"]);
            command.args(["--name", &format!("a{n}")]).env("PREFORKD_DIR", alone.dir()).current_dir(alone.0.path());
            std::thread::spawn(move || machine::run(&mut command))
        })
        .collect();
    for call in calls {
        let output = call.join().unwrap();
        assert_eq!(code(&output), 0, "{output:?}\n{}", alone.log());
        assert_eq!(document(&output)["workers"][0]["state"], "running");
    }
    let info = document(&alone.cli(&["info", "--json"]));
    assert_eq!(stdout(&alone.cli(&["pid"])).lines().count(), 6, "one daemon has them all");
    assert_eq!(alone.log().matches("already running").count(), 0, "{}", alone.log());
    let keeper = info["keeper_pid"].as_u64().unwrap() as u32;
    // Nothing of the caller's holds it, and it holds nothing of the caller's.
    assert_eq!(std::fs::read_link(format!("/proc/{keeper}/cwd")).unwrap(), Path::new("/"));
    assert_eq!(std::fs::read_link(format!("/proc/{keeper}/fd/0")).unwrap(), Path::new("/dev/null"));
    assert!(std::fs::read_link(format!("/proc/{keeper}/fd/2")).unwrap().ends_with("dir/logs/daemon.log"));
    let held =
        std::fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().filter_map(|fd| fd.unwrap().path().read_link().ok());
    assert!(!held.into_iter().any(|file| file.ends_with("held")));
    // The list comes back with the next daemon.
    assert_eq!(stdout(&alone.cli(&["save"])).split(' ').next(), Some("6"));
    assert_eq!(code(&alone.cli(&["kill"])), 0);
    assert_eq!(code(&alone.cli(&["list"])), 3);
    let output = alone.cli(&["resurrect", "--json"]);
    assert_eq!(states(&document(&output)).len(), 6, "{output:?}\n{}", alone.log());
}

#[test]
fn a_daemon_that_does_not_come_up_is_told_with_the_end_of_its_log() {
    let alone = Alone::new();
    std::fs::create_dir_all(alone.dir().join("preforkd.sock/in-the-way")).unwrap();
    let output = alone.cli(&["start", "sleep 5"]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(stderr(&output).contains("daemon.log") && stderr(&output).contains("preforkd.sock"), "{output:?}");
    std::fs::remove_dir_all(alone.dir()).unwrap();
}

#[test]
fn the_service_manager_hears_of_readiness_and_workers_do_not() {
    let setup = Setup::empty().arguments(&["--no-tcp"]);
    let path = setup.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let daemon = setup.wrapped(&["env", &variable]).start();
    let mut buffer = [0; 64];
    let count = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"READY=1");
    // A master that follows says nothing: the manager waits no more.
    let master = daemon.master();
    processes::send(master, nix::sys::signal::Signal::SIGKILL);
    eventually("another master", || {
        let output = daemon.cli(&["info", "--json"]);
        (code(&output) == 0 && document(&output)["master_pid"] != master).then_some(())
    });
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut buffer).is_err());
    write(&daemon, "a.json", r#"[{"name": "a", "script": "sleep 1000"}]"#);
    let mut command = Command::new(preforkd());
    command.args(["start", "a.json"]).env("PREFORKD_DIR", daemon.dir()).env("NOTIFY_SOCKET", &path);
    assert_eq!(code(&machine::run(command.current_dir(daemon.path()))), 0);
    let environment = std::fs::read(format!("/proc/{}/environ", pids(&daemon, "a")[0])).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY_SOCKET"));
}

#[test]
fn startup_prints_a_unit_for_this_folder() {
    let alone = Alone::new();
    let unit = stdout(&alone.cli(&["startup", "--print"]));
    assert!(unit.contains("Type=notify\n") && unit.contains("KillMode=mixed\n"), "{unit}");
    assert!(unit.contains(&format!("serve --dir \"{}\"\n", alone.dir().display())), "{unit}");
    let document = document(&alone.cli(&["startup", "--print", "--json"]));
    assert_eq!((&document["name"], document["unit"].as_str()), (&json!("preforkd.service"), Some(&*unit)));
    assert_eq!(code(&alone.cli(&["startup", "--user", "nobody-of-that-name", "--print"])), 2);
}

#[test]
fn serve_asks_node_for_a_file_in_javascript_once_and_never_in_the_daemon() {
    let name = "serve_asks_node_for_a_file_in_javascript_once_and_never_in_the_daemon";
    if machine::run(Command::new("sh").args(["-c", "command -v node"])).stdout.is_empty() {
        return machine::skipped(name, "there is no node");
    }
    let text = "require('fs').appendFileSync('asked', 'x');\nmodule.exports = {pools: [{name: 'p', runtime: 'python'}], apps: [{name: 'js', script: './run.sh', env: {N: 1 + 1}}]};";
    let setup = Setup::empty().file("run.sh", "exec sleep 1000").serving("ecosystem.config.js", text);
    let daemon = setup.start();
    let up = || daemon.client().worker("js", 0)["state"] == "running";
    eventually("the app runs", || up().then_some(()));
    // A new master has its pools, and the app's folder, from what was said at first.
    crate::faults::masters::kill(&daemon, daemon.master());
    assert!(up());
    let pools = daemon.client().ok("pools", json!({}));
    assert_eq!(pools["pools"][0]["name"], "p");
    assert_eq!(std::fs::read_to_string(daemon.path().join("asked")).unwrap(), "x");
    let refused = Setup::empty().serving("bad.config.js", "module.exports = {apps: [{nme: 'x'}]}").refused();
    assert!(refused.contains("bad.config.js") && refused.contains("nme"), "{refused}");
    let refused = Setup::empty().serving("bad.config.js", "throw new Error('not today')").refused();
    assert!(refused.contains("not today"), "{refused}");
}
