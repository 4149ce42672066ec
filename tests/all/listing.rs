//! `free`, `runs`, `pools`, `list`, `info`, `ping`.

use serde_json::{Value, json};

use crate::house::{Client, Setup, native};

fn ids(page: &Value) -> Vec<&str> {
    page["runs"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect()
}

fn page(client: &mut Client, params: Value) -> Value {
    client.ok("runs", params)
}

#[test]
fn runs_are_paged_from_the_oldest_to_the_newest() {
    let daemon = Setup::native(json!({"max_running": 4})).start();
    let mut client = daemon.client();
    let expected: Vec<String> = (0..230).map(|n| format!("r{:03}", (n * 7) % 230)).collect();
    for id in &expected {
        client.ok("run", json!({"entry": "noop", "id": id, "wait": true}));
    }
    let mut seen: Vec<String> = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = page(&mut client, json!({"limit": 50, "after": after}));
        assert!(ids(&page).len() <= 50);
        seen.extend(ids(&page).iter().map(|i| (*i).to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, expected);
    assert_eq!(ids(&page(&mut client, json!({}))).len(), 100, "the default limit");
    assert_eq!(ids(&page(&mut client, json!({"limit": 1000}))).len(), 230);
    for limit in [json!(0), json!(1001), json!(-1), json!("5")] {
        assert_eq!(client.refused("runs", json!({"limit": limit})).code, -32602);
    }
}

#[test]
fn runs_are_found_by_pool_and_state() {
    let pool = |name: &str| json!({"name": name, "runtime": "native", "command": [native()], "output": "none"});
    let daemon =
        Setup::empty().pool(pool("a"), json!({"default": true, "max_running": 1})).pool(pool("b"), json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "running");
    client.ok("run", json!({"entry": "noop", "id": "queued"}));
    client.ok("run", json!({"entry": "noop", "id": "ended", "pool": "b", "wait": true}));
    client.refused("run", json!({"entry": "none", "id": "failed", "pool": "b"}));
    for (params, expected) in [
        (json!({}), vec!["running", "queued", "ended", "failed"]),
        (json!({"pool": "a"}), vec!["running", "queued"]),
        (json!({"state": "running"}), vec!["running"]),
        (json!({"state": "queued"}), vec!["queued"]),
        (json!({"state": "exited"}), vec!["ended"]),
        (json!({"state": "failed"}), vec!["failed"]),
        (json!({"state": "unknown"}), vec![]),
        (json!({"pool": "b", "state": "running"}), vec![]),
    ] {
        assert_eq!(ids(&page(&mut client, params.clone())), expected, "{params}");
    }
    assert_eq!(client.refused("runs", json!({"state": "done"})).code, -32602);
    let list = client.ok("list", json!({}));
    assert_eq!((list["pools"].as_array().unwrap().len(), &list["workers"]), (2, &json!([])));
    let mut listed = ids(&list);
    listed.sort_unstable();
    assert_eq!(listed, ["ended", "failed", "queued", "running"]);
    client.end("running");
}

#[test]
fn free_forgets_an_ended_run_and_refuses_a_live_one() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "live");
    assert_eq!(client.refused("free", json!({"id": "live"})).kind, "still_running");
    assert_eq!(client.command(r#"free {"hash":1}"#), json!({"error_text": "Hash not found"}));
    client.ok("kill", json!({"id": "live"}));
    client.wait("live");
    assert_eq!(client.ok("free", json!({"id": "live"})), json!({"id": "live", "freed": true}));
    for method in ["status", "free", "kill", "wait"] {
        assert_eq!(client.refused(method, json!({"id": "live"})).kind, "run_not_found", "{method}");
    }
    assert_eq!(page(&mut client, json!({}))["runs"], json!([]));
}

#[test]
fn list_shows_the_live_runs_and_at_most_twenty() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "live");
    for n in 0..25 {
        client.ok("run", json!({"entry": "noop", "id": format!("e{n}"), "wait": true}));
    }
    let list = client.ok("list", json!({}));
    let ids = ids(&list);
    assert!(ids.len() == 20 && ids.contains(&"live") && ids.contains(&"e24") && !ids.contains(&"e0"), "{ids:?}");
    client.end("live");
}

#[test]
fn pools_and_info_count_what_there_is() {
    let daemon = Setup::native(json!({"idle": 2, "max_running": 2, "max_queued": 5})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "a");
    client.start("sleep", json!({"ms": 60_000}), "b");
    client.ok("run", json!({"entry": "noop", "id": "c"}));
    let pool = client.pool("fixture");
    for (key, value) in [
        ("name", json!("fixture")),
        ("runtime", json!("native")),
        ("state", json!("ready")),
        ("generation", json!(1)),
        ("running", json!(2)),
        ("queued", json!(1)),
        ("max_running", json!(2)),
        ("max_queued", json!(5)),
        ("failed_total", json!(0)),
        ("error", Value::Null),
        ("default", json!(true)),
        ("warnings", json!([])),
    ] {
        assert_eq!(pool[key], value, "{key} in {pool}");
    }
    assert!(pool["preload_ms"].is_u64() && pool["runtime_version"].is_string() && pool["zygote_pid"].is_u64());
    let info = daemon.info();
    assert_eq!(info["keeper_pid"], daemon.pid());
    assert_eq!(info["dir"], json!(daemon.dir()));
    assert_eq!((&info["counts"]["running"], &info["counts"]["queued"]), (&json!(2), &json!(1)));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for key in [
        "connections",
        "dropped_messages",
        "ended",
        "idle",
        "kept_bytes",
        "refused_connections",
        "runs_total",
        "starting",
    ] {
        assert!(info["counts"][key].is_u64(), "{key}: {:?}", keys(&info["counts"]));
    }
    assert_eq!((&info["limits"]["max_line"], &info["limits"]["max_batch"]), (&json!(1 << 20), &json!(1000)));
    assert_eq!(client.ok("ping", json!({})), json!({"version": env!("CARGO_PKG_VERSION")}));
    client.ok("kill", json!({"id": "a", "signal": "KILL"}));
    client.wait("c");
    client.ok("kill", json!({"id": "b", "signal": "KILL"}));
    client.wait("b");
    let pool = client.pool("fixture");
    assert_eq!((&pool["runs_total"], &pool["failed_total"], &pool["running"]), (&json!(3), &json!(2), &json!(0)));
}

#[test]
fn a_daemon_without_pools_answers() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    assert_eq!(client.ok("pools", json!({})), json!({"pools": []}));
    assert_eq!(client.refused("run", json!({"entry": "noop"})).kind, "pool_not_found");
}

#[test]
fn a_worker_that_is_being_forked_is_no_run() {
    let job = "import os, time\nos.register_at_fork(before=lambda: time.sleep(0.5))\n\
               def work(params):\n    time.sleep(1000)\n";
    let daemon = Setup::app("python", &[("job.py", job)], json!({"preload": "app/job.py"}))
        .worker(json!({"name": "warm", "pool": "app", "entry": "job:work", "instances": 2}))
        .start();
    let mut client = daemon.client();
    let mut states = Vec::new();
    while states.last() != Some(&json!("running")) {
        states.push(client.worker("warm", 1)["state"].clone());
        let counts = &client.ok("info", json!({}))["counts"];
        assert_eq!((&counts["starting"], &counts["running"]), (&json!(0), &json!(0)), "{states:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(states[0], "starting");
}
