//! `max_running` and `max_queued`.

use serde_json::{Value, json};

use crate::house::{Setup, native};

#[test]
fn past_max_running_runs_wait_in_order_and_past_max_queued_they_are_refused() {
    for idle in [0, 2] {
        let daemon = Setup::native(json!({"max_running": 2, "max_queued": 3, "idle": idle})).start();
        let mut client = daemon.client();
        client.start("sleep", json!({"ms": 60_000}), "a");
        client.start("sleep", json!({"ms": 60_000}), "b");
        let log = daemon.path().join("order");
        for n in 0..3 {
            let script = format!("echo {n} >> {}; sleep 0.05", log.display());
            let status =
                client.ok("run", json!({"entry": "shell", "params": {"script": script}, "id": format!("q{n}")}));
            assert_eq!(
                (&status["state"], &status["pid"], &status["started_at"]),
                (&json!("queued"), &Value::Null, &Value::Null)
            );
        }
        let refusal = client.refused("run", json!({"entry": "noop", "id": "q3"}));
        assert_eq!((refusal.code, refusal.kind.as_str()), (-32005, "queue_full"));
        assert!(
            refusal.message.contains('2') && refusal.message.contains('3'),
            "it names the limits: {}",
            refusal.message
        );
        assert_eq!(client.refused("status", json!({"id": "q3"})).kind, "run_not_found");
        client.ok("kill", json!({"id": "a"}));
        for n in 0..3 {
            assert_eq!(client.wait(&format!("q{n}"))["exit_code"], 0);
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "0\n1\n2\n");
        assert_eq!(client.ok("run", json!({"entry": "noop", "id": "q3", "wait": true}))["exit_code"], 0);
        assert_eq!(client.pool("fixture")["running"], 1);
        client.end("b");
    }
}

#[test]
fn never_more_than_max_running_at_a_time() {
    let daemon = Setup::native(json!({"max_running": 3, "max_queued": 100, "idle": 2})).start();
    let mut client = daemon.client();
    let folder = daemon.path().join("now");
    std::fs::create_dir(&folder).unwrap();
    let script = format!("cd {}; touch run.$$; ls run.* | wc -l >> ../most; sleep 0.05; rm run.$$", folder.display());
    let calls: Vec<u64> = (0..60)
        .map(|_| client.send("run", json!({"entry": "shell", "params": {"script": script}, "wait": true})))
        .collect();
    for call in calls {
        assert_eq!(client.receive(call).unwrap()["result"], 0);
    }
    let most = std::fs::read_to_string(daemon.path().join("most")).unwrap();
    let most: Vec<u32> = most.lines().map(|l| l.trim().parse().unwrap()).collect();
    assert_eq!((most.len(), most.iter().max()), (60, Some(&3)));
}

#[test]
fn phprocksyds_run_says_ok_when_queued() {
    let daemon = Setup::native(json!({"max_running": 1, "max_queued": 1})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 300}), "first");
    assert_eq!(client.command(r#"run {"hash":1,"class":"noop"}"#), json!({"error_text": "OK"}));
    let full = client.command(r#"run {"hash":2,"class":"noop"}"#);
    assert!(full["error_text"].as_str().is_some_and(|t| t != "OK"), "{full}");
    client.wait("1");
    assert_eq!(client.command(r#"check {"hash":1}"#), json!({"retcode": 0}));
}

#[test]
fn a_queued_run_whose_pool_is_gone_after_a_crash_has_failed_and_says_so() {
    let pool = json!({"name": "other", "runtime": "native", "command": [native()], "output": "none"});
    let daemon = Setup::native(json!({})).pool(pool, json!({"max_running": 1, "idle": 0})).start();
    let mut client = daemon.client();
    let sleep = json!({"pool": "other", "entry": "sleep", "params": {"ms": 60_000}});
    for (id, state) in [("runs", "running"), ("waits", "queued")] {
        let mut run = sleep.clone();
        run["id"] = json!(id);
        assert_eq!(client.ok("run", run)["state"], state);
    }
    let pools = json!({"pools": [{"name": "fixture", "runtime": "native", "command": [native()], "output": "none"}]});
    let daemon = daemon.crash().serving("app.json", &pools.to_string()).start();
    let mut client = daemon.client();
    assert_eq!(client.ok("status", json!({"id": "runs"}))["state"], "unknown");
    let waited = client.ok("status", json!({"id": "waits"}));
    assert_eq!((&waited["state"], &waited["error"]["class"]), (&json!("failed"), &json!("pool_not_found")), "{waited}");
    assert!(waited["error"]["message"].as_str().unwrap().contains("\"other\""), "{waited}");
}
