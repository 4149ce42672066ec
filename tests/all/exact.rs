//! 10,000 runs with random codes, signals and results: every status exact.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::house::{Daemon, Setup, eventually, processes};

const RUNS: usize = 10_000;
const CONNECTIONS: usize = 8;
/// Calls under way on a connection at a time.
const WINDOW: usize = 8;
/// Those whose default is to end the process; some would dump core, were it not for the limit.
const DEADLY: [i32; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 26, 34, 64];

#[test]
fn ten_thousand_runs_end_exactly_as_they_did() {
    let seed = std::env::var("PREFORKD_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("PREFORKD_SEED={seed}");
    let daemon = Setup::native(json!({"idle": 4, "limits": {"core": 0}})).start();
    runs(&daemon, StdRng::seed_from_u64(seed), CONNECTIONS, 50);
    let open = |pid: u32| processes::fds(pid).len();
    let (master, zygote) = (daemon.master(), daemon.zygote());
    let before = [open(daemon.pid()), open(master), open(zygote)];
    std::thread::scope(|scope| {
        for n in 0..CONNECTIONS {
            let daemon = &daemon;
            scope.spawn(move || runs(daemon, StdRng::seed_from_u64(seed ^ (n as u64)), n, RUNS / CONNECTIONS));
        }
    });
    let pool = daemon.client().pool("fixture");
    assert_eq!((&pool["runs_total"], &pool["running"], &pool["queued"]), (&json!(RUNS + 50), &json!(0), &json!(0)));
    assert_eq!(daemon.info()["counts"]["dropped_messages"], 0);
    eventually("no descriptor has been left open", || {
        let now = [open(daemon.pid()), open(master), open(zygote)];
        now.iter().zip(&before).all(|(now, before)| now <= before).then_some(())
    });
}

fn runs(daemon: &Daemon, mut random: StdRng, n: usize, count: usize) {
    let mut client = if n.is_multiple_of(2) { daemon.tcp() } else { daemon.client() };
    let mut expected: HashMap<u64, (String, Value)> = HashMap::new();
    let mut sent = 0;
    while sent < count || !expected.is_empty() {
        while sent < count && expected.len() < WINDOW {
            let id = format!("{n}-{sent}");
            sent += 1;
            let (entry, params, end) = match random.random_range(0..4) {
                0 => {
                    let signal = DEADLY[random.random_range(0..DEADLY.len())];
                    ("signal", json!({"signal": signal}), json!([null, signal, null]))
                }
                1 => ("echo", json!(id), json!([0, null, id])),
                _ => {
                    let code: u8 = random.random();
                    ("exit", json!({"code": code}), json!([code, null, null]))
                }
            };
            let call = client.send("run", json!({"entry": entry, "params": params, "id": id, "wait": true}));
            expected.insert(call, (id, end));
        }
        let answer = client.line();
        let call = answer["id"].as_u64().unwrap();
        let (id, end) = expected.remove(&call).expect("an answer to something asked");
        let status = &answer["result"];
        assert_eq!((&status["id"], &status["state"]), (&json!(id), &json!("exited")), "{answer}");
        assert_eq!(json!([status["exit_code"], status["signal"], status["result"]]), end, "{answer}");
        assert_eq!((&status["core_dumped"], &status["error"]), (&json!(false), &Value::Null), "{answer}");
        assert!(status["started_at"].as_str() <= status["ended_at"].as_str(), "{answer}");
    }
}
