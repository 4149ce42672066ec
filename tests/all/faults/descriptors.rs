//! Descriptors run out: in the master, and in a zygote.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::{Client, Setup, eventually, machine, processes};

#[test]
fn fault_10_more_connections_than_may_be_are_refused_politely_and_later_taken() {
    let daemon = Setup::native(json!({})).arguments(&["--max-connections", "20"]).start();
    let address = daemon.address();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::tcp(address).unwrap()).collect();
    clients.iter_mut().for_each(|c| drop(c.ok("ping", json!({}))));
    for _ in 0..5 {
        let mut refused = Client::tcp(address).unwrap();
        let said = refused.line();
        assert_eq!((&said["error"]["code"], &said["id"]), (&json!(-32010), &json!(null)), "{said}");
        refused.expect_end();
    }
    clients.truncate(10);
    eventually("there is room again", || {
        let mut client = Client::tcp(address).ok()?;
        client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").ok()?;
        client.try_line().ok()??.contains("version").then_some(())
    });
    assert!(daemon.info()["counts"]["refused_connections"].as_u64().unwrap() >= 5);
}

#[test]
fn fault_10_a_master_without_descriptors_recovers_by_itself() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let (address, master) = (daemon.address(), daemon.master());
    let mut old = daemon.client();
    old.ok("ping", json!({}));
    let open = processes::fds(master).len();
    let limit = |number: usize| {
        let set =
            machine::run(Command::new("prlimit").args(["--pid", &master.to_string(), &format!("--nofile={number}:")]));
        assert!(set.status.success(), "{set:?}");
    };
    // Below what is open already, so that not one more can be had. The soft limit alone: it may be raised again.
    limit(open);
    let before = processes::cpu_ms(master);
    let started = Instant::now();
    let mut waiting: Vec<Client> = (0..10).map(|_| Client::tcp(address).unwrap()).collect();
    std::thread::sleep(Duration::from_secs(1));
    assert!(processes::cpu_ms(master) - before < 500, "it does not spin: {} ms", processes::cpu_ms(master) - before);
    assert_eq!(old.ok("ping", json!({}))["version"], env!("CARGO_PKG_VERSION"), "who is in is served");
    limit(20_000);
    let mut served = 0;
    for client in &mut waiting {
        client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").ok();
        match client.try_line() {
            Ok(Some(line)) if line.contains("version") => served += 1,
            Ok(Some(line)) => assert!(line.contains("-32010"), "{line}"),
            Ok(None) => {}
            Err(e) => panic!("neither served nor refused after {:?}: {e}", started.elapsed()),
        }
    }
    println!("{served} of 10 served, the others refused");
    assert_eq!(daemon.tcp().run("noop", json!(null))["exit_code"], 0);
}

#[test]
fn fault_10_a_master_without_descriptors_leaves_captured_output_in_the_pipe() {
    let daemon = Setup::native(json!({"idle": 0, "output": "capture"})).start();
    let master = daemon.master();
    let limit = |number: usize| {
        let set =
            machine::run(Command::new("prlimit").args(["--pid", &master.to_string(), &format!("--nofile={number}:")]));
        assert!(set.status.success(), "{set:?}");
    };
    let path = |name: &str| daemon.path().join(name);
    let wait = |name: &str| format!("while ! [ -e {} ]; do sleep 0.02; done", path(name).display());
    let (a, b) = (wait("a"), wait("b"));
    // More than half of what a pipe holds, so that it is read at once; and less than is kept.
    let script = format!("{a}; seq 8000; touch {}; {b}; seq 8001 10000", path("said").display());
    let mut client = daemon.client();
    client.start("shell", json!({"script": script}), "run");
    limit(3);
    std::fs::write(path("a"), "").unwrap();
    eventually("it has been said", || path("said").exists().then_some(()));
    let told = || daemon.log().matches("reading captured output").count();
    eventually("it is told", || (told() > 0).then_some(()));
    // It is tried again in between.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((told(), &client.ok("status", json!({"id": "run"}))["state"]), (1, &json!("running")));
    limit(20_000);
    std::fs::write(path("b"), "").unwrap();
    let ended = client.wait("run");
    let all: String = (1..=10_000).map(|n| format!("{n}\n")).collect();
    assert!(ended["stdout"] == all, "{} of {}", ended["stdout"].as_str().unwrap().len(), all.len());
}

#[test]
fn fault_10_a_zygote_without_descriptors_refuses_and_goes_on() {
    let python = Setup::app("python", &[("job.py", "def echo(params):\n    return params\n")], json!({}));
    let php = Setup::app(
        "php",
        &[("boot.php", "<?php function job_echo($p) { return $p; }")],
        json!({"preload": "app/boot.php"}),
    );
    let native = Setup::native(json!({"output": "capture"}));
    for (setup, entry) in [(native, "echo"), (python, "job:echo"), (php, "job_echo")] {
        let daemon = setup.start();
        let mut client = daemon.client();
        let zygote = daemon.zygote();
        let open = processes::fds(zygote).len();
        let limit = |number: usize| {
            let pid = zygote.to_string();
            let set = machine::run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={number}:")]));
            assert!(set.status.success(), "{set:?}");
        };
        for room in 0..4 {
            limit(open + room);
            // The order brings three descriptors (and a memfd): they do not all fit.
            for params in [json!("x"), json!("x".repeat(100_000))] {
                let started = Instant::now();
                let call = client.call("run", json!({"entry": entry, "params": params, "wait": true}));
                assert!(started.elapsed() < Duration::from_secs(10), "{entry}, room for {room}");
                match call {
                    Ok(ended) => assert_eq!(ended["state"], "exited", "{entry} {room}: {:.300}", ended.to_string()),
                    Err(refusal) => assert_eq!(refusal.kind, "start_failed", "{entry} {room}: {refusal:?}"),
                }
            }
        }
        limit(1000);
        assert_eq!(client.run(entry, json!("again"))["result"], "again", "{entry}");
        assert_eq!(daemon.zygote(), zygote, "{entry}: it is still the same one");
        assert!(processes::fds(zygote).len() <= open, "{entry}: what came of the refused orders is closed");
    }
}
