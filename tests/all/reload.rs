//! `reload`: a new generation takes over, or the old one stays.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::house::{Setup, eventually, preforkd, processes};

const VERSION: &str = "import preforkd, time\nVERSION = 1\ndef version(params):\n    return VERSION\ndef slow(params):\n    time.sleep(params)\n    return VERSION\n";

#[test]
fn new_runs_come_from_the_new_generation_and_old_ones_finish() {
    for idle in [0, 2] {
        let daemon =
            Setup::app("python", &[("job.py", VERSION)], json!({"preload": "app/job.py", "idle": idle})).start();
        let mut client = daemon.client();
        let old = client.pool("app");
        client.start("job:slow", json!(1.5), "old");
        assert_eq!(client.run("job:version", json!(null))["result"], 1);
        std::fs::write(
            daemon.path().join("app/job.py"),
            VERSION.replace("VERSION = 1", "VERSION = 2  # Python compares size and seconds"),
        )
        .unwrap();
        let new = client.ok("reload", json!({"name": "app"}));
        assert_eq!((&new["generation"], &new["state"], &new["error"]), (&json!(2), &json!("ready"), &json!(null)));
        assert_ne!(new["zygote_pid"], old["zygote_pid"]);
        for _ in 0..5 {
            let ended = client.run("job:version", json!(null));
            assert_eq!((&ended["result"], &ended["generation"]), (&json!(2), &json!(2)));
        }
        let ended = client.wait("old");
        assert_eq!((&ended["result"], &ended["generation"], &ended["exit_code"]), (&json!(1), &json!(1), &json!(0)));
        let zygote = old["zygote_pid"].as_u64().unwrap() as u32;
        eventually("the old zygote has left", || (!processes::alive(zygote)).then_some(()));
    }
}

#[test]
fn a_reload_that_fails_leaves_the_old_generation() {
    let daemon = Setup::app("python", &[("job.py", VERSION)], json!({"preload": "app/job.py"})).start();
    let mut client = daemon.client();
    let old = client.pool("app");
    std::fs::write(daemon.path().join("app/job.py"), "raise ValueError('not today')\n").unwrap();
    let refusal = client.refused("reload", json!({"name": "app"}));
    assert_eq!((refusal.code, refusal.kind.as_str()), (-32012, "reload_failed"));
    assert!(refusal.message.contains("not today"), "{}", refusal.message);
    let pool = client.pool("app");
    assert_eq!(
        (&pool["generation"], &pool["zygote_pid"], &pool["state"]),
        (&old["generation"], &old["zygote_pid"], &old["state"])
    );
    assert!(pool["error"].as_str().is_some_and(|e| e.contains("not today")), "{pool}");
    assert_eq!(client.run("job:version", json!(null))["result"], 1);
    std::fs::write(
        daemon.path().join("app/job.py"),
        VERSION.replace("VERSION = 1", "VERSION = 3  # and once more, longer"),
    )
    .unwrap();
    assert_eq!(client.ok("reload", json!({"name": "app"}))["error"], json!(null));
    assert_eq!(client.run("job:version", json!(null))["result"], 3);
    assert_eq!(client.refused("reload", json!({"name": "nobody"})).kind, "pool_not_found");
}

#[test]
fn reloads_under_load_lose_nothing() {
    let daemon = Setup::native(json!({"idle": 2, "max_running": 8})).start();
    let mut client = daemon.client();
    let mut admin = daemon.client();
    let calls: Vec<u64> = (0..400)
        .map(|n| client.send("run", json!({"entry": "echo", "params": n, "id": format!("n{n}"), "wait": true})))
        .collect();
    let pids: Vec<_> = (0..6).map(|_| admin.ok("reload", json!({"name": "fixture"}))["zygote_pid"].clone()).collect();
    for (n, call) in calls.into_iter().enumerate() {
        let ended = client.receive(call).unwrap();
        assert_eq!((&ended["result"], &ended["exit_code"]), (&json!(n), &json!(0)), "{ended}");
    }
    let pool = client.pool("fixture");
    assert_eq!((&pool["generation"], &pool["runs_total"], &pool["zygote_pid"]), (&json!(7), &json!(400), &pids[5]));
}

#[test]
fn fault_16_a_reload_that_ends_while_the_daemon_is_handed_over_is_answered() {
    let preload = "import os, time\nwhile os.path.exists('busy'): time.sleep(0.02)\n";
    let daemon = Setup::app("python", &[("job.py", preload)], json!({"preload": "app/job.py"})).start();
    std::fs::write(daemon.path().join("app/busy"), "").unwrap();
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let call = client.send("reload", json!({"name": "app"}));
    // A successor that waits to be let in.
    let gate = daemon.path().join("gate");
    let text =
        format!("#!/bin/sh\nwhile [ ! -e '{}' ]; do sleep 0.02; done\nexec {} \"$@\"\n", gate.display(), preforkd());
    let program = daemon.path().join("successor");
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let upgrade = other.send("upgrade", json!({"binary": program}));
    let successor = eventually("it is there", || {
        // What its shell forks looks the same for a moment.
        let own = |p: &processes::Process| processes::parent(p.pid) == Some(daemon.pid());
        let mut found = processes::descendants(daemon.pid()).into_iter().filter(own);
        found.find(|p| processes::title(p.pid).contains("/successor"))
    });
    let master = daemon.master();
    for (pid, signal) in [(master, Signal::SIGSTOP), (successor.pid, Signal::SIGSTOP), (master, Signal::SIGCONT)] {
        if pid == successor.pid {
            std::fs::write(&gate, "").unwrap();
            eventually("it is let in", || (!processes::title(pid).contains("/successor")).then_some(()));
            std::thread::sleep(Duration::from_millis(500));
        }
        processes::send(pid, signal);
    }
    // Everything is handed over now, and the successor has not looked at it.
    std::thread::sleep(Duration::from_millis(300));
    std::fs::remove_file(daemon.path().join("app/busy")).unwrap();
    eventually("the preload is done", || {
        let found = processes::descendants(daemon.pid());
        found.iter().any(|p| processes::title(p.pid) == "preforkd: app zygote #2").then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    successor.signal(Signal::SIGCONT);
    assert_eq!(other.receive(upgrade).unwrap()["master_pid"], successor.pid);
    assert_eq!(client.receive(call).unwrap()["generation"], 2);
}
