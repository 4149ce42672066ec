//! What a master, or a whole daemon, finds again.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{pid, reaches, read};
use crate::faults::masters::kill;
use crate::house::{Setup, eventually, processes};

#[test]
fn fault_01_a_killed_master_finds_its_workers_their_counts_and_their_logs() {
    let daemon = Setup::app(
        "python",
        &[("job.py", "import time\ndef work(params):\n    while True: time.sleep(60)\n")],
        json!({}),
    )
    .file("tick.sh", "n=0; while :; do echo tick $n; n=$((n+1)); sleep 0.02; done")
    .worker(json!({"name": "tick", "script": "tick.sh"}))
    .worker(json!({"name": "warm", "pool": "app", "entry": "job:work"}))
    .worker(json!({"name": "crash", "script": "/bin/false", "restart_delay": "1h"}))
    .start();
    let tick = reaches(&daemon, "tick", 0, "running");
    processes::send(pid(&tick), Signal::SIGKILL);
    let tick = eventually("another process", || {
        let worker = daemon.client().worker("tick", 0);
        (worker["restarts"] == 1 && worker["state"] == "running").then_some(worker)
    });
    let warm = reaches(&daemon, "warm", 0, "running");
    let crash = reaches(&daemon, "crash", 0, "backoff");
    for _ in 0..3 {
        kill(&daemon, daemon.master());
    }
    let mut client = daemon.client();
    for before in [&tick, &warm] {
        let after = client.worker(before["name"].as_str().unwrap(), 0);
        for key in ["id", "pid", "state", "restarts", "started_at", "last_exit"] {
            assert_eq!(after[key], before[key], "{key}: {after}");
        }
    }
    let after = client.worker("crash", 0);
    assert_eq!((&after["state"], &after["unstable"]), (&json!("backoff"), &crash["unstable"]));
    // Not a line is missing, and they go on.
    let lines = read(&daemon, "dir/logs/tick-out.log").lines().count();
    let log = eventually("the log goes on", || {
        let log = read(&daemon, "dir/logs/tick-out.log");
        (log.lines().count() > lines + 5).then_some(log)
    });
    let second: Vec<&str> = log.lines().skip(1).skip_while(|line| *line != "tick 0").collect();
    for (n, line) in second.iter().enumerate() {
        assert_eq!(*line, format!("tick {n}"));
    }
    // They are still ours: an exit is seen, a stop stops.
    processes::send(pid(&tick), Signal::SIGKILL);
    eventually("it is started again", || (client.worker("tick", 0)["restarts"] == 2).then_some(()));
    let stopped = client.ok("apps.stop", json!({"target": ["tick", "warm"]}));
    assert!(stopped["workers"].as_array().unwrap().iter().all(|w| w["state"] == "stopped"), "{stopped}");
}

#[test]
fn the_list_comes_back_with_the_daemon_and_what_was_stopped_stays_so() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    let apps = json!([
        {"name": "a", "script": "/bin/sleep", "args": ["1000"], "env": {"COLOUR": "red"}, "instances": 2},
        {"name": "b", "script": "/bin/sleep", "args": ["1000"]},
    ]);
    client.ok("apps.start", json!({"apps": apps, "folder": "/", "env": {"SECRET": "s3"}}));
    client.ok("apps.stop", json!({"target": "b"}));
    client.ok("apps.scale", json!({"name": "a", "to": "+1"}));
    let added = client.worker("b", 0)["added_at"].clone();
    let ids: Vec<Value> = (0..3).map(|n| client.worker("a", n)["id"].clone()).collect();
    drop(client);
    let daemon = daemon.crash().start();
    for n in 0..3 {
        assert_eq!(reaches(&daemon, "a", n, "running")["id"], ids[n as usize]);
    }
    let mut client = daemon.client();
    assert_eq!(client.worker("b", 0)["state"], "stopped");
    assert!(added.is_string() && client.worker("b", 0)["added_at"] == added, "{added}");
    let env = client.ok("apps.env", json!({"target": "a"}));
    assert_eq!((&env["env"]["COLOUR"], &env["env"]["SECRET"]), (&json!("red"), &json!("s3")));
    let told = client.ok("apps.describe", json!({"target": "a"}));
    assert!(!told.to_string().contains("red") && told["apps"][0]["env"] == json!(["COLOUR"]), "{told}");
    assert!(!daemon.log().contains("red"), "values are in no log");
}
