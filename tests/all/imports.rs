//! What other supervisors ran, imported and run: a supervisord.conf with its includes, pm2's dump, pm2's file in JavaScript.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use crate::cli::{code, document, stderr, stdout};
use crate::cli_workers::{pids, states};
use crate::house::{Daemon, Setup, eventually, machine, preforkd};

/// A daemon beside a copy of a folder of tests/data. `@HERE@` in its files is where they are.
fn beside(data: &str) -> Daemon {
    let setup = Setup::empty().arguments(&["--no-tcp"]);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(data).join(".");
    let copied = machine::run(Command::new("cp").arg("-r").arg(from).arg(setup.path()));
    assert!(copied.status.success(), "{copied:?}");
    for name in ["dump.pm2"].map(|name| setup.path().join(name)) {
        if let Ok(text) = std::fs::read_to_string(&name) {
            std::fs::write(&name, text.replace("@HERE@", &setup.path().to_string_lossy())).unwrap();
        }
    }
    setup.start()
}

fn import(daemon: &Daemon, words: &[&str]) -> Output {
    let mut command = Command::new(preforkd());
    command.arg("import").args(words).current_dir(daemon.path()).env("SHOP_DATABASE", "pgsql:shop");
    machine::run(&mut command)
}

/// Imports, checks and starts it; how many workers of each name and state come up.
fn run(daemon: &Daemon, file: &str) -> (BTreeMap<(String, String), usize>, String) {
    let output = import(daemon, &[file]);
    assert_eq!(code(&output), 0, "{output:?}");
    std::fs::write(daemon.path().join("imported.json"), &output.stdout).unwrap();
    let valid = daemon.cli(&["validate", "imported.json"]);
    assert_eq!(code(&valid), 0, "{valid:?}\n{}", stdout(&output));
    let started = daemon.cli(&["start", "imported.json"]);
    assert_eq!(code(&started), 0, "{started:?}");
    let is = |state: &str| matches!(state, "starting" | "backoff");
    let all = eventually("every worker has come up or ended", || {
        let all = states(&document(&daemon.cli(&["list", "--json"])));
        (!all.iter().any(|(_, _, state)| is(state))).then_some(all)
    });
    let mut counts = BTreeMap::new();
    for (name, _, state) in all {
        *counts.entry((name, state)).or_default() += 1;
    }
    (counts, stderr(&output))
}

fn counts(expected: &[(&str, &str, usize)]) -> BTreeMap<(String, String), usize> {
    expected.iter().map(|(name, state, count)| (((*name).to_owned(), (*state).to_owned()), *count)).collect()
}

fn variables(pid: u32) -> String {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    String::from_utf8(environ).unwrap().replace('\0', "\n")
}

#[test]
fn a_supervisord_conf_runs_as_it_did() {
    let daemon = beside("supervisord");
    let (found, said) = run(&daemon, "supervisord.conf");
    let expected = [
        ("legacy", "running", 1),
        ("mail", "running", 2),
        ("once", "exited", 1),
        ("queue", "running", 8),
        ("report", "stopped", 1),
        ("shard_00", "running", 1),
        ("shard_01", "running", 1),
        ("shard_02", "running", 1),
        ("web", "running", 1),
    ];
    assert_eq!(found, counts(&expected));
    assert!(said.contains("conf.d/web.conf:21: [program:web] serverurl: "), "{said}");
    assert!(!said.contains("hush-hush") && !said.contains("pgsql:shop"), "no values are told: {said}");
    let mail = pids(&daemon, "mail");
    assert!(variables(mail[0]).contains("\nPORT=2001\n") && variables(mail[1]).contains("\nPORT=2002\n"));
    let web = pids(&daemon, "web")[0];
    for expected in
        ["GREETING=Jó napot, 'kedves' vevő", "DATABASE=pgsql:shop", "APP_ENV=production", "LOCALE=hu_HU.UTF-8"]
    {
        assert!(variables(web).lines().any(|line| line == expected), "{expected}");
    }
    let arguments = std::fs::read_to_string(format!("/proc/{web}/cmdline")).unwrap();
    assert!(arguments.contains("--title\0The shop; open\0--rate\x00100%\0"), "{arguments:?}");
    // Its socket is where a FastCGI program looks for it.
    let stdin = std::fs::read_link(format!("/proc/{}/fd/0", pids(&daemon, "legacy")[0])).unwrap();
    assert!(stdin.to_string_lossy().starts_with("socket:"), "{stdin:?}");
    assert!(daemon.path().join("logs/legacy.sock").exists() && daemon.path().join("logs/mail-1.log").exists());
    // A group is a target.
    assert_eq!(states(&document(&daemon.cli(&["stop", "shop", "--json"]))).len(), 11);
}

#[test]
fn a_dump_of_pm2s_runs_as_it_did() {
    if machine::run(Command::new("sh").args(["-c", "command -v node"])).stdout.is_empty() {
        return machine::skipped("a_dump_of_pm2s_runs_as_it_did", "there is no node");
    }
    let daemon = beside("pm2");
    let (found, said) = run(&daemon, "dump.pm2");
    let expected =
        [("api", "ready", 3), ("mailer", "stopped", 2), ("queue-worker", "running", 1), ("report", "running", 1)];
    assert_eq!(found, counts(&expected));
    assert!(said.contains("[report] cron_restart: "), "{said}");
    let api = pids(&daemon, "api");
    assert!(variables(api[0]).contains("\nPORT=3000\n") && variables(api[2]).contains("\nPORT=3002\n"));
}

#[test]
fn pm2s_file_in_javascript_runs_without_an_import() {
    if machine::run(Command::new("sh").args(["-c", "command -v node"])).stdout.is_empty() {
        return machine::skipped("pm2s_file_in_javascript_runs_without_an_import", "there is no node");
    }
    let daemon = beside("pm2");
    // A name with a blank is none here; the import says so, and a process file is refused.
    let file = daemon.path().join("ecosystem.config.js");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("queue worker", "queue-worker")).unwrap();
    let output = daemon.cli(&["start", "--env", "production"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let api = pids(&daemon, "api");
    assert!(api.len() == 3 && variables(api[1]).contains("\nNODE_ENV=production\n"));
    assert_eq!(pids(&daemon, "all").len(), 7);
    let output = import(&daemon, &["ecosystem.config.js"]);
    assert!(code(&output) == 1 && stderr(&output).contains("`preforkd start`"), "{output:?}");
}

#[test]
fn what_cannot_be_imported_is_an_error_and_json_is_one_document() {
    let daemon = beside("supervisord");
    for (name, text) in [("empty", ""), ("other", "just text\n"), ("none", "[supervisord]\n")] {
        std::fs::write(daemon.path().join(name), text).unwrap();
        let output = import(&daemon, &[name]);
        assert!(code(&output) == 1 && output.stdout.is_empty() && stderr(&output).contains(name), "{output:?}");
    }
    assert_eq!(code(&import(&daemon, &["not-there"])), 1);
    assert_eq!(code(&import(&daemon, &[])), 2);
    let answer = document(&import(&daemon, &["supervisord.conf", "--json"]));
    assert_eq!(answer["apps"], 9);
    assert!(answer["text"].as_str().unwrap().starts_with("// ") && answer["remarks"].as_array().unwrap().len() > 5);
}
