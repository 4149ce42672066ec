//! Masters that are killed.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, processes, within};

/// Kills this master and waits until another one answers.
pub fn kill(daemon: &Daemon, master: u32) {
    processes::send(master, Signal::SIGKILL);
    eventually("another master answers", || {
        let mut client = Client::unix(&daemon.socket()).ok()?;
        client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"info\"}\n").ok()?;
        let line = client.try_line().ok()??;
        let info: Value = serde_json::from_str(&line).ok()?;
        (info["result"]["master_pid"] != json!(master)).then_some(())
    });
}

/// A connection to a master that answers.
pub fn answering(daemon: &Daemon) -> Client {
    eventually("another master answers", || {
        let mut client = Client::unix(&daemon.socket()).ok()?;
        client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").ok()?;
        client.try_line().ok()??;
        Some(client)
    })
}

/// A master that is stopped as soon as it makes one of these system calls, on its way in or out.
pub struct Held(Child);

pub fn hold(master: u32, calls: &str, at: &str) -> Held {
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:delay_{at}=60s")]);
    let held = Held(command.args(["-p", &master.to_string()]).stderr(Stdio::null()).spawn().unwrap());
    eventually("it is traced", || processes::status_number(master, "TracerPid").filter(|pid| *pid != 0));
    held
}

impl Held {
    /// Kills that master where it is.
    pub fn kill(self, master: u32) {
        processes::send(master, Signal::SIGKILL);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It lets go of the master only then.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn fault_01_a_killed_master_loses_no_run() {
    let daemon = Setup::native(json!({"idle": 2})).start();
    let mut client = daemon.client();
    let alive = client.start("sleep", json!({"ms": 2500}), "alive");
    client.ok("run", json!({"entry": "exit", "params": {"code": 5}, "id": "ended", "wait": true}));
    for round in 0..3 {
        let master = daemon.master();
        kill(&daemon, master);
        let mut client = daemon.client();
        assert_eq!(client.ok("status", json!({"id": "ended"}))["exit_code"], 5);
        assert_eq!(client.ok("status", json!({"id": "alive"}))["pid"], alive["pid"]);
        let code = client.ok("run", json!({"entry": "exit", "params": {"code": round}, "wait": true}));
        assert_eq!(code["exit_code"], round);
    }
    let ended = daemon.client().wait("alive");
    assert_eq!((&ended["exit_code"], &ended["pid"]), (&json!(0), &alive["pid"]));
}

#[test]
fn fault_02_masters_killed_under_load_start_every_run_exactly_once() {
    let daemon = Setup::native(json!({"idle": 2, "max_running": 8})).start();
    let ran = daemon.path().join("ran");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|t| {
                scope.spawn({
                    let (daemon, ran) = (&daemon, &ran);
                    move || (0..60).map(|n| stubborn_run(daemon, ran, &format!("{t}-{n}"))).collect::<Vec<Value>>()
                })
            })
            .collect();
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(150));
            kill(&daemon, daemon.master());
        }
        let statuses: Vec<Value> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        assert_eq!(statuses.len(), 240);
        let mut times: HashMap<String, u32> = HashMap::new();
        for line in std::fs::read_to_string(&ran).unwrap().lines() {
            *times.entry(line.to_owned()).or_default() += 1;
        }
        for status in &statuses {
            let id = status["id"].as_str().unwrap();
            match status["state"].as_str().unwrap() {
                "exited" => assert_eq!((&status["exit_code"], times.get(id)), (&json!(0), Some(&1)), "{status}"),
                // It says that it cannot know, or that it did not run: then it did not run twice either.
                "unknown" => assert!(times.get(id) <= Some(&1) && status["error"]["message"].is_string(), "{status}"),
                "failed" => assert_eq!(times.get(id), None, "{status}"),
                other => panic!("{other}: {status}"),
            }
        }
        let exited = statuses.iter().filter(|s| s["state"] == "exited").count();
        assert!(exited >= 230, "nearly all are known exactly: {exited}");
    });
}

#[test]
fn fault_02_a_master_that_is_killed_when_it_has_read_that_a_run_started_leaves_it_to_the_next() {
    let daemon = Setup::native(json!({"idle": 0})).start();
    let mut client = daemon.client();
    let master = daemon.master();
    // From the next message on that it reads, it is held before it can do anything with it.
    let held = hold(master, "recvmmsg", "exit");
    client.send("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "id": "held"}));
    let title = "preforkd: fixture sleep";
    let child = eventually("it runs", || {
        processes::descendants(daemon.pid()).into_iter().find(|p| processes::title(p.pid) == title)
    });
    eventually("it has said so", || (processes::state(child.pid) == Some('S')).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    held.kill(master);
    let mut client = daemon.client();
    let status = eventually("it is known to run", || {
        Some(client.ok("status", json!({"id": "held"}))).filter(|status| status["state"] == "running")
    });
    assert_eq!(status["pid"], child.pid);
    client.ok("kill", json!({"id": "held"}));
    assert_eq!(client.wait("held")["signal"], 15);
}

#[test]
fn masters_have_room_for_descriptors_before_they_need_it() {
    let daemon = Setup::native(json!({"idle": 2})).start();
    for _ in 0..2 {
        // Both the first one and one that follows. A table that grows later holds everybody up.
        let size = processes::status_number(daemon.master(), "FDSize").unwrap();
        assert!(size >= 4096, "{size}");
        kill(&daemon, daemon.master());
    }
}

/// As a client should: the same request again until it is answered.
fn stubborn_run(daemon: &Daemon, ran: &std::path::Path, id: &str) -> Value {
    let script = format!("echo {id} >> {}", ran.display());
    let run = json!({"jsonrpc": "2.0", "id": 1, "method": "run",
                     "params": {"entry": "shell", "params": {"script": script}, "id": id, "wait": true}});
    // One of whom nobody knows whether it started is given up after the time that a preload may take: 30 s.
    within(Duration::from_secs(40), "the run is answered", || {
        let mut client = Client::unix(&daemon.socket()).ok()?;
        client.patience(Duration::from_secs(40)).ok()?;
        client.send_raw(format!("{run}\n").as_bytes()).ok()?;
        let line = client.try_line().ok()??;
        let answer: Value = serde_json::from_str(&line).unwrap();
        if let Some(error) = answer.get("error") {
            // Not taken: to be asked again. Taken and failed: its status says so next time.
            assert!(
                ["pool_unavailable", "start_failed", "shutting_down"]
                    .contains(&error["data"]["kind"].as_str().unwrap()),
                "{answer}"
            );
            return None;
        }
        Some(answer["result"].clone())
    })
}
