//! Reloads: one after the other, and never a moment without.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::readiness::{SERVER, free_port, get};
use super::{pid, reaches, read};
use crate::house::{Daemon, Setup, eventually, processes};

/// Requests that are answered in all while the app is reloaded again and again.
const REQUESTS: u64 = 100_000;
const RELOADS: u64 = 20;

#[test]
fn a_hundred_thousand_requests_across_twenty_reloads_and_none_refused_or_cut() {
    let port = free_port();
    let daemon = Setup::empty()
        .file("server.py", SERVER)
        .worker(json!({"name": "web", "script": "server.py", "instances": 2, "kill_timeout": "10s", "listen": format!("tcp://127.0.0.1:{port}"), "ready": {"notify": true}}))
        .start();
    reaches(&daemon, "web", 0, "ready");
    reaches(&daemon, "web", 1, "ready");
    let (answered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Whatever goes wrong with a request panics, and so fails the test.
                while !over.load(Ordering::Relaxed) || answered.load(Ordering::Relaxed) < REQUESTS {
                    assert!(get(port).parse::<u32>().is_ok());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut client = daemon.client();
        for round in 1..=RELOADS {
            while answered.load(Ordering::Relaxed) < REQUESTS / RELOADS * (round - 1) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let before = [pid(&client.worker("web", 0)), pid(&client.worker("web", 1))];
            let reloaded = client.ok("apps.reload", json!({"target": "web"}));
            for (worker, before) in reloaded["workers"].as_array().unwrap().iter().zip(before) {
                assert_eq!((&worker["state"], &worker["asked_restarts"]), (&json!("ready"), &json!(round)));
                assert_ne!(pid(worker), before);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) >= REQUESTS);
}

#[test]
fn a_reload_that_fails_leaves_the_old_ones_and_says_why() {
    let script = |ok: &str| format!("[ {ok} = yes ] && echo up; sleep 1000");
    let daemon = Setup::empty()
        .file("w.sh", &script("yes"))
        .worker(
            json!({"name": "w", "script": "w.sh", "instances": 2, "ready": {"log": "^up$"}, "listen_timeout": "1s"}),
        )
        .start();
    let before = [reaches(&daemon, "w", 0, "ready"), reaches(&daemon, "w", 1, "ready")].map(|w| pid(&w));
    std::fs::write(daemon.path().join("w.sh"), script("no")).unwrap();
    let mut client = daemon.client();
    let refused = client.refused("apps.reload", json!({"target": "w"}));
    assert_eq!(refused.kind, "reload_failed");
    assert!(refused.message.contains("listen_timeout") && refused.message.contains("stays"), "{}", refused.message);
    for (instance, pid) in (0..).zip(before) {
        let worker = client.worker("w", instance);
        assert_eq!((&worker["pid"], &worker["state"]), (&json!(pid), &json!("ready")), "{worker}");
        assert!(processes::alive(pid));
    }
    // A successor that dies is a failure at once.
    std::fs::write(daemon.path().join("w.sh"), "exit 4").unwrap();
    let refused = client.refused("apps.reload", json!({"target": "w"}));
    assert!(refused.message.contains("exit code 4"), "{}", refused.message);
    std::fs::write(daemon.path().join("w.sh"), script("yes")).unwrap();
    client.ok("apps.reload", json!({"target": "w"}));
}

#[test]
fn a_pool_s_workers_are_forked_warm_and_reload_loads_the_new_code() {
    let job = |n: u32| {
        format!(
            "import os, time\nTITLE = {n}\ndef work(params):\n    open(params['file'], 'a').write(f'{{TITLE}} {{params[\"n\"]}} {{os.environ[\"NODE_APP_INSTANCE\"]}}\\n')\n    while True: time.sleep(60)\n"
        )
    };
    let daemon =
        Setup::app("python", &[("job.py", &job(1))], json!({"max_running": 1, "preload": "app/job.py"})).start();
    let file = daemon.path().join("said");
    let each: Vec<Value> = (0..3).map(|n| json!({"file": file, "n": n})).collect();
    let mut client = daemon.client();
    let app = json!({"name": "m", "pool": "app", "entry": "job:work", "params_each": each});
    let started = client.ok("apps.start", json!({"apps": [app], "folder": "/"}));
    assert_eq!(started["workers"].as_array().unwrap().len(), 3, "they do not count in max_running: {started}");
    let said = || {
        let mut lines: Vec<String> =
            std::fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    eventually("all three work", || (said() == ["1 0 0", "1 1 1", "1 2 2"]).then_some(()));
    assert_eq!(client.worker("m", 2)["generation"], 1);
    // Of another size: by that and by the second of its change Python knows that what it has compiled is of an older file.
    std::fs::write(daemon.path().join("app/job.py"), job(20)).unwrap();
    let reloaded = client.ok("apps.reload", json!({"target": "m"}));
    assert_eq!(reloaded["workers"][2]["generation"], 2, "{reloaded}");
    eventually("the new code works", || said().contains(&"20 2 2".to_owned()).then_some(()));
}

/// A worker whose processes write their pids down, and are ready once they may be.
const SLOW: &str = "echo $$ >> pids; until [ -e go ]; do sleep 0.02; done; echo up; while :; do sleep 0.05; done";

fn slow() -> Setup {
    Setup::empty()
        .file("w.sh", SLOW)
        .file("go", "")
        .worker(json!({"name": "w", "script": "w.sh", "ready": {"log": "^up$"}, "listen_timeout": "30s"}))
}

fn written(daemon: &Daemon) -> Vec<u32> {
    read(daemon, "pids").lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn one_that_dies_while_it_is_being_replaced_has_one_successor() {
    let daemon = slow().start();
    let before = pid(&reaches(&daemon, "w", 0, "ready"));
    std::fs::remove_file(daemon.path().join("go")).unwrap();
    let mut client = daemon.client();
    client.send("apps.reload", json!({"target": "w"}));
    let next = eventually("its successor runs", || written(&daemon).get(1).copied());
    processes::send(before, Signal::SIGKILL);
    eventually("its end is seen", || (daemon.client().worker("w", 0)["restarts"] == 1).then_some(()));
    // A second one would be there within milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(written(&daemon), [before, next]);
    std::fs::write(daemon.path().join("go"), "").unwrap();
    assert_eq!(pid(&reaches(&daemon, "w", 0, "ready")), next);
}

#[test]
fn a_stop_while_the_successor_is_on_its_way_holds() {
    let daemon = slow().start();
    let before = pid(&reaches(&daemon, "w", 0, "ready"));
    std::fs::remove_file(daemon.path().join("go")).unwrap();
    let mut client = daemon.client();
    client.send("apps.reload", json!({"target": "w"}));
    let next = eventually("its successor runs", || written(&daemon).get(1).copied());
    processes::send(before, Signal::SIGKILL);
    eventually("its end is seen", || (daemon.client().worker("w", 0)["restarts"] == 1).then_some(()));
    daemon.client().ok("apps.stop", json!({"target": "w"}));
    std::fs::write(daemon.path().join("go"), "").unwrap();
    eventually("the successor ends", || (!processes::alive(next)).then_some(()));
    assert_eq!(daemon.client().worker("w", 0)["state"], "stopped");
}

#[test]
fn a_stopped_app_that_is_reloaded_is_wanted_again_for_good() {
    let daemon = Setup::empty().worker(json!({"name": "off", "script": "/bin/sleep", "args": ["1000"]})).start();
    let mut client = daemon.client();
    client.ok("apps.stop", json!({"target": "off"}));
    client.ok("apps.reload", json!({"target": "off"}));
    reaches(&daemon, "off", 0, "running");
    drop(client);
    let daemon = daemon.crash().start();
    reaches(&daemon, "off", 0, "running");
}

#[test]
fn a_successor_that_is_being_forked_when_its_app_is_stopped_ends_as_soon_as_it_is_there() {
    let job = "import os, time\nos.register_at_fork(before=lambda: time.sleep(0.7))\n\
               def work(params):\n    time.sleep(1000)\n";
    let daemon = Setup::app("python", &[("job.py", job)], json!({"preload": "app/job.py"}))
        .worker(json!({"name": "warm", "pool": "app", "entry": "job:work"}))
        .start();
    let first = pid(&reaches(&daemon, "warm", 0, "running"));
    let mut client = daemon.client();
    let mut reloading = daemon.client();
    let reload = reloading.send("apps.reload", json!({"target": "warm"}));
    eventually("there is another generation", || (client.pool("app")["generation"] == 2).then_some(()));
    client.ok("apps.stop", json!({"target": "warm"}));
    assert_eq!(reloading.receive(reload).unwrap_err().kind, "reload_failed");
    // Its zygote obeys one order after the other: by now it has forked the successor.
    let other = client.ok("run", json!({"entry": "job:work", "id": "other"}));
    eventually("nobody else is left", || {
        let left = processes::descendants(daemon.pid());
        let left: Vec<u32> = left.iter().filter(|p| p.describe().contains("job:work")).map(|p| p.pid).collect();
        (json!(left) == json!([other["pid"]])).then_some(())
    });
    assert!(!processes::alive(first));
    client.ok("kill", json!({"id": "other"}));
}

#[test]
fn one_that_dies_while_it_is_being_replaced_is_running_where_nothing_says_that_it_is_ready() {
    let app = json!({"name": "plain", "script": "/bin/sleep", "args": ["1000"], "min_uptime": "1s"});
    let daemon = Setup::empty().worker(app).start();
    let before = pid(&reaches(&daemon, "plain", 0, "running"));
    let mut client = daemon.client();
    let call = client.send("apps.reload", json!({"target": "plain"}));
    let below =
        || processes::descendants(daemon.pid()).into_iter().filter(|p| processes::title(p.pid).contains("sleep"));
    eventually("its successor runs", || (below().count() == 2).then_some(()));
    processes::send(before, Signal::SIGKILL);
    let reloaded = client.receive(call).unwrap();
    assert_eq!((&reloaded["workers"][0]["state"], &reloaded["workers"][0]["restarts"]), (&json!("running"), &json!(1)));
}
