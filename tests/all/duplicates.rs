//! The same id never starts a second run.

use std::fs;
use std::sync::Barrier;

use serde_json::{Value, json};

use crate::house::Setup;

#[test]
fn fifty_connections_with_one_id_start_one_run() {
    for idle in [0, 4] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mark = daemon.path().join("mark");
        let run = json!({"entry": "shell", "params": {"script": format!("echo ran >> {}", mark.display())},
                         "id": "once", "wait": true});
        let barrier = Barrier::new(50);
        let statuses: Vec<Value> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..50)
                .map(|n| {
                    let (daemon, run, barrier) = (&daemon, &run, &barrier);
                    scope.spawn(move || {
                        let mut client = if n % 2 == 0 { daemon.tcp() } else { daemon.client() };
                        barrier.wait();
                        client.ok("run", run.clone())
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(fs::read_to_string(&mark).unwrap(), "ran\n");
        assert_eq!(statuses.iter().filter(|s| s.get("duplicate").is_none()).count(), 1);
        for status in &statuses {
            assert_eq!((&status["exit_code"], &status["pid"]), (&json!(0), &statuses[0]["pid"]));
        }
        assert_eq!(daemon.client().pool("fixture")["runs_total"], 1);
    }
}

#[test]
fn a_duplicate_is_answered_whatever_else_it_says() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    let first = client.start("sleep", json!({"ms": 400}), "d");
    let again = client.ok("run", json!({"entry": "exit", "params": {"code": 3}, "id": "d"}));
    assert_eq!((&again["duplicate"], &again["pid"], &again["entry"]), (&json!(true), &first["pid"], &json!("sleep")));
    let ended = client.ok("run", json!({"entry": "fail", "id": "d", "wait": true}));
    assert_eq!(
        (&ended["duplicate"], &ended["exit_code"]),
        (&json!(true), &json!(0)),
        "wait waits for the first one's end"
    );
    assert!(client.ok("status", json!({"id": "d"})).get("duplicate").is_none());
}

#[test]
fn a_duplicate_of_a_queued_run_is_that_run() {
    let daemon = Setup::native(json!({"max_running": 1})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 500}), "first");
    let queued = client.ok("run", json!({"entry": "noop", "id": "second"}));
    assert_eq!(queued["state"], "queued");
    let again = client.ok("run", json!({"entry": "noop", "id": "second"}));
    assert_eq!((&again["duplicate"], &again["state"]), (&json!(true), &json!("queued")));
    assert_eq!(client.wait("second")["exit_code"], 0);
    assert_eq!(client.pool("fixture")["runs_total"], 2);
}

#[test]
fn a_failed_run_stays_failed_for_its_id() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.refused("run", json!({"entry": "nothing", "id": "f"}));
    let again = client.ok("run", json!({"entry": "noop", "id": "f"}));
    assert_eq!((&again["duplicate"], &again["state"]), (&json!(true), &json!("failed")));
}

#[test]
fn a_freed_id_is_as_good_as_new() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    let run = json!({"entry": "noop", "id": "n", "wait": true});
    let first = client.ok("run", run.clone());
    client.ok("free", json!({"id": "n"}));
    let second = client.ok("run", run);
    assert!(second.get("duplicate").is_none());
    assert_ne!(first["started_at"], second["started_at"]);
}

#[test]
fn a_hash_of_phprocksyd_and_an_id_are_one_run() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    assert_eq!(client.command(r#"run {"hash":17,"class":"exit","params":{"code":4}}"#), json!({"error_text": "OK"}));
    assert_eq!(client.wait("17")["exit_code"], 4);
    assert_eq!(client.command(r#"check {"hash":17}"#), json!({"retcode": 4}));
    assert_eq!(client.command(r#"run {"hash":17,"class":"exit"}"#), json!({"error_text": "OK"}));
    assert_eq!(client.pool("fixture")["runs_total"], 1);
    client.start("sleep", json!({"ms": 60_000}), "18");
    assert_eq!(client.command(r#"check {"hash":18}"#), json!({"error_text": "Still running"}));
    assert_eq!(client.command(r#"terminate {"hash":18}"#), json!({"error_text": "OK"}));
    client.wait("18");
    assert_eq!(client.command(r#"check {"hash":18}"#), json!({"retcode": 143, "signal": 15}));
}
