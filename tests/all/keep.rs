//! How long an ended run is remembered.

use std::time::Duration;

use serde_json::json;

use crate::house::{Setup, eventually};

#[test]
fn an_ended_run_is_forgotten_after_the_pools_keep() {
    let daemon = Setup::native(json!({"keep": "1s"})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "echo", "params": "x".repeat(1000), "id": "k", "wait": true}));
    client.start("sleep", json!({"ms": 60_000}), "live");
    assert!(daemon.info()["counts"]["kept_bytes"].as_u64().unwrap() >= 1000);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(client.ok("status", json!({"id": "k"}))["exit_code"], 0);
    eventually("it is forgotten", || client.call("status", json!({"id": "k"})).is_err().then_some(()));
    assert_eq!(client.ok("status", json!({"id": "live"}))["state"], "running", "a live run is never forgotten");
    eventually("its result is gone as well", || (daemon.info()["counts"]["kept_bytes"] == 0).then_some(()));
    let again = client.ok("run", json!({"entry": "noop", "id": "k", "wait": true}));
    assert!(again.get("duplicate").is_none(), "past its keep an id is as good as new");
}

#[test]
fn masters_that_follow_one_another_do_not_begin_to_count_anew() {
    let daemon = Setup::native(json!({"keep": "3s"})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "noop", "id": "k", "wait": true}));
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        client.ok("upgrade", json!({"binary": crate::house::preforkd()}));
    }
    // The last of the four would keep it for another 3 s; the longer all of them took, the sooner it goes.
    let latest = std::time::Instant::now();
    eventually("it is forgotten", || client.call("status", json!({"id": "k"})).is_err().then_some(()));
    assert!(latest.elapsed() < Duration::from_millis(2800), "{:?}", latest.elapsed());
}

#[test]
fn what_was_kept_is_there_after_a_restart_of_the_master() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    let ended = client.ok("run", json!({"entry": "echo", "params": {"a": [1]}, "id": "k", "wait": true}));
    client.ok("run", json!({"entry": "noop", "id": "freed", "wait": true}));
    client.ok("free", json!({"id": "freed"}));
    let old = daemon.master();
    crate::house::processes::send(old, nix::sys::signal::Signal::SIGKILL);
    eventually("another master answers", || {
        let mut client = crate::house::Client::unix(&daemon.socket()).ok()?;
        let info = client.call("info", json!({})).ok()?;
        (info["master_pid"] != json!(old)).then_some(())
    });
    let mut client = daemon.client();
    assert_eq!(client.ok("status", json!({"id": "k"})), ended);
    assert_eq!(client.refused("status", json!({"id": "freed"})).kind, "run_not_found");
    let again = client.ok("run", json!({"entry": "noop", "id": "k"}));
    assert_eq!(again["duplicate"], true);
}
