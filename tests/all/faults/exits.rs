//! Exits that come too early, or all at once.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Setup, eventually, processes};

#[test]
fn fault_05_a_child_that_exits_before_its_pid_is_known_keeps_its_status() {
    for idle in [0, 8] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.client();
        let (master, zygote) = (daemon.master(), daemon.zygote());
        for round in 0..8 {
            // The master asks, and is stopped before it can read what the child says: by then the child has been reaped.
            let id = format!("early-{round}");
            if idle == 0 {
                processes::send(zygote, Signal::SIGSTOP);
                eventually("the zygote is stopped", || (processes::state(zygote) == Some('T')).then_some(()));
            }
            let call =
                client.send("run", json!({"entry": "exit", "params": {"code": 40 + round}, "id": id, "wait": true}));
            if idle == 0 {
                std::thread::sleep(Duration::from_millis(30));
                processes::send(master, Signal::SIGSTOP);
                processes::send(zygote, Signal::SIGCONT);
            } else {
                processes::send(master, Signal::SIGSTOP);
            }
            std::thread::sleep(Duration::from_millis(60));
            processes::send(master, Signal::SIGCONT);
            let ended = client.receive(call).unwrap();
            assert_eq!(
                (&ended["state"], &ended["exit_code"], &ended["signal"]),
                (&json!("exited"), &json!(40 + round), &Value::Null)
            );
            assert!(ended["pid"].is_u64() && ended["started_at"].is_string(), "{ended}");
            assert!(ended["started_at"].as_str() <= ended["ended_at"].as_str(), "{ended}");
        }
        assert_eq!(daemon.info()["counts"]["dropped_messages"], 0);
    }
}

#[test]
fn fault_06_a_thousand_children_that_exit_at_once_have_a_thousand_exact_statuses() {
    let daemon = Setup::native(json!({"max_running": 1100, "limits": {"core": 0}})).start();
    let mut client = daemon.client();
    // 500 that wait for a signal, and 500 that leave by themselves while nobody reaps them.
    let deadly = [1, 2, 3, 6, 9, 10, 12, 13, 14, 15];
    let mut sleepers = Vec::new();
    let calls: Vec<u64> = (0..500)
        .map(|n| client.send("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "id": format!("s{n}")})))
        .collect();
    for call in calls {
        sleepers.push(client.receive(call).unwrap()["pid"].as_u64().unwrap() as u32);
    }
    processes::send(daemon.pid(), Signal::SIGSTOP);
    let calls: Vec<u64> = (0..500)
        .map(|n| client.send("run", json!({"entry": "exit", "params": {"code": n % 256}, "id": format!("e{n}")})))
        .collect();
    for call in calls {
        assert_eq!(client.receive(call).unwrap()["state"], "running", "the keeper has not told of any end yet");
    }
    for (n, pid) in sleepers.iter().enumerate() {
        processes::send(*pid, Signal::try_from(deadly[n % deadly.len()]).unwrap());
    }
    eventually("all are dead", || sleepers.iter().all(|pid| !processes::alive(*pid)).then_some(()));
    processes::send(daemon.pid(), Signal::SIGCONT);
    for n in 0..500 {
        let ended = client.wait(&format!("s{n}"));
        assert_eq!(
            (&ended["signal"], &ended["exit_code"]),
            (&json!(deadly[n % deadly.len()]), &Value::Null),
            "{ended}"
        );
        let ended = client.wait(&format!("e{n}"));
        assert_eq!((&ended["exit_code"], &ended["signal"]), (&json!(n % 256), &Value::Null), "{ended}");
    }
    let counts = daemon.info()["counts"].clone();
    assert_eq!((&counts["running"], &counts["starting"], &counts["ended"]), (&json!(0), &json!(0), &json!(1000)));
}
