//! The command line without a daemon, used wrongly, and with data that is out to trick a terminal.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::cli::{captured, code, document, stderr, stdout};
use crate::house::{Setup, machine, preforkd};

fn without_daemon(words: &[&str]) -> Output {
    let empty = tempfile::tempdir().unwrap();
    machine::run(Command::new(preforkd()).args(words).env("PREFORKD_DIR", empty.path()))
}

#[test]
fn without_a_daemon_the_exit_code_is_3_and_json_says_so() {
    for words in [
        vec!["run", "p", "e"],
        vec!["run", "p", "e", "--wait"],
        vec!["status"],
        vec!["status", "x"],
        vec!["wait", "x"],
        vec!["kill", "x"],
        vec!["free", "x"],
        vec!["runs"],
        vec!["pools"],
        vec!["list"],
        vec!["reload", "x"],
        vec!["stop", "x"],
        vec!["restart", "x"],
        vec!["delete", "x"],
        vec!["scale", "x", "2"],
        vec!["reset", "x"],
        vec!["send-signal", "USR1", "x"],
        vec!["describe", "x"],
        vec!["env", "x"],
        vec!["pid"],
        vec!["jlist"],
        vec!["prettylist"],
        vec!["save"],
        vec!["kill"],
        vec!["ping"],
        vec!["info"],
        vec!["shutdown"],
        vec!["table"],
    ] {
        let output = without_daemon(&words);
        assert_eq!(code(&output), 3, "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}");
        let mut with = words.clone();
        with.push("--json");
        let output = without_daemon(&with);
        assert_eq!((code(&output), &document(&output)["error"]["kind"]), (3, &json!("no_daemon")), "{with:?}");
    }
}

#[test]
fn wrong_usage_is_2_and_says_what_was_expected() {
    let daemon = captured();
    for words in [
        vec![],
        vec!["nonsense"],
        vec!["run"],
        vec!["run", "fixture"],
        vec!["run", "fixture", "echo", "--params", "{not json"],
        vec!["run", "fixture", "echo", "--params", "1", "--", "a"],
        vec!["run", "fixture", "echo", "--timeout", "soon"],
        vec!["run", "fixture", "echo", "--env", "X"],
        vec!["run", "fixture", "echo", "--id", "not an id"],
        vec!["kill", "x", "--signal", "NOPE"],
        vec!["runs", "--state", "done"],
        vec!["runs", "--limit", "0"],
        vec!["serve", "--listen", "nowhere"],
        vec!["serve", "--no-tcp", "--listen", "127.0.0.1:0"],
        vec!["completions", "tcsh"],
    ] {
        let output = daemon.cli(&words);
        assert_eq!(code(&output), 2, "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}: {output:?}");
    }
    assert_eq!(code(&daemon.cli(&["--help"])), 0);
    assert!(stdout(&daemon.cli(&["--version"])).contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(code(&daemon.cli(&["run", "nobody", "echo"])), 1);
}

#[test]
fn validate_and_schema_need_no_daemon_and_tell_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.json");
    std::fs::write(&file, "{\n  // two mistakes\n  pools: [\n    { name: \"a\", runtime: \"php\", max_runing: 3,\n      idle: \"many\" },\n  ],\n}\n").unwrap();
    let path = file.to_str().unwrap();
    let output = without_daemon(&["validate", path]);
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(said.contains(":4:") && said.contains("max_runing") && said.contains("max_running"), "{said}");
    assert!(said.contains(":5:") && said.contains("idle"), "{said}");
    let output = without_daemon(&["validate", path, "--json"]);
    let document = document(&output);
    assert_eq!((code(&output), &document["valid"]), (1, &json!(false)));
    let lines: Vec<&Value> = document["errors"].as_array().unwrap().iter().map(|e| &e["line"]).collect();
    assert_eq!(lines, [&json!(4), &json!(5)]);
    assert_eq!(code(&without_daemon(&["serve", path])), 1);
    std::fs::write(&file, "{ pools: [ { name: \"a\", runtime: \"python\" } ] }").unwrap();
    assert_eq!(code(&without_daemon(&["validate", path])), 0);
    let schema: Value = serde_json::from_str(&stdout(&without_daemon(&["schema"]))).unwrap();
    assert!(schema["properties"]["pools"].is_object(), "{schema:.200}");
    for shell in ["bash", "zsh", "fish"] {
        let output = without_daemon(&["completions", shell]);
        assert!(code(&output) == 0 && stdout(&output).contains("preforkd"), "{shell}");
    }
    let bash = stdout(&without_daemon(&["completions", "bash"]));
    assert_eq!(code(&machine::run_with(Command::new("bash").arg("-n"), bash.as_bytes())), 0);
}

#[test]
fn control_bytes_of_users_data_do_not_reach_a_terminal() {
    let terminal = machine::run(Command::new("script").args(["-qec", "true", "/dev/null"]));
    if !terminal.status.success() {
        let why = String::from_utf8_lossy(&terminal.stderr).trim().to_owned();
        return machine::skipped("control_bytes_of_users_data_do_not_reach_a_terminal", &why);
    }
    let app = "def bad(params):\n    raise ValueError('\\x1b[2J\\x1b]0;owned\\x07\\u202e\\r')\n";
    let daemon = Setup::app("python", &[("job.py", app)], json!({})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "job:bad", "id": "bad", "wait": true}));
    let _ = client.call("run", json!({"entry": "job:nothing\u{202e}here\u{9b}2J", "id": "odd"}));
    for words in ["status bad", "runs", "list", "table", "pools"] {
        let command = format!("{} {words}", preforkd());
        let output = machine::run(
            Command::new("script")
                .args(["-qec", &command, "/dev/null"])
                .env("PREFORKD_DIR", daemon.dir())
                .env("TERM", "xterm"),
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("bad") || words == "pools", "{words}: {said}");
        // Colours are ours; what moves, clears, renames or reorders is not.
        let without_colour = remove_colours(&said);
        for bad in ['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}'] {
            assert!(!without_colour.contains(bad), "{words}: {bad:?} in {said:?}");
        }
    }
}

fn remove_colours(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 2..];
        let end = tail.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(tail.len());
        if !tail[end..].starts_with('m') {
            out.push('\u{1b}');
        }
        rest = tail.get(end + 1..).unwrap_or("");
    }
    out + rest
}
