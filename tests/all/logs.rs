//! Logs: what is in the files, rotation, followers fast and slow, files that others rename or that are emptied.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, machine, processes};

const BOOT: &str = r#"
import os, sys, time
PAD = "x" * 90
def lines(params):
    for n in range(params["from"], params["to"]):
        sys.stdout.write(f"line {n} {PAD}\n")
    sys.stdout.flush()
def say(params):
    sys.stdout.write(params.get("out", "")); sys.stderr.write(params.get("err", ""))
def slowly(params):
    for n in range(params["count"]):
        os.write(1, b"line %d\n" % n); time.sleep(params["pause"])
"#;

pub fn logging() -> Daemon {
    Setup::app("python", &[("boot.py", BOOT)], json!({"preload": "app/boot.py", "output": "log", "idle": 1})).start()
}

fn file(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.dir().join("logs").join(name)
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

pub fn say(client: &mut Client, out: &str, err: &str) {
    let ended = client.run("boot:say", json!({"out": out, "err": err}));
    assert_eq!(ended["exit_code"], 0, "{ended}");
}

fn lines(client: &mut Client, from: u64, to: u64) {
    let ended = client.run("boot:lines", json!({"from": from, "to": to}));
    assert_eq!(ended["exit_code"], 0, "{ended}");
}

/// The number in `line N xxx`.
fn number(line: &str) -> u64 {
    line.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no such line: {line:.80}"))
}

/// All numbers in the rotated files and the file itself, oldest first.
fn numbers(path: &Path) -> Vec<u64> {
    let mut all = Vec::new();
    for n in (1..=5).rev() {
        let plain = fs::read(format!("{}.{n}", path.display()));
        let bytes = plain.or_else(|_| {
            let mut bytes = Vec::new();
            let packed = fs::File::open(format!("{}.{n}.gz", path.display()))?;
            flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).map(|_| bytes)
        });
        all.extend(String::from_utf8(bytes.unwrap_or_default()).unwrap().lines().map(number));
    }
    all.extend(text(path).lines().map(number));
    all
}

#[test]
fn what_a_run_wrote_is_in_the_file_when_its_end_is_told() {
    let daemon = logging();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut client = daemon.client();
                for n in 0..100 {
                    let line = format!("run {n} of {writer}\n");
                    say(&mut client, &line, &line);
                    for name in ["app-out.log", "app-error.log"] {
                        assert!(text(&file(daemon, name)).contains(&line), "{line}");
                    }
                }
            });
        }
    });
}

#[test]
fn files_rotate_and_followers_miss_nothing() {
    let daemon = logging();
    let mut client = daemon.client();
    let mut follower = daemon.client();
    say(&mut client, "line 0 first\n", "");
    let answer = follower.ok("apps.logs", json!({"target": "app", "follow": true, "stream": "out"}));
    assert_eq!(answer["lines"][0]["text"], "line 0 first");
    assert_eq!(answer["lines"][0]["at"], Value::Null);
    let total = 250_000;
    // In portions of less than what may wait for a reader: what happens to a slower one is another test's.
    for from in (1..total).step_by(500) {
        let to = (from + 500).min(total);
        lines(&mut client, from, to);
        for n in from..to {
            let notification = follower.line();
            assert_eq!(notification["method"], "log", "{notification}");
            let line = &notification["params"];
            assert_eq!((&line["name"], &line["worker"], &line["stream"]), (&json!("app"), &Value::Null, &json!("out")));
            assert!(line["at"].is_string());
            assert_eq!(number(line["text"].as_str().unwrap()), n);
        }
    }
    let path = file(&daemon, "app-out.log");
    eventually("the older files are compressed", || {
        let there = |end: &str| Path::new(&format!("{}{end}", path.display())).exists();
        (there(".1") && there(".2.gz") && !there(".2") && !there(".2.gz.tmp")).then_some(())
    });
    assert!(fs::metadata(format!("{}.1", path.display())).unwrap().len() <= 10_000_000);
    assert!(numbers(&path).into_iter().eq(0..total));
    let last = client.ok("apps.logs", json!({"target": "app", "lines": 3, "stream": "out"}));
    let last: Vec<u64> =
        last["lines"].as_array().unwrap().iter().map(|l| number(l["text"].as_str().unwrap())).collect();
    assert_eq!(last, [total - 3, total - 2, total - 1]);
}

#[test]
fn a_slow_reader_is_told_what_it_missed_and_holds_nobody_up() {
    let daemon = logging();
    let mut client = daemon.client();
    let mut slow = daemon.client();
    slow.ok("apps.logs", json!({"follow": true, "lines": 0}));
    let before = processes::status_number(daemon.master(), "VmRSS").unwrap();
    let total = 100_000;
    for from in (0..total).step_by(10_000) {
        lines(&mut client, from, from + 10_000);
    }
    let after = processes::status_number(daemon.master(), "VmRSS").unwrap();
    assert!(after < before + 8 * 1024, "{before} kB, then {after} kB");
    assert!(numbers(&file(&daemon, "app-out.log")).into_iter().eq(0..total));
    let (mut next, mut gaps) = (0, 0);
    while next < total {
        let notification = slow.line();
        match notification["method"].as_str() {
            Some("gap") => {
                gaps += 1;
                next += notification["params"]["lost"].as_u64().unwrap();
            }
            _ => {
                assert_eq!(number(notification["params"]["text"].as_str().unwrap()), next);
                next += 1;
            }
        }
    }
    assert!(gaps > 0 && next == total, "{gaps} gaps, {next}");
    say(&mut client, "line 7 again\n", "");
    assert_eq!(slow.line()["params"]["text"], "line 7 again");
}

#[test]
fn emptied_and_opened_anew() {
    let daemon = logging();
    let mut client = daemon.client();
    let (out, err) = (file(&daemon, "app-out.log"), file(&daemon, "app-error.log"));
    say(&mut client, "one\n", "bad\n");
    assert_eq!(client.ok("apps.flush", json!({"target": "app"})), json!({"files": 2}));
    assert_eq!((text(&out), text(&err)), (String::new(), String::new()));
    say(&mut client, "two\n", "");
    assert_eq!(text(&out), "two\n");
    let aside = daemon.path().join("aside");
    fs::rename(&out, &aside).unwrap();
    say(&mut client, "three\n", "");
    assert_eq!(client.ok("apps.reopen", json!({})), json!({"files": 2}));
    say(&mut client, "four\n", "");
    assert_eq!((text(&aside), text(&out)), ("two\nthree\n".into(), "four\n".into()));
    fs::rename(&out, &aside).unwrap();
    processes::send(daemon.pid(), Signal::SIGUSR1);
    eventually("the file is there again", || out.exists().then_some(()));
    say(&mut client, "five\n", "");
    assert_eq!((text(&aside), text(&out)), ("four\n".into(), "five\n".into()));
    let refusal = client.refused("apps.flush", json!({"target": ["nobody", 7]}));
    assert_eq!(refusal.kind, "pool_not_found");
    assert!(refusal.message.contains("nobody, 7"), "{refusal:?}");
    assert_eq!(client.refused("apps.logs", json!({"target": "/(/"})).kind, "invalid_params");
}

#[test]
fn output_goes_on_while_masters_are_killed_and_after_the_run() {
    let daemon = logging();
    let mut client = daemon.client();
    client.start("boot:slowly", json!({"count": 300, "pause": 0.005}), "slow");
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let master = daemon.master();
        processes::send(master, Signal::SIGKILL);
        eventually("another master answers", || {
            let info = Client::unix(&daemon.socket()).ok()?.call("info", json!({})).ok()?;
            (info["master_pid"] != master).then_some(())
        });
    }
    let mut client = daemon.client();
    assert_eq!(client.wait("slow")["exit_code"], 0);
    assert!(numbers(&file(&daemon, "app-out.log")).into_iter().eq(0..300), "{}", text(&file(&daemon, "app-out.log")));
}

#[test]
fn fault_23_what_a_grandchild_writes_after_its_run_is_logged_still() {
    let daemon = Setup::native(json!({"output": "log"})).start();
    let mut client = daemon.client();
    client.run("shell", json!({"script": "echo line 0; (sleep 1; echo line 1) & exit 0"}));
    let path = file(&daemon, "fixture-out.log");
    assert_eq!(text(&path), "line 0\n");
    eventually("the grandchild's line is there", || (text(&path) == "line 0\nline 1\n").then_some(()));
}

#[test]
fn another_user_may_open_its_standard_streams_by_name() {
    if !machine::is_root() {
        return machine::skipped("another_user_may_open_its_standard_streams_by_name", "needs root");
    }
    let job = "def say(params):\n    for n in (1, 2): print(f'line {n}', file=open(f'/proc/self/fd/{n}', 'w'))\n";
    let keys = json!({"user": "nobody", "interpreter": ["/usr/bin/python3"], "output": "log"});
    let setup = Setup::app("python", &[("job.py", job)], keys);
    fs::set_permissions(setup.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = setup.start();
    let ended = daemon.client().run("job:say", json!(null));
    assert_eq!(ended["exit_code"], 0, "{ended}");
    assert_eq!(text(&file(&daemon, "app-out.log")), "line 1\n");
    assert_eq!(text(&file(&daemon, "app-error.log")), "line 2\n");
}

#[test]
fn events_are_told_to_who_asked_for_them() {
    let daemon = logging();
    let (mut client, mut all, mut pools) = (daemon.client(), daemon.client(), daemon.client());
    assert_eq!(all.ok("events.subscribe", json!({})), json!({"subscribed": true}));
    pools.ok("events.subscribe", json!({"kinds": ["pool"], "target": "app"}));
    assert_eq!(client.refused("events.subscribe", json!({"kinds": ["rnu"]})).kind, "invalid_params");
    let run = client.ok("run", json!({"entry": "boot:say", "params": {}, "id": "r1", "wait": true}));
    let states: Vec<(Value, Value, Value)> = (0..2)
        .map(|_| all.line()["params"].take())
        .map(|mut e| (e["run"].take(), e["state"].take(), e["pid"].take()))
        .collect();
    let expected = |state: &str| (json!("r1"), json!(state), run["pid"].clone());
    assert_eq!(states, [expected("running"), expected("exited")]);
    client.ok("reload", json!({"name": "app"}));
    let event = pools.line();
    assert_eq!(
        (&event["method"], &event["params"]["kind"], &event["params"]["state"]),
        (&json!("event"), &json!("pool"), &json!("ready"))
    );
}
