//! `preforkd logs`, `flush` and `reopen` at the command line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::cli::{code, stdout};
use crate::house::{Client, Daemon, eventually, preforkd, processes};
use crate::logs::{logging, say};

/// `preforkd logs WORDS`, and its lines as they come.
fn follow(daemon: &Daemon, words: &[&str]) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", preforkd(), "logs", "-f"])
        .args(words)
        .env("PREFORKD_DIR", daemon.dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
    (child, told)
}

#[test]
fn it_shows_and_follows_across_masters_and_ends_well() {
    let daemon = logging();
    let mut client = daemon.client();
    say(&mut client, "one\ntwo \x1b[2J\n", "oops\n");
    let output = daemon.cli(&["logs", "app", "--out"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "app | one\napp | two \x1b[2J\n"));
    assert_eq!(stdout(&daemon.cli(&["logs", "--lines", "1", "--out"])), "app | two \x1b[2J\n");
    assert_eq!(stdout(&daemon.cli(&["logs", "--grep", "^o", "--nostream"])), "app | one\napp | oops\n");
    let lines: Vec<BTreeMap<String, Value>> =
        stdout(&daemon.cli(&["logs", "--err", "--json"])).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["text"], &lines[0]["stream"], lines.len()), (&json!("oops"), &json!("err"), 1));
    assert_eq!(code(&daemon.cli(&["logs", "nobody"])), 1);
    assert_eq!(code(&daemon.cli(&["logs", "--grep", "("])), 2);
    assert_eq!(stdout(&daemon.cli(&["flush", "app"])), "2 log files emptied\n");
    assert_eq!(stdout(&daemon.cli(&["reloadLogs"])), "2 log files opened anew\n");

    let (mut child, lines) = follow(&daemon, &["--out", "--lines", "0"]);
    let next = || lines.recv_timeout(crate::house::PATIENCE).expect("a line");
    // It has asked when it is told of something.
    eventually("it follows", || {
        say(&mut client, "probe\n", "");
        lines.recv_timeout(std::time::Duration::from_millis(100)).ok()
    });
    processes::send(daemon.master(), Signal::SIGKILL);
    let mut client = eventually("another master", || {
        let mut client = Client::unix(&daemon.socket()).ok()?;
        client.call("ping", json!({})).ok().map(|_| client)
    });
    eventually("it follows the next one", || {
        client.call("run", json!({"entry": "boot:say", "params": {"out": "after\n"}, "wait": true})).ok()?;
        let line = lines.recv_timeout(std::time::Duration::from_millis(100)).ok()?;
        (line == "app | after").then_some(())
    });
    say(&mut client, "the last\n", "unseen\n");
    while next() != "app | the last" {}
    processes::send(child.id(), Signal::SIGINT);
    let status = crate::house::within(crate::house::PATIENCE, "Ctrl-C ends it", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
