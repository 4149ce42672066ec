//! Keeping up: crashes, limits, stop signals, whole trees.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{pid, reaches, read};
use crate::house::{Setup, eventually, processes, within};

#[test]
fn a_killed_worker_is_there_again_and_its_end_is_told() {
    let daemon = Setup::empty().worker(json!({"name": "w", "script": "/bin/sleep", "args": "1000"})).start();
    let first = reaches(&daemon, "w", 0, "running");
    assert_eq!(first["last_exit"], Value::Null);
    processes::send(pid(&first), Signal::SIGSEGV);
    let second = eventually("another process", || {
        let worker = daemon.client().worker("w", 0);
        (worker["pid"] != first["pid"] && worker["state"] == "running").then_some(worker)
    });
    assert_eq!((&second["restarts"], &second["asked_restarts"]), (&json!(1), &json!(0)));
    let exit = &second["last_exit"];
    assert_eq!(
        (&exit["signal_name"], &exit["exit_code"], &exit["pid"]),
        (&json!("SIGSEGV"), &Value::Null, &first["pid"])
    );
}

#[test]
fn fault_21_a_worker_that_is_deaf_is_killed_and_the_log_says_why() {
    let deaf = json!({"name": "deaf", "script": "/bin/sh", "args": ["-c", "trap '' INT; echo deaf; while :; do sleep 0.1; done"],
                      "kill_timeout": "300ms", "ready": {"log": "deaf"}});
    let daemon = Setup::empty().worker(deaf).start();
    reaches(&daemon, "deaf", 0, "ready");
    let stopped = daemon.client().ok("apps.stop", json!({"target": "deaf"}));
    assert_eq!(stopped["workers"][0]["last_exit"]["signal_name"], "SIGKILL", "{stopped}");
    let log = daemon.log();
    let told = log.lines().find(|line| line.contains("has not ended in its kill_timeout; killing it"));
    assert!(told.is_some_and(|line| line.contains("ms: 300") && line.contains("app: deaf")), "{log}");
}

#[test]
fn fault_25_a_crash_loop_ends_at_its_limit_with_the_reason_and_what_it_said() {
    let daemon = Setup::empty()
        .file("crash.sh", "echo going down >&2; exit 3")
        .worker(json!({"name": "crash", "script": "crash.sh", "max_restarts": 5}))
        .start();
    let worker = reaches(&daemon, "crash", 0, "fatal");
    assert_eq!((&worker["unstable"], &worker["restarts"], &worker["pid"]), (&json!(5), &json!(4), &Value::Null));
    assert!(worker["reason"].as_str().unwrap().contains("exit code 3"), "{worker}");
    assert_eq!(worker["stderr_tail"].as_array().unwrap().last(), Some(&json!("going down")));
    // It costs nothing any more, and a restart begins anew.
    let again = daemon.client().ok("apps.restart", json!({"target": "crash"}));
    assert_eq!(again["workers"][0]["asked_restarts"], 1);
    reaches(&daemon, "crash", 0, "fatal");
}

#[test]
fn fault_25_a_thousand_apps_that_crash_at_once_leave_the_daemon_responsive() {
    let daemon = Setup::empty().start();
    let apps: Vec<Value> =
        (0..1000).map(|n| json!({"name": format!("c{n}"), "script": "/bin/false", "max_restarts": 3})).collect();
    let mut client = daemon.client();
    client.send("apps.start", json!({"apps": apps, "folder": "/", "wait": false}));
    let mut slowest = Duration::ZERO;
    let mut other = daemon.client();
    for _ in 0..50 {
        let asked = Instant::now();
        other.ok("ping", json!({}));
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(slowest < Duration::from_secs(2), "an answer took {slowest:?}");
    within(Duration::from_secs(90), "all are given up", || {
        let workers = other.ok("apps.list", json!({}));
        let left = workers["workers"].as_array().unwrap().iter().filter(|w| w["state"] != "fatal").count();
        std::thread::sleep(Duration::from_millis(200));
        (left == 0).then_some(())
    });
    let before = processes::cpu_ms(daemon.master()) + processes::cpu_ms(daemon.pid());
    std::thread::sleep(Duration::from_secs(1));
    let after = processes::cpu_ms(daemon.master()) + processes::cpu_ms(daemon.pid());
    assert!(after - before <= 30, "{} ms of CPU in a second of nothing", after - before);
}

#[test]
fn stopping_is_by_the_stop_signal_and_then_by_force() {
    let polite = "import signal, sys, time\nsignal.signal(15, lambda *a: (print('bye', flush=True), sys.exit(0)))\nprint('up', flush=True)\nwhile True: time.sleep(60)\n";
    let deaf =
        "import signal, time\nsignal.signal(2, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: time.sleep(60)\n";
    let daemon = Setup::empty()
        .file("polite.py", polite)
        .file("deaf.py", deaf)
        .worker(json!({"name": "polite", "script": "polite.py", "stop_signal": "SIGTERM", "ready": {"log": "up"}}))
        .worker(json!({"name": "deaf", "script": "deaf.py", "kill_timeout": "300ms", "ready": {"log": "up"}}))
        .start();
    reaches(&daemon, "polite", 0, "ready");
    reaches(&daemon, "deaf", 0, "ready");
    let mut client = daemon.client();
    let stopped = client.ok("apps.stop", json!({"target": "all"}));
    let by_name = |name: &str| stopped["workers"].as_array().unwrap().iter().find(|w| w["name"] == name).unwrap();
    assert_eq!(by_name("polite")["last_exit"]["exit_code"], 0);
    assert_eq!(by_name("deaf")["last_exit"]["signal_name"], "SIGKILL");
    assert!(read(&daemon, "dir/logs/polite-out.log").ends_with("bye\n"));
    // Stopped is stopped.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.worker("polite", 0)["state"], "stopped");
    assert_eq!(client.ok("apps.start", json!({"target": "polite"}))["workers"][0]["state"], "ready");
}

#[test]
fn stop_and_delete_work_at_once_while_it_waits_to_be_tried_again() {
    let crash = |name: &str| json!({"name": name, "script": "/bin/false", "restart_delay": "1h"});
    let daemon = Setup::empty().worker(crash("a")).worker(crash("b")).start();
    let waiting = reaches(&daemon, "a", 0, "backoff");
    assert!(waiting["next_try_at"].is_string(), "{waiting}");
    reaches(&daemon, "b", 0, "backoff");
    let mut client = daemon.client();
    assert_eq!(client.ok("apps.stop", json!({"target": "a"}))["workers"][0]["state"], "stopped");
    assert_eq!(client.ok("apps.delete", json!({"target": "b"}))["workers"][0]["name"], "b");
    assert_eq!(client.refused("apps.stop", json!({"target": "b"})).kind, "app_not_found");
}

#[test]
fn exits_that_are_meant_are_left_alone() {
    let daemon = Setup::empty()
        .worker(json!({"name": "once", "script": "/bin/true", "autorestart": false}))
        .worker(json!({"name": "done", "script": "sh -c 'exit 7'", "stop_exit_codes": [7]}))
        .start();
    assert_eq!(reaches(&daemon, "once", 0, "exited")["last_exit"]["exit_code"], 0);
    let done = reaches(&daemon, "done", 0, "exited");
    assert_eq!((&done["restarts"], &done["reason"]), (&json!(0), &json!("exit code 7")));
}

#[test]
fn too_much_memory_ends_in_a_restart_that_says_so() {
    let greedy = "import os, time\nprint(os.getpid(), flush=True)\nif not os.path.exists('second'):\n    open('second', 'w')\n    hoard = b'x' * (80 << 20)\nwhile True: time.sleep(60)\n";
    let daemon = Setup::empty()
        .file("greedy.py", greedy)
        .worker(json!({"name": "greedy", "script": "greedy.py", "max_memory_restart": "50M"}))
        .start();
    let worker = eventually("a restart for its memory", || {
        let worker = daemon.client().worker("greedy", 0);
        (worker["restarts"] == 1 && worker["state"] == "running").then_some(worker)
    });
    assert_eq!(worker["unstable"], 0, "it was no crash: {worker}");
    assert!(daemon.log().contains("max_memory_restart"));
}

#[test]
fn changed_files_restart_an_app_and_load_a_pool_anew() {
    let daemon = Setup::app(
        "python",
        &[("job.py", "def version(params):\n    return 1\n")],
        json!({"watch": true, "watch_delay": "100ms", "preload": "app/job.py"}),
    )
    .file("w.sh", "exec sleep 1000")
    .worker(json!({"name": "w", "script": "w.sh", "watch": ["w.sh"], "watch_delay": "100ms"}))
    .start();
    let before = reaches(&daemon, "w", 0, "running");
    std::fs::write(daemon.path().join("w.sh"), "exec sleep 1001").unwrap();
    eventually("another process of the new code", || {
        let worker = daemon.client().worker("w", 0);
        (worker["asked_restarts"] == 1 && worker["state"] == "running" && worker["pid"] != before["pid"]).then_some(())
    });
    let mut client = daemon.client();
    assert_eq!(client.ok("run", json!({"pool": "app", "entry": "job:version", "wait": true}))["result"], 1);
    // Not as long as before: Python takes what it has compiled if the file's length and second are the same.
    std::fs::write(daemon.path().join("app/job.py"), "def version(params):\n    return 1 + 1\n").unwrap();
    eventually("a run of the new code", || {
        let run = client.ok("run", json!({"pool": "app", "entry": "job:version", "wait": true}));
        (run["result"] == 2).then_some(())
    });
}
