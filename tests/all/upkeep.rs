//! Workers that grow too large, whose files change, and whose pid is written down.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{Daemon, Setup, eventually, processes};

fn start(daemon: &Daemon, app: Value) -> Value {
    let env = json!({"PATH": std::env::var("PATH").unwrap()});
    let answer = daemon.client().ok("apps.start", json!({"apps": [app], "folder": daemon.path(), "env": env}));
    answer["workers"][0].clone()
}

fn worker(daemon: &Daemon, name: &str) -> Value {
    daemon.client().ok("apps.list", json!({"target": name}))["workers"][0].clone()
}

/// Waits for another process than `old`'s.
fn successor(daemon: &Daemon, old: &Value) -> Value {
    eventually("another process runs", || {
        let now = worker(daemon, old["name"].as_str().unwrap());
        (now["pid"].is_u64() && now["pid"] != old["pid"]).then_some(now)
    })
}

/// Nothing happens to it for a while.
fn stays(daemon: &Daemon, old: &Value) {
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(worker(daemon, old["name"].as_str().unwrap())["pid"], old["pid"]);
}

#[test]
fn a_worker_that_grows_too_large_is_replaced_and_its_start_is_not_at_fault() {
    let daemon = Setup::empty().start();
    let script = daemon.path().join("grow.py");
    let text = "import os, sys, time\nonce = sys.argv[1]\nif not os.path.exists(once):\n    open(once, 'w').close()\n    time.sleep(0.5)\n    kept = b'x' * (200 << 20)\ntime.sleep(1000)\n";
    fs::write(&script, text).unwrap();
    let once = |name: &str| daemon.path().join(format!("once-{name}"));
    let small = start(
        &daemon,
        json!({"name": "small", "script": script, "interpreter": "python3", "args": [once("small")], "max_memory_restart": "2G"}),
    );
    let large = start(
        &daemon,
        json!({"name": "large", "script": script, "interpreter": "python3", "args": [once("large")], "max_memory_restart": "100M"}),
    );
    let next = successor(&daemon, &large);
    assert_eq!((&next["restarts"], &next["unstable"]), (&json!(1), &json!(0)), "{next}");
    let reason = next["reason"].as_str().unwrap_or_default();
    assert!(reason.ends_with("MB, more than max_memory_restart (100 MB)") && reason.starts_with("uses "), "{next}");
    stays(&daemon, &next);
    stays(&daemon, &small);
    // Nobody asks any more: nobody looks any more.
    daemon.client().ok("apps.delete", json!({"target": "all"}));
    std::thread::sleep(Duration::from_millis(1500));
    let switches = || processes::status_number(daemon.master(), "voluntary_ctxt_switches").unwrap();
    let before = switches();
    std::thread::sleep(Duration::from_secs(3));
    assert!(switches() - before <= 6, "the master wakes up only to be asked");
}

#[test]
fn files_that_change_restart_an_app_once_they_are_at_rest() {
    let daemon = Setup::empty().start();
    let code = daemon.path().join("code");
    fs::create_dir_all(code.join("lib")).unwrap();
    fs::create_dir_all(code.join("node_modules/x")).unwrap();
    fs::write(code.join("a.txt"), "").unwrap();
    let app = json!({"name": "w", "script": "sh", "args": ["-c", "echo $$ > code/own.log; sleep 1000"], "instances": 2,
        "watch": [code], "ignore_watch": ["*.tmp"], "watch_delay": 300, "pid_file": "code/w.pid", "out_file": "code/own.log"});
    let first = start(&daemon, app);
    stays(&daemon, &first);
    for ignored in ["x.tmp", ".hidden", "node_modules/x/y", "a.txt~", ".a.txt.swp"] {
        fs::write(code.join(ignored), "x").unwrap();
    }
    stays(&daemon, &first);
    // Many writes are one change, and a folder that is new is watched, too.
    fs::create_dir(code.join("new")).unwrap();
    for n in 0..10 {
        fs::write(code.join(format!("new/{n}")), "x").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = successor(&daemon, &first);
    assert_eq!((&second["asked_restarts"], &second["restarts"]), (&json!(1), &json!(0)), "{second}");
    stays(&daemon, &second);
    assert_eq!(worker(&daemon, "w")["asked_restarts"], 1);
    fs::write(code.join("new/0"), "y").unwrap();
    let third = successor(&daemon, &second);
    // A worker that is not wanted stays down.
    daemon.client().ok("apps.stop", json!({"target": "w"}));
    fs::write(code.join("a.txt"), "y").unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(worker(&daemon, "w")["state"], "stopped", "{third}");
    // A master that follows watches again.
    daemon.client().ok("apps.start", json!({"target": "w"}));
    let up = worker(&daemon, "w");
    processes::send(daemon.master(), nix::sys::signal::Signal::SIGKILL);
    eventually("there is another master", || {
        crate::house::Client::unix(&daemon.socket()).ok()?.call("info", json!({})).ok()
    });
    fs::write(code.join("a.txt"), "z").unwrap();
    successor(&daemon, &up);
}

#[test]
fn files_that_change_make_a_pool_s_next_generation() {
    let setup = Setup::app(
        "python",
        &[("job.py", "print('one')\n"), ("boot.py", "WORD = 'one'\n")],
        json!({"preload": "app/boot.py", "watch": true}),
    );
    let daemon = setup.start();
    let mut client = daemon.client();
    let generation = client.pool("app")["generation"].as_u64().unwrap();
    fs::write(daemon.path().join("app/boot.py"), "WORD = 'two'\n").unwrap();
    eventually("the next generation serves", || {
        let pool = client.pool("app");
        (pool["generation"].as_u64() > Some(generation) && pool["state"] == "ready").then_some(())
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.pool("app")["generation"], generation + 1, "what it compiles is no change");
    // Broken code leaves the old one serving, and a repair is taken up.
    fs::write(daemon.path().join("app/boot.py"), "WORD = \n").unwrap();
    eventually("it is tried", || daemon.log().contains("reload failed").then_some(()));
    assert_eq!(client.run("job.py", Value::Null)["exit_code"], 0);
    fs::write(daemon.path().join("app/boot.py"), "WORD = 'three'\n").unwrap();
    eventually("the repaired one serves", || {
        (client.pool("app")["generation"].as_u64() == Some(generation + 3)).then_some(())
    });
}

#[test]
fn the_pid_file_is_there_while_its_process_is() {
    let daemon = Setup::empty().start();
    let app = json!({"name": "w", "script": "sleep", "args": ["1000"], "instances": 2, "pid_file": "w.pid"});
    let first = start(&daemon, app);
    let read = |name: &str| fs::read_to_string(daemon.path().join(name)).ok().map(|text| text.trim().to_owned());
    assert_eq!(read("w.pid"), Some(first["pid"].to_string()));
    assert!(read("w-1.pid").is_some());
    processes::send(first["pid"].as_u64().unwrap() as u32, nix::sys::signal::Signal::SIGKILL);
    let next = successor(&daemon, &first);
    assert_eq!(read("w.pid"), Some(next["pid"].to_string()));
    daemon.client().ok("apps.stop", json!({"target": "w"}));
    assert_eq!((read("w.pid"), read("w-1.pid")), (None, None));
    // A link to somewhere else is not followed.
    let other = daemon.path().join("other");
    fs::write(&other, "kept").unwrap();
    std::os::unix::fs::symlink(&other, daemon.path().join("w.pid")).unwrap();
    daemon.client().ok("apps.start", json!({"target": "w"}));
    assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    assert!(daemon.log().contains("a pid file cannot be written"));
}
