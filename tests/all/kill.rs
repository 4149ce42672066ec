//! `kill`: signals, the grace time, the group.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Setup, eventually, processes};

/// A job of two processes in Python: who ignores TERM is said by `ignore`. Its result never comes.
const STUBBORN: &str = r#"
import os, signal, subprocess, time
def tree(params):
    for s in params.get("ignore", []):
        signal.signal(getattr(signal, s), signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "300"])
    with open(params["file"] + ".new", "w") as f:
        f.write(str(child.pid))
    os.rename(params["file"] + ".new", params["file"])
    time.sleep(300)
def handled(params):
    def leave(number, frame):
        os._exit(40 + number)
    signal.signal(signal.SIGTERM, leave)
    open(params["file"], "w").write("ready")
    time.sleep(300)
"#;

fn stubborn() -> Setup {
    Setup::app("python", &[("job.py", STUBBORN)], json!({"preload": "app/job.py"}))
}

/// Starts `tree`; its child's pid.
fn tree(client: &mut Client, folder: &std::path::Path, id: &str, ignore: &Value) -> u32 {
    let file = folder.join(id);
    client.start("job:tree", json!({"ignore": ignore, "file": file}), id);
    eventually("the job has its child", || std::fs::read_to_string(&file).ok()?.parse().ok())
}

#[test]
fn fault_21_a_run_that_ignores_term_is_killed_with_its_whole_tree() {
    let daemon = stubborn().start();
    let mut client = daemon.client();
    let child = tree(&mut client, daemon.path(), "deaf", &json!(["SIGTERM"]));
    let started = Instant::now();
    let status = client.ok("kill", json!({"id": "deaf", "grace": "400ms"}));
    assert_eq!(status["state"], "running");
    let ended = client.wait("deaf");
    let took = started.elapsed();
    assert_eq!((&ended["signal"], &ended["signal_name"]), (&json!(9), &json!("SIGKILL")));
    assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(2500), "{took:?}");
    eventually("its child is gone", || (!processes::alive(child)).then_some(()));
}

#[test]
fn fault_21_a_tree_goes_although_its_head_left_at_the_first_signal() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    let file = daemon.path().join("pid");
    let script = format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done", file.display());
    client.start("shell", json!({"script": script}), "head");
    let child: u32 = eventually("the shell runs", || std::fs::read_to_string(&file).ok()?.trim().parse().ok());
    client.ok("kill", json!({"id": "head", "grace": "300ms"}));
    assert_eq!(client.wait("head")["signal"], 15);
    eventually("the rest of its group is gone", || (!processes::alive(child)).then_some(()));
}

#[test]
fn fault_21_a_stopped_run_is_continued_and_ends() {
    let daemon = stubborn().start();
    let mut client = daemon.client();
    let pid = client.start("job:handled", json!({"file": daemon.path().join("h")}), "stopped")["pid"].as_u64().unwrap();
    eventually("the handler is set", || daemon.path().join("h").exists().then_some(()));
    processes::send(pid as u32, Signal::SIGSTOP);
    eventually("it is stopped", || (processes::state(pid as u32) == Some('T')).then_some(()));
    client.ok("kill", json!({"id": "stopped", "grace": "10s"}));
    let ended = client.wait("stopped");
    assert_eq!((&ended["exit_code"], &ended["signal"]), (&json!(55), &Value::Null), "its own handler had the say");
}

#[test]
fn without_a_grace_the_pools_kill_timeout_follows_term_and_nothing_follows_others() {
    let daemon = Setup::app("python", &[("job.py", STUBBORN)], json!({"kill_timeout": "300ms"})).start();
    let mut client = daemon.client();
    tree(&mut client, daemon.path(), "one", &json!(["SIGTERM"]));
    client.ok("kill", json!({"id": "one"}));
    assert_eq!(client.wait("one")["signal"], 9);
    tree(&mut client, daemon.path(), "two", &json!(["SIGHUP"]));
    client.ok("kill", json!({"id": "two", "signal": "HUP"}));
    let later = client.ok("wait", json!({"id": "two", "timeout": 900}));
    assert_eq!(later["state"], "running");
    client.ok("kill", json!({"id": "two", "signal": 9}));
    assert_eq!(client.wait("two")["signal"], 9);
}

#[test]
fn a_queued_run_that_is_killed_never_starts() {
    let daemon = Setup::native(json!({"max_running": 1})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "first");
    let mark = daemon.path().join("mark");
    let params = json!({"script": format!("touch {}", mark.display())});
    let call = client.send("run", json!({"entry": "shell", "params": params, "id": "queued", "wait": true}));
    let status = client.ok("kill", json!({"id": "queued"}));
    assert_eq!((&status["state"], &status["error"]["class"]), (&json!("failed"), &json!("killed")));
    let refusal = client.receive(call).unwrap_err();
    assert_eq!((refusal.code, refusal.kind.as_str()), (-32007, "start_failed"));
    client.ok("kill", json!({"id": "first", "signal": "KILL"}));
    client.wait("first");
    assert_eq!(client.run("noop", json!(null))["exit_code"], 0);
    assert!(!mark.exists());
    assert_eq!(client.refused("kill", json!({"id": "queued"})).kind, "already_ended");
}

#[test]
fn what_is_no_signal_or_no_run_is_refused() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "k");
    for signal in [json!(0), json!(65), json!(32), json!("NOPE"), json!(""), json!(-9), json!(1.5)] {
        assert_eq!(client.refused("kill", json!({"id": "k", "signal": signal})).code, -32602, "{signal}");
    }
    assert_eq!(client.refused("kill", json!({"id": "nobody"})).kind, "run_not_found");
    assert_eq!(client.ok("kill", json!({"id": "k", "signal": "RTMIN+3"}))["id"], "k");
    let ended = client.wait("k");
    assert_eq!((&ended["signal"], &ended["signal_name"]), (&json!(37), &json!("SIGRTMIN+3")));
}

#[test]
fn a_signal_reaches_the_group_and_no_other_run() {
    let daemon = stubborn().start();
    let mut client = daemon.client();
    let mine = tree(&mut client, daemon.path(), "mine", &json!([]));
    let other = tree(&mut client, daemon.path(), "other", &json!([]));
    client.ok("kill", json!({"id": "mine"}));
    assert_eq!(client.wait("mine")["signal"], 15);
    eventually("its child is gone", || (!processes::alive(mine)).then_some(()));
    assert!(processes::alive(other));
    assert_eq!(client.ok("status", json!({"id": "other"}))["state"], "running");
    client.ok("kill", json!({"id": "other"}));
    client.wait("other");
}
