//! Idle children: as many as the load needs.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, processes};

const MOST: u64 = 24;

/// Forks that take their time, so that a burst is ahead of them.
fn daemon(idle: Value) -> Daemon {
    Setup::native(json!({"idle": idle, "huge_pages": "off", "env": {"PREFORKD_BENCH_MB": "64"}})).start()
}

fn counts(client: &mut Client) -> (u64, u64) {
    let pool = client.pool("fixture");
    (pool["idle"].as_u64().unwrap(), pool["idle_wanted"].as_u64().unwrap())
}

fn burst(client: &mut Client, runs: usize) {
    let ids: Vec<u64> = (0..runs).map(|_| client.send("run", json!({"entry": "noop", "wait": true}))).collect();
    for id in ids {
        assert_eq!(client.receive(id).unwrap()["exit_code"], 0);
    }
}

#[test]
fn a_burst_leaves_as_many_waiting_as_it_needed_and_the_next_master_goes_on_so() {
    let daemon = daemon(json!({"min": 1, "max": MOST}));
    let mut client = daemon.client();
    eventually("one idle child", || (counts(&mut client) == (1, 1)).then_some(()));
    burst(&mut client, 60);
    let (_, wanted) = counts(&mut client);
    assert!((4..=MOST).contains(&wanted), "{wanted}");
    eventually("as many as wanted", || {
        let (idle, wanted) = counts(&mut client);
        (idle == wanted).then_some(())
    });
    burst(&mut client, 60);
    // When they have waited for a second they are the keeper's, too.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let (idle, _) = counts(&mut client);
    processes::send(daemon.master(), Signal::SIGKILL);
    let mut client = daemon.client();
    let (_, wanted) = counts(&mut client);
    assert!(wanted > 1 && wanted <= idle, "{wanted} of {idle}");
    burst(&mut client, 5);
}

#[test]
fn a_number_is_what_waits_whatever_the_load() {
    let daemon = daemon(json!(3));
    let mut client = daemon.client();
    for _ in 0..3 {
        eventually("three idle children", || (counts(&mut client) == (3, 3)).then_some(()));
        burst(&mut client, 40);
    }
}
