//! What a master, or a whole daemon, finds again.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{pid, reaches, read};
use crate::faults::masters::{hold, kill};
use crate::house::{Daemon, Setup, eventually, processes};

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
fn fault_02_a_worker_that_is_deleted_when_the_master_is_killed_is_not_left_running() {
    let deaf = json!({"name": "deaf", "script": "/bin/sh", "args": ["-c", "trap '' INT; echo deaf; while :; do sleep 0.1; done"],
                      "kill_timeout": "50m", "treekill": false, "ready": {"log": "deaf"}});
    let daemon = Setup::empty().worker(deaf).start();
    let process = pid(&reaches(&daemon, "deaf", 0, "ready"));
    daemon.client().send("apps.delete", json!({"target": "deaf"}));
    eventually("it is gone from the list", || {
        let list: Value = serde_json::from_str(&read(&daemon, "dir/apps.json")).ok()?;
        (list["workers"] == json!([])).then_some(())
    });
    assert!(processes::alive(process));
    kill(&daemon, daemon.master());
    eventually("its process has ended", || (!processes::alive(process)).then_some(()));
    // Nothing of it is left that would be in the way of another one.
    let again = json!([{"name": "deaf", "script": "/bin/sleep", "args": ["1000"]}]);
    daemon.client().ok("apps.apply", json!({"apps": again, "folder": "/"}));
    let list: Value = serde_json::from_str(&read(&daemon, "dir/apps.json")).unwrap();
    assert_eq!(list["workers"].as_array().map(Vec::len), Some(1), "it was on the disk when that was answered");
    reaches(&daemon, "deaf", 0, "running");
}

#[test]
fn fault_02_a_stop_that_is_under_way_when_the_master_is_killed_is_one_for_the_daemon_after_it() {
    let slow = json!({"name": "slow", "script": "/bin/sh",
                      "args": ["-c", "trap 'sleep 0.5; exit' INT; echo set; while :; do sleep 0.05; done"],
                      "ready": {"log": "set"}});
    let daemon = Setup::empty().worker(slow).start();
    reaches(&daemon, "slow", 0, "ready");
    let before = eventually("the list is on the disk", || std::fs::read(daemon.dir().join("apps.json")).ok());
    daemon.client().send("apps.stop", json!({"target": "slow"}));
    reaches(&daemon, "slow", 0, "stopping");
    let master = daemon.master();
    processes::send(master, Signal::SIGSTOP);
    // As if it had been killed before the list was on the disk, and after the stop was on record.
    std::fs::write(daemon.dir().join("apps.json"), before).unwrap();
    kill(&daemon, master);
    reaches(&daemon, "slow", 0, "stopped");
    let daemon = daemon.crash().start();
    assert_eq!(daemon.client().worker("slow", 0)["state"], "stopped");
}

#[test]
fn fault_02_a_master_that_is_killed_when_it_has_seen_a_worker_end_leaves_that_to_the_next() {
    let app = json!({"name": "one", "script": "/bin/sleep", "args": ["1000"], "pid_file": "one.pid"});
    let daemon = Setup::empty().worker(app).start();
    let process = pid(&reaches(&daemon, "one", 0, "running"));
    let master = daemon.master();
    // Held when the end is in the table, and before anything follows from it.
    let held = hold(master, "unlink,unlinkat", "enter");
    processes::send(process, Signal::SIGKILL);
    eventually("the keeper has reaped it", || {
        (!std::path::Path::new(&format!("/proc/{process}")).exists()).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    held.kill(master);
    let worker = reaches(&daemon, "one", 0, "running");
    assert_eq!((&worker["restarts"], &worker["last_exit"]["signal"]), (&json!(1), &json!(9)), "{worker}");
    assert_eq!(worker["last_exit"]["pid"], process);
    let ended = daemon.client().ok("runs", json!({}));
    assert_eq!(ended["runs"], json!([]), "a worker's process is no run");
}

const JOB: &str = "import os, time\n\
                   def work(params):\n    open('ran', 'a').write(f'{os.getpid()}\\n')\n    time.sleep(1000)\n";

/// A daemon whose master is killed while a worker's fork lies with its zygote, which is stopped; and that zygote.
fn killed_while_it_forks() -> (Daemon, u32) {
    let daemon = Setup::app("python", &[("job.py", JOB)], json!({"preload": "app/job.py"})).start();
    let zygote = daemon.zygote();
    processes::send(zygote, Signal::SIGSTOP);
    let warm = json!([{"name": "warm", "pool": "app", "entry": "job:work"}]);
    daemon.client().send("apps.start", json!({"apps": warm, "folder": "/"}));
    eventually("the list is on the disk", || read(&daemon, "dir/apps.json").contains("warm").then_some(()));
    kill(&daemon, daemon.master());
    (daemon, zygote)
}

/// That worker's process, and nobody else, is all that ever ran.
fn ran_once(daemon: &Daemon) {
    let worker = reaches(daemon, "warm", 0, "running");
    // A second one would have come by the time in which a third has come and gone.
    let run = daemon.client().ok("run", json!({"entry": "job:work", "id": "other"}));
    eventually("it has begun", || read(daemon, "app/ran").contains(&format!("{}\n", run["pid"])).then_some(()));
    daemon.client().ok("kill", json!({"id": "other"}));
    daemon.client().wait("other");
    assert_eq!(read(daemon, "app/ran"), format!("{}\n{}\n", worker["pid"], run["pid"]));
}

#[test]
fn fault_02_a_fork_that_is_under_way_when_the_master_is_killed_is_the_worker_s() {
    let (daemon, zygote) = killed_while_it_forks();
    processes::send(zygote, Signal::SIGCONT);
    ran_once(&daemon);
}

#[test]
fn fault_02_a_fork_that_is_lost_with_its_master_and_its_zygote_is_asked_for_again() {
    let (daemon, zygote) = killed_while_it_forks();
    processes::send(zygote, Signal::SIGKILL);
    ran_once(&daemon);
}

#[test]
fn fault_04_a_zygote_that_wakes_up_when_its_worker_has_been_forked_elsewhere_runs_nothing() {
    let (daemon, zygote) = killed_while_it_forks();
    reaches(&daemon, "warm", 0, "running");
    processes::send(zygote, Signal::SIGCONT);
    eventually("it has done what it was told, and left", || (!processes::alive(zygote)).then_some(()));
    ran_once(&daemon);
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

#[test]
fn pools_whose_files_are_not_there_for_a_while_stay_in_the_list() {
    let daemon = Setup::empty().file("there.py", JOB).file("late.py", JOB).start();
    let pool =
        |name: &str| json!({"name": name, "runtime": "python", "preload": format!("{name}.py"), "output": "none"});
    let app = |name: &str| json!({"name": format!("{name}-app"), "pool": name, "entry": format!("{name}:work"), "restart_delay": 100});
    let both =
        json!({"pools": [pool("there"), pool("late")], "apps": [app("there"), app("late")], "folder": daemon.path()});
    daemon.client().ok("apps.start", both);
    for name in ["there-app", "late-app"] {
        reaches(&daemon, name, 0, "running");
    }
    let hidden = daemon.path().join("hidden.py");
    std::fs::rename(daemon.path().join("late.py"), &hidden).unwrap();
    kill(&daemon, daemon.master());
    eventually("the other pool is ready", || (daemon.client().pool("there")["state"] == "ready").then_some(()));
    std::fs::rename(&hidden, daemon.path().join("late.py")).unwrap();
    daemon.client().ok("reload", json!({"name": "late"}));
    for name in ["there-app", "late-app"] {
        reaches(&daemon, name, 0, "running");
    }
}
