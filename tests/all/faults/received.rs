//! Masters that are killed when they have received something and done nothing, or not all, about it yet.

use std::time::Duration;

use serde_json::json;

use super::masters::answering;
use crate::house::{Setup, eventually};

#[test]
fn fault_01_a_master_that_is_killed_when_it_has_read_a_result_leaves_it_to_the_next() {
    let setup = Setup::native(json!({"idle": 0}));
    let faults = setup.path().join("faults");
    std::fs::create_dir(&faults).unwrap();
    let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
    let large = format!("for i in $(seq 3); do sleep 0.1; done; echo done > {}", daemon.path().join("done").display());
    // In the message; an error; too large for a message, so that it comes as a descriptor, which a dead master takes along.
    for (id, entry, params) in [
        ("small", "shell", json!({"script": "sleep 0.3; exit 7"})),
        ("error", "shell_and_fail", json!({"script": "sleep 0.3"})),
        ("large", "shell_and_say", json!({"script": large, "bytes": 200_000})),
    ] {
        let mut client = daemon.client();
        client.start(entry, params, id);
        let (master, step) = (daemon.master(), faults.join("replies-read"));
        std::fs::write(&step, "9").unwrap();
        eventually("the master has been killed there", || (!step.exists()).then_some(()));
        let mut client = answering(&daemon);
        assert_ne!(client.ok("info", json!({}))["master_pid"], master);
        let status = client.wait(id);
        assert_eq!(status["exit_code"], if id == "error" { 255 } else { 0 }, "{status}");
        match id {
            "small" => assert_eq!(status["result"], 7, "{status}"),
            "error" => assert_eq!(status["error"]["message"], "it was asked to fail", "{status}"),
            _ => assert_eq!(status["error"]["class"], "ResultLost", "{status}"),
        }
    }
}

/// A worker that writes numbered lines in two pieces, some time apart.
const SLOW: &str =
    "n=0\nwhile :; do n=$((n+1)); printf \"line $n\"; sleep 0.01; printf \" ends\\n\"; sleep 0.01; done\n";
/// One that writes as much as it can.
const FAST: &str = "i=0\nwhile :; do seq -f 'line %.0f ends' $((i+1)) $((i+500)); i=$((i+500)); sleep 0.02; done\n";

#[test]
fn fault_01_a_master_that_is_killed_when_it_has_read_output_leaves_it_to_the_next() {
    let each = [
        ("plain", json!({"max_log_size": false})),
        ("date", json!({"log_date_format": "%Y", "max_log_size": false})),
        ("json", json!({"log_type": "json", "max_log_size": false})),
        ("rotated", json!({"max_log_size": "20K", "max_log_files": 1000, "compress_logs": false})),
    ];
    let mut setup = Setup::empty().file("slow.sh", SLOW).file("fast.sh", FAST);
    let faults = setup.path().join("faults");
    std::fs::create_dir(&faults).unwrap();
    for (form, keys) in &each {
        for script in ["slow", "fast"] {
            let mut app = json!({"name": format!("{script}-{form}"), "script": format!("{script}.sh"), "interpreter": "bash",
                                 "out_file": format!("{script}-{form}.log")});
            app.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            setup = setup.worker(app);
        }
    }
    let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
    for round in 0..3 {
        for step in ["output-read", "output-writing", "output-written", "output-noted"] {
            let file = faults.join(step);
            // A master that lives for a second is followed at once.
            std::thread::sleep(Duration::from_millis(1050));
            std::fs::write(&file, "9").unwrap();
            eventually("the master has been killed there", || (!file.exists()).then_some(()));
            let info = answering(&daemon).ok("info", json!({}));
            assert!(info["master_pid"].is_number(), "{round} {step}");
        }
    }
    let mut client = answering(&daemon);
    client.ok("apps.stop", json!({"target": "all"}));
    for (form, _) in &each {
        for script in ["slow", "fast"] {
            let name = format!("{script}-{form}.log");
            let mut text = String::new();
            // The oldest has the highest number.
            let aside: Vec<_> =
                (1..).map(|n| daemon.path().join(format!("{name}.{n}"))).take_while(|p| p.exists()).collect();
            for path in aside.iter().rev().chain([&daemon.path().join(&name)]) {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
            assert!(*form != "rotated" || script == "slow" || aside.len() > 3);
            lines_are_whole(&name, form, &text);
        }
    }
}

/// Each number once, in order, and the form's.
fn lines_are_whole(name: &str, form: &str, text: &str) {
    let mut expected = 0;
    for (at, line) in text.lines().enumerate() {
        let message = match form {
            "json" => {
                let line: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
                line["message"].as_str().unwrap_or_else(|| panic!("{name}: {line}")).to_owned()
            }
            "date" => {
                line.strip_prefix("2026: ").or(line.split_once(": ").map(|(_, rest)| rest)).unwrap_or(line).to_owned()
            }
            _ => line.to_owned(),
        };
        let number = message.strip_prefix("line ").and_then(|rest| rest.strip_suffix(" ends"));
        let Some(number) = number else {
            // The worker was stopped in the middle of it.
            assert!(
                at + 1 == text.lines().count() && message.starts_with("line"),
                "{name}: after {expected}: {line:?}"
            );
            break;
        };
        expected += 1;
        assert_eq!(number, expected.to_string(), "{name}: {line:?}");
    }
    assert!(expected > 50, "{name}: {expected}");
}

#[test]
fn fault_01_captured_output_is_whole_whenever_masters_are_killed() {
    let setup = Setup::native(json!({"idle": 0, "output": "capture"}));
    let faults = setup.path().join("faults");
    std::fs::create_dir(&faults).unwrap();
    let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
    let go = daemon.path().join("go");
    let wait = |name: &str| format!("while ! [ -e {}-{name} ]; do sleep 0.02; done", go.display());
    // Little, now and then, until it is told to end; and more than a pipe or a status holds.
    let (a, b, c) = (wait("a"), wait("b"), wait("c"));
    let little = format!("echo one; {a}; echo two; {b}; echo error >&2; {c}; exit 3");
    let much = format!("seq 20000; {a}; seq 20001 40000; {b}; seq 40001 60000; {c}; echo end");
    let mut client = daemon.client();
    assert_eq!(client.run("print", json!({"stdout": "x"}))["stdout"], "x");
    client.start("shell", json!({"script": little}), "little");
    client.start("shell", json!({"script": much}), "much");
    for (step, then) in [("capture-read", "a"), ("capture-read", "b"), ("ended", "c")] {
        std::thread::sleep(Duration::from_millis(1050));
        let file = faults.join(step);
        std::fs::write(&file, "9").unwrap();
        std::fs::write(daemon.path().join(format!("go-{then}")), "").unwrap();
        if step == "ended" {
            // Killed when the table says that it has ended, and the journal does not.
            answering(&daemon).send("run", json!({"entry": "print", "params": {"stdout": "last"}, "id": "last"}));
        }
        eventually("the master has been killed there", || (!file.exists()).then_some(()));
        answering(&daemon).ok("ping", json!({}));
    }
    let mut client = answering(&daemon);
    let little = client.wait("little");
    assert_eq!((&little["stdout"], &little["stderr"]), (&json!("one\ntwo\n"), &json!("error\n")), "{little}");
    assert_eq!(little["result"], 3);
    let much = client.wait("much");
    let all: String = (1..=60_000).map(|n| format!("{n}\n")).chain(["end\n".to_owned()]).collect();
    assert!(much["stdout"] == all[all.len() - 64 * 1024..], "{}", much["stdout"].as_str().unwrap().len());
    let last = client.wait("last");
    assert_eq!((&last["stdout"], &last["exit_code"]), (&json!("last"), &json!(0)), "{last}");
    // The keeper keeps nothing of them.
    let kept = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        names.filter(|name| name.to_string_lossy().contains("memfd:tail")).count()
    };
    eventually("the keeper has let go of what was captured", || (kept() == 0).then_some(()));
}

#[test]
fn fault_02_a_first_master_that_dies_before_its_list_is_written_leaves_its_apps_to_the_next() {
    let setup = Setup::empty()
        .file("a.sh", "echo started >> starts; sleep 60 & wait\n")
        .worker(json!({"name": "a", "script": "a.sh", "interpreter": "bash"}));
    let faults = setup.path().join("faults");
    std::fs::create_dir(&faults).unwrap();
    std::fs::write(faults.join("new-ready"), "9").unwrap();
    let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
    assert!(!faults.join("new-ready").exists());
    let mut client = answering(&daemon);
    let starts = daemon.path().join("starts");
    eventually("it has started", || std::fs::read_to_string(&starts).ok().filter(|text| !text.is_empty()));
    let worker = client.worker("a", 0);
    // Once it is in the list, that is where the next one has it from: a deleted one does not come again.
    client.ok("apps.delete", json!({"target": "a"}));
    std::thread::sleep(Duration::from_millis(1050));
    let master = daemon.master();
    super::masters::kill(&daemon, master);
    let list = daemon.client().ok("apps.list", json!({}));
    assert!(list.to_string().contains("\"workers\":[]"), "{worker} {list}");
    assert_eq!(std::fs::read_to_string(&starts).unwrap(), "started\n");
}

#[test]
fn fault_01_what_a_freed_run_left_is_not_the_next_one_s_of_the_same_id() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let mut client = daemon.client();
    let echo = json!({"entry": "echo", "params": {"secret": 1}, "id": "job", "wait": true});
    assert_eq!(client.ok("run", echo)["result"]["secret"], 1);
    client.ok("free", json!({"id": "job"}));
    let ended = client.ok("run", json!({"entry": "exit", "params": {"code": 4}, "id": "job", "wait": true}));
    assert_eq!((&ended["exit_code"], &ended["result"]), (&json!(4), &json!(null)));
    for _ in 0..2 {
        super::masters::kill(&daemon, daemon.master());
        assert_eq!(daemon.client().ok("status", json!({"id": "job"})), ended);
    }
}
