//! `timeout` and `kill_timeout`, of the pool and of a run.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{Setup, eventually, processes};

const JOB: &str = r#"
import os, signal, subprocess, time
def deaf(params):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "300"])
    open(params["file"], "w").write(f"{child.pid}\n")
    time.sleep(300)
def polite(params):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
    time.sleep(300)
"#;

#[test]
fn past_its_timeout_a_run_gets_term_then_kill_with_its_group() {
    let daemon = Setup::app("python", &[("job.py", JOB)], json!({"preload": "app/job.py"})).start();
    let mut client = daemon.client();
    let file = daemon.path().join("pid");
    let started = Instant::now();
    let ended = client.ok(
        "run",
        json!({"entry": "job:deaf", "params": {"file": file}, "timeout": "500ms", "kill_timeout": 300, "wait": true}),
    );
    let took = started.elapsed();
    assert_eq!((&ended["signal"], &ended["exit_code"], &ended["timed_out"]), (&json!(9), &Value::Null, &json!(true)));
    assert!(took >= Duration::from_millis(800) && took < Duration::from_millis(3000), "{took:?}");
    let child: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    eventually("its child is gone", || (!processes::alive(child)).then_some(()));

    let polite = client.ok("run", json!({"entry": "job:polite", "timeout": 500, "wait": true}));
    assert_eq!((&polite["exit_code"], &polite["timed_out"]), (&json!(3), &json!(true)));
}

#[test]
fn the_pools_timeout_holds_and_a_runs_own_replaces_it() {
    let daemon = Setup::native(json!({"timeout": "300ms"})).start();
    let mut client = daemon.client();
    let ended = client.run("sleep", json!({"ms": 60_000}));
    assert_eq!((&ended["signal"], &ended["timed_out"]), (&json!(15), &json!(true)));
    let longer = client.ok("run", json!({"entry": "sleep", "params": {"ms": 700}, "timeout": "1h", "wait": true}));
    assert_eq!((&longer["exit_code"], &longer["timed_out"]), (&json!(0), &json!(false)));
}

#[test]
fn the_time_in_the_queue_does_not_count() {
    let daemon = Setup::native(json!({"max_running": 1})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 900}), "first");
    let second = client
        .ok("run", json!({"entry": "sleep", "params": {"ms": 200}, "timeout": 600, "id": "second", "wait": true}));
    assert_eq!((&second["exit_code"], &second["timed_out"]), (&json!(0), &json!(false)));
}

#[test]
fn two_hundred_timeouts_at_once() {
    let daemon = Setup::native(json!({"max_running": 300})).start();
    let mut client = daemon.client();
    let calls: Vec<u64> = (0..200)
        .map(|_| client.send("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "timeout": 1000, "wait": true})))
        .collect();
    for call in calls {
        let ended = client.receive(call).unwrap();
        assert_eq!((&ended["signal"], &ended["timed_out"]), (&json!(15), &json!(true)));
    }
}
