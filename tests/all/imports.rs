//! What other supervisors ran, imported and run: a supervisord.conf with its includes, pm2's dump, pm2's file in JavaScript.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::cli::{code, document, stderr};
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

/// Workers of each name and state.
type Counts = BTreeMap<(String, String), usize>;

/// Imports, checks and starts it, and waits until that many workers are as they are to be; what the import said.
fn run(daemon: &Daemon, file: &str, expected: &[(&str, &str, usize)]) -> String {
    let output = import(daemon, &[file]);
    assert_eq!(code(&output), 0, "{output:?}");
    std::fs::write(daemon.path().join("imported.json"), &output.stdout).unwrap();
    start(daemon, &["imported.json"], expected);
    stderr(&output)
}

/// Checks and starts it, and waits for the same.
fn start(daemon: &Daemon, words: &[&str], expected: &[(&str, &str, usize)]) {
    let valid = daemon.cli(&["validate", words[0]]);
    assert_eq!(code(&valid), 0, "{valid:?}");
    let started = daemon.cli(&[&["start"], words].concat());
    assert_eq!(code(&started), 0, "{started:?}");
    let expected: Counts =
        expected.iter().map(|(name, state, count)| (((*name).to_owned(), (*state).to_owned()), *count)).collect();
    let mut found = Counts::new();
    for _ in 0..200 {
        found.clear();
        for (name, _, state) in states(&document(&daemon.cli(&["list", "--json"]))) {
            *found.entry((name, state)).or_default() += 1;
        }
        if found == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(found, expected);
}

fn variables(pid: u32) -> String {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    String::from_utf8(environ).unwrap().replace('\0', "\n")
}

#[test]
fn a_supervisord_conf_runs_as_it_did() {
    let daemon = beside("supervisord");
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
    let said = run(&daemon, "supervisord.conf", &expected);
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
fn a_machine_of_two_sites_under_supervisord_runs_as_it_did() {
    let daemon = beside("hosting");
    let running = [
        ("celery", 4),
        ("celery-beat", 1),
        ("importer_0", 1),
        ("importer_1", 1),
        ("importer_2", 1),
        ("laravel", 6),
        ("mailer", 2),
        ("metrics", 1),
        ("north-php", 3),
        ("proxy", 1),
        ("redis", 1),
        ("south-php", 1),
        ("south-ssr", 1),
        ("south-web", 1),
    ];
    let mut expected: Vec<_> = running.map(|(name, count)| (name, "running", count)).into();
    expected.extend(["backup", "north-web", "reindex", "typo"].map(|name| (name, "stopped", 1)));
    expected.extend(["migrate", "probe"].map(|name| (name, "exited", 1)));
    let said = run(&daemon, "supervisord.conf", &expected);
    for line in [
        "conf.d/edge.conf:30: [eventlistener:crashmail]: no equivalent",
        "conf.d/edge.conf:34: [eventlistener:memmon]: no equivalent",
        "supervisord.conf:3: [unix_http_server]: ",
        "[program:north-web] command: %(ENV_WEB_CONCURRENCY)s: WEB_CONCURRENCY is not set here",
        "[program:typo] command: %(duration)s stands for nothing",
        "[fcgi-program:south-php] socket: names are not looked up",
        "[program:south-ssr] depends_on: supervisord has no such key",
        "[program:importer] numprocs: ",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    let south = pids(&daemon, "south-web")[0];
    let here = std::fs::canonicalize(daemon.path()).unwrap();
    for line in ["SITE=south-web", "PORT=8002", "TZ=Europe/Budapest", "DATABASE_URL=pgsql:shop"] {
        assert!(variables(south).lines().any(|found| found == line), "{line}");
    }
    assert_eq!(std::fs::read_link(format!("/proc/{south}/cwd")).unwrap(), here.join("sites/south"));
    let ports = pids(&daemon, "mailer").into_iter().map(variables);
    for (variables, port) in ports.zip(["2501", "2502"]) {
        assert!(variables.contains(&format!("\nSMTP_PORT={port}\n")), "{port}");
    }
    // Its own stop signal lets it finish.
    let log = || std::fs::read_to_string(here.join("logs/proxy.log")).unwrap_or_default();
    eventually("the proxy listens", || (log() == "listening\n").then_some(()));
    assert_eq!(states(&document(&daemon.cli(&["stop", "edge", "--json"]))).len(), 2);
    assert_eq!(log(), "listening\ndrained\n");
    assert_eq!(states(&document(&daemon.cli(&["stop", "queues", "importer", "--json"]))).len(), 16);
}

#[test]
fn pm2s_files_in_json_and_yaml_run_as_they_are() {
    if machine::run(Command::new("sh").args(["-c", "command -v node"])).stdout.is_empty() {
        return machine::skipped("pm2s_files_in_json_and_yaml_run_as_they_are", "there is no node");
    }
    let daemon = beside("ecosystem");
    let mut expected = vec![
        ("api", "running", 2),
        ("cache", "running", 1),
        ("digest", "running", 1),
        ("feed", "running", 1),
        ("images", "running", 1),
        ("import", "stopped", 1),
        ("mails", "running", 1),
        ("pages", "ready", 2),
        ("php-cron", "running", 1),
        ("search", "running", 1),
        ("sitemap", "exited", 1),
        ("socket", "running", 1),
    ];
    start(&daemon, &["ecosystem.json", "--env", "production"], &expected);
    let pages = pids(&daemon, "pages");
    for line in ["PORT=3101", "NODE_ENV=production", "TITLE=Jó reggelt", "NODE_APP_INSTANCE=1"] {
        assert!(variables(pages[1]).lines().any(|found| found == line), "{line}");
    }
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", pids(&daemon, "images")[0])).unwrap();
    assert!(arguments.ends_with("work.py\0--queue\0images\0--sizes\0large small\0"), "{arguments:?}");
    assert_eq!(
        std::fs::read_to_string(daemon.path().join("run/cache.pid")).unwrap().trim(),
        pids(&daemon, "cache")[0].to_string()
    );
    expected.extend([
        ("check", "exited", 1),
        ("crawl", "running", 3),
        ("index", "running", 1),
        ("later", "stopped", 1),
        ("mirror", "running", 1),
        ("render", "ready", 2),
        ("shell", "running", 1),
        ("stats", "running", 1),
        ("tail", "running", 1),
        ("thumbs", "running", 1),
        ("ticks", "running", 1),
    ]);
    start(&daemon, &["ecosystem.yaml"], &expected);
    let render = pids(&daemon, "render");
    for line in ["RENDER_ID=1", "NODE_ENV=development", "DEBUG=no"] {
        assert!(variables(render[1]).lines().any(|found| found == line), "{line}");
    }
    // What is there and unchanged is left alone.
    start(&daemon, &["ecosystem.yaml"], &expected);
    assert_eq!(pids(&daemon, "render"), render);
    let stopped = daemon.cli(&["stop", "all", "--json"]);
    assert!(states(&document(&stopped)).iter().all(|(_, _, state)| state == "stopped" || state == "exited"));
}

#[test]
fn a_dump_of_pm2s_runs_as_it_did() {
    if machine::run(Command::new("sh").args(["-c", "command -v node"])).stdout.is_empty() {
        return machine::skipped("a_dump_of_pm2s_runs_as_it_did", "there is no node");
    }
    let daemon = beside("pm2");
    let expected =
        [("api", "ready", 3), ("mailer", "stopped", 2), ("queue-worker", "running", 1), ("report", "running", 1)];
    let said = run(&daemon, "dump.pm2", &expected);
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
