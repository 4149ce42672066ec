//! The wall clock jumps.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{Daemon, Setup, machine};

const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

fn date(status: &Value, key: &str) -> String {
    status[key].as_str().unwrap()[..10].to_owned()
}

/// The time of this daemon alone; its monotonic clock stays real.
fn jump(daemon: &Daemon, to: &str) {
    let file = daemon.path().join("time");
    fs::write(file.with_extension("new"), format!("{to}\n")).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

#[test]
fn fault_24_a_clock_that_jumps_by_a_day_fires_no_timer_early_and_hangs_none() {
    let name = "fault_24_a_clock_that_jumps_by_a_day_fires_no_timer_early_and_hangs_none";
    let Some(library) = LIBRARIES.into_iter().find(|l| fs::metadata(l).is_ok()) else {
        return machine::skipped(name, "libfaketime is not installed (Debian's faketime)");
    };
    let setup = Setup::native(json!({"keep": "1h", "idle": 1}));
    let time = setup.path().join("time");
    fs::write(&time, "+0\n").unwrap();
    let daemon = setup
        .wrapped(&["env", &format!("LD_PRELOAD={library}"), &format!("FAKETIME_TIMESTAMP_FILE={}", time.display())])
        .wrapped(&["FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
        .start();
    let mut client = daemon.client();
    let today = date(&client.run("noop", json!(null)), "ended_at");
    client.ok("run", json!({"entry": "noop", "id": "kept", "wait": true}));
    for (offset, id, back) in [("+1d", "on", false), ("-1d", "back", true)] {
        let started = Instant::now();
        let limited =
            client.send("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "timeout": "1500ms", "wait": true}));
        client.start("sleep", json!({"ms": 60_000}), id);
        let waiting = client.send("wait", json!({"id": id, "timeout": "1200ms"}));
        std::thread::sleep(Duration::from_millis(200));
        jump(&daemon, offset);
        let moved = client.run("noop", json!(null));
        assert_ne!(date(&moved, "ended_at"), today, "the clock has been moved for the daemon: {moved}");
        assert_eq!(date(&moved, "ended_at") < today, back);
        assert!(started.elapsed() < Duration::from_millis(1000), "nothing hangs");
        assert_eq!(client.receive(waiting).unwrap()["state"], "running");
        assert!(
            started.elapsed() >= Duration::from_millis(1150),
            "the wait was not cut short: {:?}",
            started.elapsed()
        );
        let ended = client.receive(limited).unwrap();
        let took = started.elapsed();
        assert_eq!((&ended["timed_out"], &ended["signal"]), (&json!(true), &json!(15)));
        assert!(took >= Duration::from_millis(1450) && took < Duration::from_millis(3500), "{took:?}");
        // A day is longer than `keep`, and yet not an hour has gone by.
        assert_eq!(client.ok("status", json!({"id": "kept"}))["exit_code"], 0);
        jump(&daemon, "+0");
    }
    for id in ["on", "back"] {
        client.ok("kill", json!({"id": id, "signal": "KILL"}));
        assert_eq!(client.wait(id)["signal"], 9);
    }
}
