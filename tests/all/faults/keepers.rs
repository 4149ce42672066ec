//! Keepers that die.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, machine, preforkd, processes};

const SOON: Duration = Duration::from_secs(10);

/// A pool, and a worker that writes a line now and then.
fn setup() -> Setup {
    Setup::native(json!({"idle": 1}))
        .file("tick.sh", "echo started >> starts\nwhile :; do echo tick; sleep 0.1; done\n")
        .worker(json!({"name": "tick", "script": "tick.sh", "interpreter": "bash", "out_file": "tick.log"}))
}

fn lines(daemon: &Daemon, name: &str) -> usize {
    std::fs::read_to_string(daemon.path().join(name)).map_or(0, |text| text.lines().count())
}

/// Whether the kernel tells how a process ended to others than its parent (6.15).
fn exits_are_told() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn fault_28_without_its_keeper_a_master_serves_what_it_has_and_another_keeper_takes_over() {
    let mut daemon = setup().start();
    let mut client = daemon.client();
    let alive = client.start("sleep", json!({"ms": 60_000}), "alive");
    client.start("shell", json!({"script": "sleep 0.4; exit 0"}), "short");
    let killed = client.start("sleep", json!({"ms": 60_000}), "killed");
    let worker = client.worker("tick", 0)["pid"].clone();
    let master = daemon.master();
    let below = processes::descendants(daemon.pid());
    processes::send(daemon.pid(), Signal::SIGKILL);
    daemon.ends(SOON);
    let info = eventually("it says that its keeper has died", || {
        let info = client.ok("info", json!({}));
        (info["keeper_pid"] == 0).then_some(info)
    });
    assert!(info["warning"].as_str().unwrap().contains("serve --adopt"), "{info}");
    assert_eq!(info["master_pid"], master);
    // What runs goes on, and its end is known where the kernel tells.
    assert_eq!(client.worker("tick", 0)["pid"], worker);
    let short = client.wait("short");
    client.ok("kill", json!({"id": "killed", "signal": "KILL"}));
    let killed_status = client.wait("killed");
    assert_eq!(killed_status["pid"], killed["pid"]);
    if exits_are_told() {
        assert_eq!((&short["state"], &short["exit_code"]), (&json!("exited"), &json!(0)), "{short}");
        assert_eq!(killed_status["signal"], 9, "{killed_status}");
    } else {
        assert_eq!((&short["state"], &killed_status["state"]), (&json!("unknown"), &json!("unknown")));
    }
    // Nothing new.
    let refusal = client.refused("run", json!({"entry": "exit", "params": {"code": 1}}));
    assert!(refusal.message.contains("keeper has died"), "{}", refusal.message);
    let refusal = client.refused("apps.restart", json!({"target": "tick"}));
    assert!(refusal.message.contains("keeper has died"), "{}", refusal.message);
    // A second daemon does not start beside it, and says what to do.
    let second = machine::refused_start(&mut command(&daemon, &[]));
    assert!(second.contains("--adopt"), "{second}");
    let mut next = Next::start(&daemon, below);
    // The same connection, the same run, the same worker; a new master.
    let info = eventually("another keeper", || {
        let info = client.ok("info", json!({}));
        (info["keeper_pid"] == next.0.id()).then_some(info)
    });
    assert!(info.get("warning").is_none() && info["master_pid"] != master, "{info}");
    assert_eq!(client.ok("status", json!({"id": "alive"}))["pid"], alive["pid"]);
    assert_eq!(client.worker("tick", 0)["pid"], worker);
    let before = lines(&daemon, "tick.log");
    eventually("its output goes on", || (lines(&daemon, "tick.log") > before + 2).then_some(()));
    assert_eq!(client.ok("run", json!({"entry": "exit", "params": {"code": 5}, "wait": true}))["exit_code"], 5);
    // Its end is seen by the new one, too, and it is started again as its own child.
    processes::send(worker.as_u64().unwrap() as u32, Signal::SIGKILL);
    let again = eventually("the worker is started again", || {
        let now = client.worker("tick", 0)["pid"].as_u64()?;
        (Some(now) != worker.as_u64()).then_some(now as u32)
    });
    assert_eq!(processes::parent(again), Some(next.0.id()));
    eventually("its first line", || (lines(&daemon, "starts") == 2).then_some(()));
    // Later masters know, too, who is not their keeper's child.
    super::masters::kill(&daemon, daemon.master());
    let mut client = daemon.client();
    client.ok("kill", json!({"id": "alive", "signal": "TERM"}));
    let ended = client.wait("alive");
    assert_eq!(ended["pid"], alive["pid"]);
    assert_eq!(ended["signal"], if exits_are_told() { json!(15) } else { Value::Null }, "{ended}");
    next.end(&daemon);
}

#[test]
fn fault_28_survivors_of_a_keeper_and_its_master_are_adopted_by_the_next_daemon_and_not_doubled() {
    let mut daemon = setup().start();
    let mut client = daemon.client();
    let alive = client.start("sleep", json!({"ms": 60_000}), "alive");
    let worker = client.worker("tick", 0)["pid"].as_u64().unwrap() as u32;
    let (keeper, master) = (daemon.pid(), daemon.master());
    let below = processes::descendants(keeper);
    // Both at once, so that neither sees the other's end.
    processes::send(keeper, Signal::SIGSTOP);
    processes::send(master, Signal::SIGKILL);
    processes::send(keeper, Signal::SIGKILL);
    daemon.ends(SOON);
    // Until it has gone, the directory is its own.
    eventually("the master has gone", || (!processes::alive(master)).then_some(()));
    let mut next = Next::start(&daemon, below);
    let mut client = eventually("the next daemon answers", || {
        let mut client = Client::unix(&daemon.socket()).ok()?;
        client.call("ping", json!({})).ok().map(|_| client)
    });
    let status = client.ok("status", json!({"id": "alive"}));
    assert_eq!((&status["state"], &status["pid"]), (&json!("running"), &alive["pid"]));
    // Its pipe has gone with the keeper: either it lives on, or it has died of that and has been started again; never both.
    eventually("one worker", || {
        let pid = client.worker("tick", 0)["pid"].as_u64()? as u32;
        (processes::alive(pid) && (pid == worker || !processes::alive(worker))).then_some(())
    });
    client.ok("kill", json!({"id": "alive", "signal": "KILL"}));
    let ended = client.wait("alive");
    assert_eq!(ended["state"], if exits_are_told() { "exited" } else { "unknown" }, "{ended}");
    next.end(&daemon);
}

fn command(daemon: &Daemon, more: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", preforkd(), "serve"]).arg(daemon.path().join("app.json"));
    command.arg("--dir").arg(daemon.dir()).args(["--listen", "127.0.0.1:0"]).args(more);
    command.env_remove("PREFORKD_DIR");
    command
}

/// Another daemon on the same directory, and those of the first one's processes that live on; they end with us.
struct Next(std::process::Child, HashSet<processes::Process>);

impl Next {
    fn start(daemon: &Daemon, survivors: HashSet<processes::Process>) -> Next {
        Next(command(daemon, &["--adopt"]).spawn().unwrap(), survivors)
    }

    fn end(&mut self, daemon: &Daemon) {
        let mut client = daemon.client();
        client.ok("shutdown", json!({}));
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let below = processes::descendants(self.0.id());
        below.iter().chain(&self.1).filter(|p| p.alive()).for_each(|p| p.signal(Signal::SIGKILL));
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
