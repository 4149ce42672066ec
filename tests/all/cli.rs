//! The program at the command line: every subcommand, its exit code, and JSON alone on stdout.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::house::{Daemon, Setup, eventually, machine, preforkd, processes};

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The exit code, whatever was printed.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {output:?}"))
}

/// One JSON document and nothing else.
pub fn document(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("stdout is not one JSON document ({e}): {text}\n{}", stderr(output)))
}

pub fn captured() -> Daemon {
    Setup::native(json!({"output": "capture"})).start()
}

#[test]
fn run_with_wait_ends_as_the_run_did() {
    let daemon = captured();
    for (entry, params, expected) in [
        ("exit", json!({"code": 0}), 0),
        ("exit", json!({"code": 3}), 3),
        ("exit", json!({"code": 255}), 255),
        ("exit", json!({"code": 137}), 137),
        ("signal", json!({"signal": 9}), 137),
        ("signal", json!({"signal": 15}), 143),
        ("signal", json!({"signal": 64}), 192),
        ("fail", json!(null), 255),
    ] {
        for json_too in [false, true] {
            let params = params.to_string();
            let mut words = vec!["run", "fixture", entry, "--params", &params, "--wait"];
            words.extend(json_too.then_some("--json"));
            let output = daemon.cli(&words);
            assert_eq!(code(&output), expected, "{entry} {params}: {output:?}");
            if json_too {
                assert_eq!(document(&output)["state"], "exited");
            }
        }
    }
    let output = daemon.cli(&["run", "fixture", "signal", "--params", "{\"signal\":9}", "--wait"]);
    assert!(stderr(&output).contains("SIGKILL"), "{output:?}");
    let output = daemon.cli(&["run", "fixture", "nothing", "--wait"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("nothing") && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn run_takes_params_args_environment_and_input_in_every_way() {
    let daemon = captured();
    std::fs::write(daemon.path().join("params.json"), "{\"from\": \"file\"}").unwrap();
    let output = daemon.cli(&["run", "fixture", "echo", "--params", "@params.json", "--wait"]);
    assert_eq!(stdout(&output).trim(), "{\"from\":\"file\"}", "{output:?}");
    let mut command = Command::new(preforkd());
    command.args(["run", "fixture", "echo", "--params", "-", "--wait"]).env("PREFORKD_DIR", daemon.dir());
    assert_eq!(stdout(&machine::run_with(&mut command, "[1, \"ü\"]".as_bytes())).trim(), "[1,\"ü\"]");
    let mut command = Command::new(preforkd());
    command.args(["run", "fixture", "stdin", "--stdin", "-", "--wait"]).env("PREFORKD_DIR", daemon.dir());
    assert_eq!(stdout(&machine::run_with(&mut command, b"piped")).trim(), "\"piped\"");
    let output = daemon.cli(&["run", "fixture", "args", "--wait", "--", "a", "--wait", ""]);
    assert_eq!(stdout(&output).trim(), "[\"a\",\"--wait\",\"\"]");
    let output = daemon.cli(&["run", "fixture", "env", "--params", "{\"name\":\"K\"}", "--env", "K=v=1 ü", "--wait"]);
    assert_eq!(stdout(&output).trim(), "\"v=1 ü\"");
    let output =
        daemon.cli(&["run", "fixture", "print", "--params", "{\"stdout\":\"out\\n\",\"stderr\":\"err\\n\"}", "--wait"]);
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("out\n", "err\n"));
    let output = daemon.cli(&["run", "fixture", "sleep", "--params", "{\"ms\":60000}", "--timeout", "300ms", "--wait"]);
    assert_eq!(code(&output), 143);
    assert!(stderr(&output).contains("timeout"), "{output:?}");
}

#[test]
fn a_run_is_started_looked_at_killed_waited_for_and_freed() {
    let daemon = captured();
    let output = daemon.cli(&["run", "fixture", "sleep", "--params", "{\"ms\":60000}", "--id", "job-1"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "job-1\n"));
    let again = daemon.cli(&["run", "fixture", "noop", "--id", "job-1"]);
    assert_eq!((code(&again), stdout(&again).as_str()), (0, "job-1\n"));
    assert!(stderr(&again).contains("job-1"), "it says that nothing was started: {again:?}");
    let status = daemon.cli(&["status", "job-1"]);
    assert!(code(&status) == 0 && stdout(&status).contains("running"), "{status:?}");
    assert_eq!(document(&daemon.cli(&["status", "job-1", "--json"]))["state"], "running");
    assert_eq!(code(&daemon.cli(&["free", "job-1"])), 1);
    assert_eq!(code(&daemon.cli(&["kill", "job-1", "--signal", "USR1", "--grace", "5s"])), 0);
    let waited = daemon.cli(&["wait", "job-1", "--json"]);
    assert_eq!(document(&waited)["signal"], 10);
    assert_eq!(code(&daemon.cli(&["kill", "job-1"])), 1);
    assert_eq!(code(&daemon.cli(&["free", "job-1"])), 0);
    let gone = daemon.cli(&["status", "job-1"]);
    assert!(code(&gone) == 1 && gone.stdout.is_empty() && stderr(&gone).contains("job-1"), "{gone:?}");
    assert_eq!(document(&daemon.cli(&["status", "job-1", "--json"]))["error"]["kind"], "run_not_found");
}

#[test]
fn listings_are_tables_and_json_is_what_the_daemon_said() {
    let daemon = captured();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "alive");
    client.ok("run", json!({"entry": "exit", "params": {"code": 4}, "id": "ended", "wait": true}));
    for (words, parts) in [
        (vec!["pools"], vec!["fixture", "ready"]),
        (vec!["list"], vec!["fixture", "alive", "ended"]),
        (vec!["status"], vec!["fixture", "alive", "ended"]),
        (vec!["runs"], vec!["alive", "ended", "running", "4"]),
        (vec!["runs", "--state", "running", "--pool", "fixture"], vec!["alive"]),
        (vec!["info"], vec!["keeper", "master"]),
        (vec!["ping"], vec![env!("CARGO_PKG_VERSION")]),
        (vec!["table"], vec!["alive", "ended", "fixture"]),
    ] {
        let output = daemon.cli(&words);
        assert_eq!(code(&output), 0, "{words:?}: {output:?}");
        for part in parts {
            assert!(stdout(&output).contains(part), "{words:?}: {part} in\n{}", stdout(&output));
        }
        assert!(!stdout(&output).contains('\u{1b}'), "no colour in a pipe");
        let mut with = words.clone();
        with.push("--json");
        let output = daemon.cli(&with);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{with:?}");
        assert!(document(&output).is_object(), "{with:?}");
    }
    assert_eq!(document(&daemon.cli(&["info", "--json"]))["keeper_pid"], daemon.pid());
    assert_eq!(document(&daemon.cli(&["pools", "--json"])), client.ok("pools", json!({})));
    let reloaded = daemon.cli(&["reload", "fixture", "--json"]);
    assert_eq!(document(&reloaded)["generation"], 2);
    assert_eq!(code(&daemon.cli(&["reload", "nobody"])), 1);
}

#[test]
fn the_table_is_read_without_a_master() {
    let daemon = captured();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "alive");
    client.ok("run", json!({"entry": "signal", "params": {"signal": 9}, "id": "killed", "wait": true}));
    let master = daemon.master();
    processes::send(master, nix::sys::signal::Signal::SIGSTOP);
    let table = document(&daemon.cli(&["table", "--json"]));
    processes::send(master, nix::sys::signal::Signal::SIGCONT);
    let row = |id: &str| {
        table["rows"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["id"] == id)
            .unwrap_or_else(|| panic!("{id}: {table}"))
            .clone()
    };
    assert_eq!((&row("alive")["state"], &row("killed")["signal"]), (&json!("running"), &json!(9)));
    assert_eq!((&table["keeper_pid"], &table["master_pid"]), (&json!(daemon.pid()), &json!(master)));
    let setup = daemon.crash();
    let output = machine::run(Command::new(preforkd()).args(["table", "--dir"]).arg(setup.dir()));
    assert!(code(&output) == 0 && stdout(&output).contains("killed"), "also when nobody is left: {output:?}");
}

#[test]
fn shutdown_returns_when_the_daemon_is_gone() {
    let mut daemon = captured();
    let output = daemon.cli(&["shutdown"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "stopped\n"), "{output:?}");
    assert_eq!(code(&daemon.cli(&["ping"])), 3);
    assert!(daemon.ends(std::time::Duration::from_secs(2)).success());
}

#[test]
fn ctrl_c_stops_the_waiting_and_not_the_run() {
    let daemon = captured();
    let mut command = Command::new(preforkd());
    command.args(["run", "fixture", "sleep", "--params", "{\"ms\":60000}", "--id", "long", "--wait"]);
    let mut child = command.env("PREFORKD_DIR", daemon.dir()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut client = daemon.client();
    eventually("it runs", || (client.call("status", json!({"id": "long"})).ok()?["state"] == "running").then_some(()));
    processes::send(child.id(), nix::sys::signal::Signal::SIGINT);
    let status = eventually("the command ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    assert_eq!(client.ok("status", json!({"id": "long"}))["state"], "running");
    client.ok("kill", json!({"id": "long", "signal": "KILL"}));
    client.wait("long");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let daemon = captured();
    let mut client = daemon.client();
    for n in 0..300 {
        client.send("run", json!({"entry": "noop", "id": format!("r{n}")}));
    }
    client.ok("ping", json!({}));
    let script = format!("set -o pipefail; {} runs --limit 1000 | head -n 1; echo ${{PIPESTATUS[0]}}", preforkd());
    let output = machine::run(Command::new("bash").args(["-c", &script]).env("PREFORKD_DIR", daemon.dir()));
    let said = stdout(&output);
    assert!(stderr(&output).is_empty() && !said.contains("panic"), "{output:?}");
    let code: i32 = said.lines().last().unwrap().parse().unwrap();
    assert!([0, 141].contains(&code), "{said}");
}
