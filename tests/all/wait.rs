//! `wait`, from where it is asked and for how long.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::Setup;

#[test]
fn a_wait_ends_with_the_run() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 300}), "w");
    let mut others: Vec<_> = (0..5).map(|_| daemon.tcp()).collect();
    let calls: Vec<u64> = others.iter_mut().map(|c| c.send("wait", json!({"id": "w"}))).collect();
    let ended = client.wait("w");
    assert_eq!(ended["exit_code"], 0);
    for (other, call) in others.iter_mut().zip(calls) {
        assert_eq!(other.receive(call).unwrap(), ended);
    }
    assert_eq!(client.wait("w"), ended, "a wait for an ended run");
}

#[test]
fn a_wait_past_its_timeout_says_how_things_stand() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "w");
    for (timeout, least) in [(json!(250), 250), (json!("250ms"), 250), (json!(0), 0)] {
        let started = Instant::now();
        let status = client.ok("wait", json!({"id": "w", "timeout": timeout}));
        let took = started.elapsed();
        assert_eq!(status["state"], "running");
        assert!(took >= Duration::from_millis(least) && took < Duration::from_millis(least + 1500), "{took:?}");
    }
    assert_eq!(client.refused("wait", json!({"id": "none"})).kind, "run_not_found");
}

#[test]
fn who_waits_may_leave() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 400}), "w");
    for _ in 0..20 {
        daemon.tcp().send("wait", json!({"id": "w"}));
    }
    // By TCP nobody could vouch any more for a client that has left.
    daemon.client().send("run", json!({"entry": "exit", "params": {"code": 9}, "id": "left", "wait": true}));
    assert_eq!(client.wait("w")["exit_code"], 0);
    let left =
        crate::house::eventually("the run whose client left", || client.call("status", json!({"id": "left"})).ok());
    assert_eq!(client.wait(left["id"].as_str().unwrap())["exit_code"], 9);
    crate::house::eventually("connections gone", || (daemon.info()["counts"]["connections"] == 2).then_some(()));
}
