//! Upgrades: who serves, what goes on, and what happens when it cannot be done.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, preforkd, processes};

fn upgrade(daemon: &Daemon) -> Value {
    daemon.client().ok("upgrade", json!({"binary": preforkd()}))
}

/// A program that is to be the successor, and is not up to it.
fn program(daemon: &Daemon, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = daemon.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// A worker that counts its starts, and writes a line ten times a second.
fn ticking() -> Setup {
    Setup::native(json!({"idle": 2}))
        .file("tick.sh", "echo started >> starts\nn=0\nwhile :; do n=$((n+1)); echo $n; sleep 0.1; done\n")
        .worker(json!({"name": "tick", "script": "tick.sh", "interpreter": "bash", "out_file": "tick.log"}))
}

#[test]
fn an_upgrade_answers_on_the_same_connection_and_everything_goes_on() {
    let daemon = ticking().start();
    let mut client = daemon.client();
    let mut tcp = daemon.tcp();
    let (keeper, master, zygote) = (daemon.pid(), daemon.master(), daemon.zygote());
    let alive = client.start("sleep", json!({"ms": 1500}), "alive");
    let waiting = tcp.send("wait", json!({"id": "alive"}));
    let worker = client.worker("tick", 0)["pid"].clone();
    for round in 0..3 {
        let done = client.ok("upgrade", json!({"binary": preforkd()}));
        assert_eq!(done["former_version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(client.ok("info", json!({}))["master_pid"], done["master_pid"], "round {round}");
    }
    assert_eq!((daemon.pid(), daemon.zygote()), (keeper, zygote), "keeper and zygote are the same");
    assert_ne!(daemon.master(), master);
    eventually("the old master has gone", || (!processes::alive(master)).then_some(()));
    assert_eq!(client.worker("tick", 0)["pid"], worker);
    let idle = client.pool("fixture");
    assert_eq!((&idle["generation"], &idle["idle"]), (&json!(1), &json!(2)));
    let ended = tcp.receive(waiting).unwrap();
    assert_eq!((&ended["pid"], &ended["exit_code"]), (&alive["pid"], &json!(0)));
    assert_eq!(client.run("exit", json!({"code": 7}))["exit_code"], 7);
    // The worker's output: each number once, in order.
    let text = eventually("lines after the upgrades", || {
        let text = std::fs::read_to_string(daemon.path().join("tick.log")).ok()?;
        (text.lines().count() > 20).then_some(text)
    });
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    assert_eq!(std::fs::read_to_string(daemon.path().join("starts")).unwrap(), "started\n");
}

#[test]
fn an_id_that_is_used_again_while_a_successor_waits_has_the_younger_runs_result() {
    // It does not end when it is asked to: so long the successor waits, with everything read that there was.
    let script = "trap '' INT; echo >> began; while :; do sleep 0.1; done";
    let worker = json!({"name": "slow", "script": "/bin/sh", "args": ["-c", script], "kill_timeout": 3000});
    let daemon = Setup::native(json!({"idle": 0})).worker(worker).start();
    let mut client = daemon.client();
    let run = |client: &mut Client, what: &str| {
        let params = json!({"entry": "echo", "params": what, "id": "again", "wait": true});
        assert_eq!(client.ok("run", params)["result"], what);
    };
    run(&mut client, "elder");
    eventually("the worker does not mind", || daemon.path().join("began").exists().then_some(()));
    let (mut deleting, mut upgrading) = (daemon.client(), daemon.client());
    let deleted = deleting.send("apps.delete", json!({"target": "slow"}));
    eventually("it is asked to end", || (client.worker("slow", 0)["state"] == "stopping").then_some(()));
    let upgraded = upgrading.send("upgrade", json!({"binary": preforkd()}));
    eventually("the successor waits", || daemon.log().contains("looking for a successor").then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    client.ok("free", json!({"id": "again"}));
    run(&mut client, "younger");
    deleting.receive(deleted).unwrap();
    upgrading.receive(upgraded).unwrap();
    assert_eq!(client.ok("status", json!({"id": "again"}))["result"], "younger");
}

#[test]
fn a_check_does_everything_but_the_last_step() {
    let daemon = ticking().start();
    let master = daemon.master();
    let done = daemon.client().ok("upgrade", json!({"binary": preforkd(), "check": true}));
    assert_eq!((&done["checked"], &done["master_pid"]), (&json!(true), &json!(master)));
    assert_eq!(daemon.master(), master);
    assert_eq!(daemon.client().run("exit", json!({"code": 3}))["exit_code"], 3);
}

#[test]
fn sigusr2_to_the_keeper_upgrades_and_phprocksyds_restart_does() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let first = daemon.master();
    processes::send(daemon.pid(), Signal::SIGUSR2);
    let second = eventually("another master", || Some(daemon.master()).filter(|pid| *pid != first));
    assert_eq!(daemon.client().command("restart"), json!({"error_text": "OK"}));
    assert_ne!(daemon.master(), second);
}

#[test]
fn fault_13_a_successor_that_cannot_take_over_leaves_everything_as_it_was() {
    let daemon = ticking().start();
    let mut client = daemon.client();
    let (master, worker) = (daemon.master(), client.worker("tick", 0)["pid"].clone());
    let cases: [(&str, PathBuf, &str); 6] = [
        ("missing", daemon.path().join("nowhere"), "No such file or directory"),
        ("not executable", program(&daemon, "plain", b"#!/bin/sh\n", 0o644), "Permission denied"),
        (
            "another machine's",
            program(&daemon, "foreign", b"\x7fELF\x02\x01\x01\0not for this machine", 0o755),
            "Exec format error",
        ),
        (
            "exits at once",
            program(&daemon, "exits", b"#!/bin/sh\necho no such luck >&2\nexit 3\n", 0o755),
            "no such luck",
        ),
        ("dies", program(&daemon, "dies", b"#!/bin/sh\nkill -SEGV $$\n", 0o755), "killed by SIGSEGV"),
        ("is something else", "/bin/true".into(), "(exit code 0)"),
    ];
    for (what, path, expected) in cases {
        let refusal = client.refused("upgrade", json!({"binary": path}));
        assert_eq!(refusal.kind, "upgrade_failed", "{what}");
        assert!(
            refusal.message.contains(expected) && refusal.message.contains("carries on"),
            "{what}: {}",
            refusal.message
        );
        assert_eq!(daemon.master(), master, "{what}");
    }
    let refusal = client.refused("upgrade", json!({"binary": "relative/path"}));
    assert!(refusal.message.contains("absolute"), "{}", refusal.message);
    assert_eq!(client.worker("tick", 0)["pid"], worker);
    assert_eq!(client.run("exit", json!({"code": 4}))["exit_code"], 4);
    assert_eq!(upgrade(&daemon)["checked"], false);
}

#[test]
fn fault_13_a_successor_that_hangs_is_ended_at_its_deadline() {
    let daemon = Setup::native(json!({})).start();
    let hangs = program(&daemon, "hangs", b"#!/bin/sh\necho $$ > hanging\nexec sleep 1000\n", 0o755);
    let mut client = daemon.client();
    let id = client.send("upgrade", json!({"binary": hangs}));
    // Others are served meanwhile.
    let mut other = daemon.client();
    for code in 0..5 {
        assert_eq!(other.run("exit", json!({"code": code}))["exit_code"], code);
    }
    assert!(other.refused("upgrade", json!({"binary": preforkd()})).message.contains("another upgrade"));
    let refusal = client.receive(id).unwrap_err();
    assert!(refusal.message.contains("did not begin to take over within 10s"), "{}", refusal.message);
    let pid: u32 = std::fs::read_to_string(daemon.path().join("hanging")).unwrap().trim().parse().unwrap();
    eventually("it is gone", || (!processes::alive(pid)).then_some(()));
    assert_eq!(upgrade(&daemon)["checked"], false);
}

#[test]
fn fault_14_a_hundred_upgrades_in_a_row_leave_nothing_behind() {
    let daemon = ticking().start();
    let mut client = daemon.client();
    upgrade(&daemon);
    // What the first one has left behind is gone, and the other has given back what its start took.
    let calm = || std::thread::sleep(Duration::from_millis(2500));
    calm();
    let measure = |daemon: &Daemon| {
        let (keeper, master) = (daemon.pid(), daemon.master());
        let masks = ["SigBlk", "SigIgn", "SigCgt"].map(|key| signal_mask(master, key));
        ((processes::fds(keeper).len(), processes::fds(master).len()), masks)
    };
    let before = measure(&daemon);
    let resident = |pid| processes::status_number(pid, "VmRSS").unwrap();
    let memory = resident(daemon.pid()) + resident(daemon.master());
    for _ in 0..100 {
        client.ok("upgrade", json!({"binary": preforkd()}));
    }
    eventually("descriptors and signal masks are as before", || (measure(&daemon) == before).then_some(()));
    calm();
    let after = resident(daemon.pid()) + resident(daemon.master());
    assert!(after < memory + 2048, "{memory} kB before, {after} kB after");
    assert_eq!(client.worker("tick", 0)["restarts"], 0);
}

fn signal_mask(pid: u32, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines().find(|line| line.starts_with(key)).unwrap().to_owned()
}

#[test]
fn fault_15_a_sigterm_in_the_middle_of_an_upgrade_ends_the_daemon() {
    for delay in [0, 2, 5, 10, 20] {
        let mut daemon = Setup::native(json!({"idle": 1})).start();
        let mut client = daemon.client();
        client.send("upgrade", json!({"binary": preforkd()}));
        std::thread::sleep(Duration::from_millis(delay));
        let (status, took) = daemon.terminate();
        assert!(status.success() && took < Duration::from_secs(10), "{status:?} after {took:?}");
    }
}

#[test]
fn fault_16_upgrades_under_load_refuse_lose_and_double_nothing() {
    let daemon = Setup::native(json!({"idle": 4, "max_running": 16})).start();
    let ran = daemon.path().join("ran");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|t| {
                let (daemon, ran) = (&daemon, &ran);
                scope.spawn(move || {
                    // One connection for all of them, some of them pipelined, one sent in two halves.
                    let mut client = if t % 2 == 0 { daemon.client() } else { daemon.tcp() };
                    for round in 0..40 {
                        let params = |n| {
                            json!({"entry": "shell", "id": format!("{t}-{round}-{n}"), "wait": true,
                            "params": {"script": format!("echo {t}-{round}-{n} >> {}", ran.display())}})
                        };
                        let ids: Vec<u64> = (0..4).map(|n| client.send("run", params(n))).collect();
                        let half = json!({"jsonrpc": "2.0", "id": 77_000 + round, "method": "run", "params": params(4)})
                            .to_string() + "\n";
                        let (begin, end) = half.split_at(half.len() / 2);
                        client.send_raw(begin.as_bytes()).unwrap();
                        for id in ids {
                            let status = client.receive(id).unwrap();
                            assert_eq!(
                                (&status["state"], &status["exit_code"]),
                                (&json!("exited"), &json!(0)),
                                "{status}"
                            );
                        }
                        client.send_raw(end.as_bytes()).unwrap();
                        assert_eq!(client.receive(77_000 + round).unwrap()["exit_code"], 0);
                    }
                })
            })
            .collect();
        let mut upgrades = 0;
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            upgrade(&daemon);
            // A new connection is never refused either.
            Client::unix(&daemon.socket()).unwrap().ok("ping", json!({}));
            upgrades += 1;
        }
        assert!(upgrades > 3, "{upgrades} upgrades");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let mut lines: Vec<String> = std::fs::read_to_string(&ran).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4 * 40 * 5);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 4 * 40 * 5, "each has run once");
}

#[test]
fn what_somebody_waits_for_is_handed_over() {
    let daemon = ticking().start();
    let mut follower = daemon.client();
    follower.ok("apps.logs", json!({"target": "tick", "lines": 0, "follow": true}));
    let mut listener = daemon.client();
    listener.ok("events.subscribe", json!({"kinds": ["run"]}));
    let mut old = daemon.client();
    old.send_line("check {\"hash\":12}");
    old.line();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 800}), "r");
    let timed = client.send("wait", json!({"id": "r", "timeout": "300ms"}));
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "wait", "params": {"id": "r"}},
        {"jsonrpc": "2.0", "id": 2, "method": "ping"}]);
    let mut batched = daemon.client();
    batched.send_line(&batch.to_string());
    listener.line();
    upgrade(&daemon);
    assert_eq!(client.receive(timed).unwrap()["state"], "running", "its timeout is where it was");
    let answers = batched.line();
    assert_eq!(
        (&answers[0]["result"]["exit_code"], &answers[1]["result"]["version"]),
        (&json!(0), &json!(env!("CARGO_PKG_VERSION")))
    );
    let event = listener.line();
    assert_eq!((&event["method"], &event["params"]["state"]), (&json!("event"), &json!("exited")));
    let numbers: Vec<u64> =
        (0..12).map(|_| follower.line()["params"]["text"].as_str().unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[test]
fn a_process_file_that_is_broken_meanwhile_decides_over_nothing() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    std::fs::write(daemon.path().join("app.json"), "{ this is being edited").unwrap();
    upgrade(&daemon);
    super::masters::kill(&daemon, daemon.master());
    assert_eq!(daemon.client().run("exit", json!({"code": 9}))["exit_code"], 9);
}
