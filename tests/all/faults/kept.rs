//! Ended runs that are kept, through upgrades and the ends of masters.

use serde_json::{Value, json};

use super::masters::kill;
use crate::house::{Client, Setup, preforkd};

const KEPT: u64 = 400;

/// What each of them returned, whom a second `run` finds, and the order in which they were asked for.
fn look(client: &mut Client, freed: &[u64]) {
    let there = |n: &u64| !freed.contains(n);
    for n in (0..KEPT).filter(there).step_by(7) {
        let id = format!("kept-{n}");
        let status = client.ok("status", json!({"id": id}));
        assert_eq!((&status["state"], &status["result"]), (&json!("exited"), &json!({"n": n})));
        let again = client.ok("run", json!({"entry": "echo", "id": id, "params": "another", "wait": true}));
        assert_eq!((&again["duplicate"], &again["result"]), (&json!(true), &json!({"n": n})));
    }
    freed.iter().for_each(|n| drop(client.refused("status", json!({"id": format!("kept-{n}")}))));
    let listed: Vec<Value> = client.ok("runs", json!({"limit": 1000}))["runs"].as_array().unwrap().clone();
    let ids = listed.iter().map(|run| run["id"].as_str().unwrap().to_owned());
    let ids: Vec<String> = ids.filter(|id| id.starts_with("kept-")).collect();
    assert_eq!(ids, (0..KEPT).filter(there).map(|n| format!("kept-{n}")).collect::<Vec<_>>());
    assert_eq!(client.ok("info", json!({}))["counts"]["ended"], json!(ids.len() + 1));
}

#[test]
fn fault_16_what_is_kept_of_ended_runs_outlives_upgrades_and_killed_masters() {
    let daemon = Setup::native(json!({"idle": 2})).start();
    let mut client = daemon.client();
    let params = |n: u64| json!({"entry": "echo", "id": format!("kept-{n}"), "params": {"n": n}, "wait": true});
    // This one is alive among those who have ended, and ends only later.
    client.ok("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "id": "early"}));
    (0..KEPT).for_each(|n| drop(client.ok("run", params(n))));
    let mut freed = Vec::new();
    for round in 0..4 {
        if round % 2 == 0 {
            client.ok("upgrade", json!({"binary": preforkd()}));
        } else {
            kill(&daemon, daemon.master());
            client = daemon.client();
        }
        if round == 0 {
            client.ok("kill", json!({"id": "early"}));
            client.wait("early");
        }
        look(&mut client, &freed);
        for n in [round, 100 + round, KEPT - 1 - round] {
            client.ok("free", json!({"id": format!("kept-{n}")}));
            freed.push(n);
        }
        look(&mut client, &freed);
    }
}
