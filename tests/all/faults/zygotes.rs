//! Zygotes that die, hang, or never get ready.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Setup, eventually, processes, within};

/// Not before it has stopped: until then it may still take an order.
fn stop(pid: u32) {
    processes::send(pid, Signal::SIGSTOP);
    eventually("it is stopped", || (processes::state(pid) == Some('T')).then_some(()));
}

#[test]
fn fault_03_runs_outlive_their_killed_zygote_and_what_had_not_started_goes_to_the_next() {
    for idle in [0, 2] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.client();
        for n in 0..4 {
            client.start("sleep", json!({"ms": 1500 + n * 100}), &format!("alive-{n}"));
        }
        client.start("sleep", json!({"ms": 60_000}), "killed");
        let zygote = daemon.zygote();
        // While it is stopped, orders pile up that it never took.
        stop(zygote);
        let mark = daemon.path().join("mark");
        let calls: Vec<u64> = (0..10)
            .map(|n| {
                let script = format!("echo {n} >> {}", mark.display());
                client.send(
                    "run",
                    json!({"entry": "shell", "params": {"script": script}, "id": format!("r{n}"), "wait": true}),
                )
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        processes::send(zygote, Signal::SIGKILL);
        for call in calls {
            let ended = client.receive(call).unwrap();
            assert_eq!((&ended["state"], &ended["exit_code"]), (&json!("exited"), &json!(0)), "{ended}");
        }
        let mut lines: Vec<u32> = fs::read_to_string(&mark).unwrap().lines().map(|l| l.parse().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, (0..10).collect::<Vec<u32>>(), "each exactly once");
        let pool = client.pool("fixture");
        assert_eq!((&pool["generation"], &pool["state"]), (&json!(2), &json!("ready")));
        assert_ne!(pool["zygote_pid"], json!(zygote));
        client.ok("kill", json!({"id": "killed", "signal": "USR1"}));
        assert_eq!(client.wait("killed")["signal"], 10);
        for n in 0..4 {
            let ended = client.wait(&format!("alive-{n}"));
            assert_eq!((&ended["exit_code"], &ended["generation"]), (&json!(0), &json!(1)));
        }
    }
}

#[test]
fn fault_03_a_zygote_killed_again_and_again_under_load_loses_no_run() {
    let daemon = Setup::native(json!({"idle": 2, "max_running": 8})).start();
    let mut client = daemon.client();
    let mut admin = daemon.client();
    let calls: Vec<u64> = (0..300)
        .map(|n| {
            client
                .send("run", json!({"entry": "exit", "params": {"code": n % 256}, "id": format!("k{n}"), "wait": true}))
        })
        .collect();
    for _ in 0..5 {
        let zygote = eventually("there is a zygote", || admin.pool("fixture")["zygote_pid"].as_u64());
        processes::send(zygote as u32, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(60));
    }
    let mut lost = 0;
    for (n, call) in calls.into_iter().enumerate() {
        match client.receive(call) {
            Ok(ended) => assert_eq!(
                (&ended["state"], &ended["exit_code"], &ended["signal"]),
                (&json!("exited"), &json!(n % 256), &Value::Null),
                "{ended}"
            ),
            // An order that the dying zygote had taken and not obeyed: it did not run, and says so.
            Err(refusal) if refusal.kind == "pool_unavailable" => {}
            Err(refusal) => {
                assert_eq!(refusal.kind, "start_failed", "{refusal:?}");
                lost += 1;
            }
        }
    }
    assert!(lost <= 5, "at most the one order that each zygote had in its hands: {lost}");
    let ended =
        eventually("there is a zygote again", || admin.call("run", json!({"entry": "noop", "wait": true})).ok());
    assert_eq!(ended["exit_code"], 0);
}

#[test]
fn fault_03_an_idle_child_of_the_next_zygote_that_is_stopped_with_its_request_runs_it_and_nobody_else_does() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let (mut client, first) = (daemon.client(), daemon.zygote());
    stop(first);
    // The idle child takes this, and the order for the next one is left to the next zygote.
    client.start("sleep", json!({"ms": 60_000}), "long");
    processes::send(first, Signal::SIGKILL);
    eventually("the next zygote is ready", || (client.pool("fixture")["generation"] == 2).then_some(()));
    let idle = eventually("its idle child is there", || {
        processes::descendants(daemon.pid()).into_iter().find(|p| processes::title(p.pid) == "preforkd: fixture idle")
    });
    stop(idle.pid);
    let mark = daemon.path().join("mark");
    let script = format!("echo $PPID >> {}", mark.display());
    let call = json!({"entry": "shell", "params": {"script": script}, "id": "slow", "wait": true});
    let call = client.send("run", call);
    // Longer than it takes until those that have not started are looked after.
    std::thread::sleep(Duration::from_millis(2500));
    idle.signal(Signal::SIGCONT);
    let ended = client.receive(call).unwrap();
    assert_eq!((&ended["exit_code"], &ended["pid"]), (&json!(0), &json!(idle.pid)), "{ended}");
    assert_eq!(fs::read_to_string(&mark).unwrap(), format!("{}\n", idle.pid), "once");
}

#[test]
fn fault_04_a_stopped_zygote_is_replaced_and_others_are_served_meanwhile() {
    let other = json!({"name": "other", "runtime": "native", "command": [crate::house::native()], "output": "none"});
    let daemon = Setup::native(json!({"default": true})).pool(other, json!({})).start();
    let mut client = daemon.client();
    let zygote = client.pool("fixture")["zygote_pid"].as_u64().unwrap() as u32;
    stop(zygote);
    let started = Instant::now();
    let hung = client.send("run", json!({"entry": "echo", "params": 5, "id": "hung", "wait": true}));
    let mut slowest = Duration::ZERO;
    let mut others = daemon.tcp();
    while client.pool("fixture")["generation"] == 1 {
        assert!(started.elapsed() < Duration::from_secs(13), "it was not replaced");
        let asked = Instant::now();
        assert_eq!(others.ok("run", json!({"pool": "other", "entry": "noop", "wait": true}))["exit_code"], 0);
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(slowest < Duration::from_secs(1), "others waited {slowest:?}");
    let ended = client.receive(hung).unwrap();
    assert_eq!((&ended["result"], &ended["generation"]), (&json!(5), &json!(2)));
    assert!(!processes::alive(zygote));
}

#[test]
fn fault_04_a_preload_that_hangs_is_killed_and_run_says_why() {
    let other = json!({"name": "other", "runtime": "native", "command": [crate::house::native()], "output": "none"});
    let daemon = Setup::native(
        json!({"default": true, "preload_timeout": "600ms", "env": {"PREFORKD_FIXTURE_PRELOAD": "hang"}}),
    )
    .pool(other, json!({}))
    .start();
    let mut client = daemon.client();
    let pool = client.pool("fixture");
    assert!(pool["error"].as_str().is_some_and(|e| e.contains("600")), "the error names the limit: {pool}");
    let refusal = client.refused("run", json!({"entry": "noop"}));
    assert_eq!((refusal.code, refusal.kind.as_str()), (-32006, "pool_unavailable"));
    assert!(refusal.message.contains("preload"), "{}", refusal.message);
    assert_eq!(client.ok("run", json!({"pool": "other", "entry": "noop", "wait": true}))["exit_code"], 0);
    let left = processes::descendants(daemon.pid()).len();
    assert!(left <= 3, "master, the other's zygote, and one that is being tried at most: {left}");
}

#[test]
fn fault_04_a_preload_that_always_fails_backs_off_and_halts_until_a_reload() {
    let app = "import os\nopen(os.path.dirname(__file__) + '/tries', 'a').write('x')\nif not os.path.exists(os.path.dirname(__file__) + '/good'): raise RuntimeError('database is down')\ndef ok(params): return 1\n";
    let daemon = Setup::app("python", &[("boot.py", app)], json!({"preload": "app/boot.py"})).start();
    let mut client = daemon.client();
    let tries = || fs::read_to_string(daemon.path().join("app/tries")).unwrap().len();
    let refusal = client.refused("run", json!({"entry": "boot:ok"}));
    assert!(refusal.kind == "pool_unavailable" && refusal.message.contains("database is down"), "{refusal:?}");
    let master = daemon.master();
    let (cpu, before) = (processes::cpu_ms(master), tries());
    std::thread::sleep(Duration::from_secs(4));
    let made = tries() - before;
    assert!(made <= 6, "the pauses grow: {made} tries in 4 s");
    assert!(processes::cpu_ms(master) - cpu < 400, "it does not spin");
    assert_eq!(client.pool("app")["state"], "backoff");
    fs::write(daemon.path().join("app/good"), "").unwrap();
    let reloaded = client.ok("reload", json!({"name": "app"}));
    assert_eq!((&reloaded["state"], &reloaded["error"]), (&json!("ready"), &Value::Null));
    assert_eq!(client.run("boot:ok", json!(null))["result"], 1);
}

#[test]
fn fault_04_a_program_that_is_no_zygote_is_told() {
    for (command, part) in [(json!(["true"]), "exit"), (json!(["sh", "-c", "kill -9 $$"]), "SIGKILL")] {
        let pool = json!({"name": "fixture", "runtime": "native", "command": command, "output": "none"});
        let setup = Setup::empty().pool(pool, json!({}));
        let daemon = setup.start();
        let refusal = daemon.client().refused("run", json!({"entry": "noop"}));
        assert_eq!(refusal.kind, "pool_unavailable");
        assert!(refusal.message.contains(part), "{command}: {}", refusal.message);
    }
}

#[test]
fn idle_children_that_are_killed_are_replaced() {
    let daemon = Setup::native(json!({"idle": 3})).start();
    let mut client = daemon.client();
    let idle = || -> Vec<u32> {
        let all = processes::descendants(daemon.pid());
        all.iter().map(|p| p.pid).filter(|pid| processes::title(*pid).ends_with(" idle")).collect()
    };
    for round in 0..5 {
        let found = within(Duration::from_secs(5), "three idle children", || Some(idle()).filter(|i| i.len() == 3));
        found.iter().for_each(|pid| processes::send(*pid, Signal::SIGKILL));
        // The one that was about to take it is gone: another one does, or the client is told that it did not start.
        match client.call("run", json!({"entry": "echo", "params": round, "wait": true})) {
            Ok(ended) => assert_eq!(ended["result"], round, "{ended}"),
            Err(refusal) => assert_eq!(refusal.kind, "start_failed", "{refusal:?}"),
        }
        assert_eq!(client.run("echo", json!(round))["result"], round);
    }
    assert_eq!(client.pool("fixture")["generation"], 1);
}
