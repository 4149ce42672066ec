//! Workers at the command line: every verb on a real daemon.

use std::process::Command;

use serde_json::{Value, json};

use crate::cli::{code, document, stderr, stdout};
use crate::house::{Daemon, Setup, eventually, machine, preforkd, processes};

fn daemon() -> Daemon {
    Setup::empty().arguments(&["--no-tcp"]).start()
}

pub fn write(daemon: &Daemon, name: &str, text: &str) {
    std::fs::write(daemon.path().join(name), text).unwrap();
}

/// Done, and the one document it printed.
fn told(daemon: &Daemon, words: &[&str]) -> Value {
    let mut words = words.to_vec();
    words.insert(0, "--json");
    let output = daemon.cli(&words);
    assert_eq!(code(&output), 0, "{words:?}: {output:?}");
    document(&output)
}

/// (name, instance, state) of each worker in an answer.
pub fn states(answer: &Value) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let workers = answer["workers"].as_array().unwrap_or_else(|| panic!("no workers in {answer}"));
    workers.iter().map(|w| (text(&w["name"]), w["instance"].as_u64().unwrap(), text(&w["state"]))).collect()
}

pub fn pids(daemon: &Daemon, name: &str) -> Vec<u32> {
    let output = daemon.cli(&["pid", name]);
    assert_eq!(code(&output), 0, "{output:?}");
    stdout(&output).lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn start_takes_files_scripts_commands_and_what_is_there() {
    let daemon = daemon();
    write(
        &daemon,
        "ecosystem.json",
        r#"{"apps": [{"name": "web", "script": "sleep 1000", "instances": 2, "env_production": {"MODE": "live"}},
                     {"name": "other", "script": "sleep 1000"}]}"#,
    );
    write(&daemon, "job.sh", "echo \"$1\" > said\nexec sleep 1000\n");
    let output = daemon.cli(&["start", "ecosystem.json", "--only", "web", "--env", "production"]);
    assert_eq!((code(&output), stdout(&output).lines().count()), (0, 3), "{output:?}");
    assert!(stdout(&daemon.cli(&["env", "web"])).lines().any(|line| line == "MODE=live"));
    let before = pids(&daemon, "web");
    // The usual file of this folder, and again: what runs unchanged is left alone.
    told(&daemon, &["start", "--env", "production"]);
    assert_eq!(pids(&daemon, "web"), before);
    assert_eq!(pids(&daemon, "other").len(), 1);
    let started = told(&daemon, &["start", "job.sh", "--name", "job", "-i", "2", "--namespace", "batch", "--", "a b"]);
    let running = |name: &str, instance| (name.to_owned(), instance, "running".to_owned());
    assert_eq!(states(&started), [running("job", 0), running("job", 1)]);
    eventually("the argument has arrived", || {
        (std::fs::read_to_string(daemon.path().join("said")).ok()? == "a b\n").then_some(())
    });
    assert_eq!(states(&told(&daemon, &["start", "sleep 900", "-n", "q"])), [running("q", 0)]);
    // By name, namespace, regular expression.
    told(&daemon, &["stop", "all"]);
    assert_eq!(states(&told(&daemon, &["start", "q"])), [running("q", 0)]);
    assert_eq!(states(&told(&daemon, &["start", "batch"])).len(), 2);
    assert_eq!(states(&told(&daemon, &["start", "/^we/", "other"])).len(), 3);
}

#[test]
fn start_asks_node_for_a_file_in_javascript() {
    let daemon = daemon();
    if machine::run(Command::new("sh").args(["-c", "command -v node"])).stdout.is_empty() {
        return machine::skipped("start_asks_node_for_a_file_in_javascript", "there is no node");
    }
    let text = "console.log('noise'); module.exports = {apps: [{name: 'js', script: 'sleep 1000', env: {N: 1 + 1}}]};";
    write(&daemon, "ecosystem.config.js", text);
    let output = daemon.cli(&["start", "--json"]);
    assert_eq!(states(&document(&output)), [("js".to_owned(), 0, "running".to_owned())], "{output:?}");
    assert!(stderr(&output).contains("noise"));
    assert!(stdout(&daemon.cli(&["env", "js"])).lines().any(|line| line == "N=2"));
    assert_eq!(states(&told(&daemon, &["delete", "ecosystem.config.js"])).len(), 1);
    write(&daemon, "bad.config.js", "throw new Error('not today')");
    let output = daemon.cli(&["start", "bad.config.js"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("not today") && stderr(&output).contains("bad.config.js"), "{output:?}");
}

#[test]
fn start_fails_with_the_reason() {
    let daemon = daemon();
    write(&daemon, "a.php", "");
    let output = daemon.cli(&["start", "a.php", "--interpreter", "/nowhere/php"]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(stderr(&output).contains("/nowhere/php"), "{output:?}");
    let output = daemon.cli(&["start", "nothing-like-it"]);
    assert!(code(&output) == 1 && stderr(&output).contains("\"nothing-like-it\""), "{output:?}");
    let output = daemon.cli(&["start", "missing.json"]);
    assert!(code(&output) == 1 && stderr(&output).contains("missing.json"), "{output:?}");
    for words in [
        &["start"][..],
        &["start", "sleep 5", "--only", "a"],
        &["start", "sleep 5", "-i", "many"],
        &["start", "--pool", "p"],
        &["start", "sleep 5", "--restart-delay", "soon"],
    ] {
        assert_eq!(code(&daemon.cli(words)), 2, "{words:?}");
    }
    assert_eq!(code(&daemon.cli(&["start", "--pool", "nobody", "--entry", "e", "--name", "x"])), 1);
}

#[test]
fn a_worker_of_a_pool_is_started_from_the_command_line() {
    let daemon = Setup::native(json!({})).start();
    let params = json!({"ms": 600_000}).to_string();
    let words = ["start", "--pool", "fixture", "--entry", "sleep", "--params", &params, "--name", "w", "-i", "3"];
    let started = told(&daemon, &words);
    assert_eq!(states(&started).len(), 3);
    assert!(started["workers"].as_array().unwrap().iter().all(|w| w["pool"] == "fixture" && w["pid"].is_u64()));
    // Pools and apps share one name space.
    let output = daemon.cli(&["start", "sleep 5", "--name", "fixture"]);
    assert!(code(&output) == 2 && stderr(&output).contains("fixture"), "{output:?}");
    assert!(stdout(&daemon.cli(&["reload", "fixture"])).contains("generation 2"));
    assert_eq!(states(&told(&daemon, &["reload", "w"])).len(), 3);
    let output = daemon.cli(&["reload", "nobody"]);
    assert!(code(&output) == 1 && stderr(&output).contains("pool"), "{output:?}");
}

#[test]
fn workers_are_stopped_restarted_scaled_signalled_reset_and_deleted() {
    let daemon = daemon();
    told(&daemon, &["start", "sleep 1000", "--name", "a"]);
    let first = pids(&daemon, "a");
    assert_eq!(states(&told(&daemon, &["stop", "a"])), [("a".to_owned(), 0, "stopped".to_owned())]);
    assert_eq!(pids(&daemon, "a"), [0]);
    assert!(!processes::alive(first[0]));
    told(&daemon, &["restart", "a"]);
    let second = pids(&daemon, "a");
    assert!(second[0] > 0 && second != first);
    let mut command = Command::new(preforkd());
    command.args(["restart", "a", "--update-env"]).env("PREFORKD_DIR", daemon.dir()).env("ADDED", "now");
    assert_eq!(code(&machine::run(&mut command)), 0);
    assert!(stdout(&daemon.cli(&["env", "a"])).contains("ADDED=now\n"));
    assert_eq!(code(&daemon.cli(&["scale", "a", "3"])), 0);
    assert_eq!(pids(&daemon, "a").len(), 3);
    assert_eq!(code(&daemon.cli(&["scale", "a", "-1"])), 0);
    assert_eq!(pids(&daemon, "a").len(), 2);
    assert_eq!(code(&daemon.cli(&["scale", "a", "0"])), 2);
    let before = pids(&daemon, "a");
    assert_eq!(code(&daemon.cli(&["sendSignal", "SIGKILL", "a"])), 0);
    eventually("others have taken their place", || {
        let now = pids(&daemon, "a");
        (now.iter().all(|pid| *pid > 0 && !before.contains(pid))).then_some(())
    });
    let restarts = |answer: &Value| answer["workers"][0]["restarts"].as_u64().unwrap();
    assert_eq!(restarts(&told(&daemon, &["describe", "0"])), 1);
    assert_eq!(restarts(&told(&daemon, &["reset", "all"])), 0);
    assert_eq!(states(&told(&daemon, &["del", "a"])).len(), 2);
    let output = daemon.cli(&["stop", "a"]);
    assert!(code(&output) == 1 && stderr(&output).contains("no app \"a\""), "{output:?}");
}

#[test]
fn apply_touches_what_differs_and_says_so_before() {
    let daemon = daemon();
    write(&daemon, "one.json", r#"[{"name": "a", "script": "sleep 1000"}, {"name": "b", "script": "sleep 1000"}]"#);
    write(&daemon, "two.json", r#"[{"name": "a", "script": "sleep 1000"}, {"name": "c", "script": "sleep 1000"}]"#);
    told(&daemon, &["apply", "one.json"]);
    let kept = eventually("a is up", || pids(&daemon, "a").first().copied().filter(|pid| *pid > 0));
    let dry = told(&daemon, &["apply", "two.json", "--dry-run"]);
    let change = |n: usize| (dry["changes"][n]["name"].clone(), dry["changes"][n]["change"].clone());
    assert_eq!(change(0), (json!("a"), json!("unchanged")));
    assert_eq!(change(1), (json!("c"), json!("added")));
    assert_eq!(change(2), (json!("b"), json!("removed")));
    assert_eq!(pids(&daemon, "all").len(), 2);
    let output = daemon.cli(&["apply", "two.json"]);
    assert!(code(&output) == 0 && stdout(&output).contains("removed"), "{output:?}");
    eventually("b is gone", || (code(&daemon.cli(&["pid", "b"])) == 1).then_some(()));
    assert_eq!(pids(&daemon, "a"), [kept]);
}

#[test]
fn listings_show_workers_and_jlist_is_what_scripts_for_pm2_expect() {
    let daemon = daemon();
    assert_eq!(document(&daemon.cli(&["jlist"])), json!([]));
    told(&daemon, &["start", "sleep 1000", "--name", "up", "-i", "2"]);
    told(&daemon, &["stop", "1"]);
    let list = document(&daemon.cli(&["jlist"]));
    let pid = pids(&daemon, "up")[0];
    assert_eq!((&list[0]["name"], &list[0]["pid"], &list[0]["pm_id"]), (&json!("up"), &json!(pid), &json!(0)));
    assert_eq!(list[0]["pm2_env"]["status"], "online");
    assert!(list[0]["monit"]["memory"].as_u64().unwrap() > 100_000, "{list}");
    assert!(list[0]["pm2_env"]["pm_uptime"].as_u64().unwrap() > 1_600_000_000_000, "{list}");
    assert_eq!((&list[1]["pid"], &list[1]["pm2_env"]["status"]), (&json!(0), &json!("stopped")));
    assert_eq!(document(&daemon.cli(&["prettylist"])).as_array().unwrap().len(), 2);
    let table = stdout(&daemon.cli(&["ls"]));
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].contains("NAMESPACE") && rows[1].contains(&format!("running  {pid}")), "{table}");
    assert!(rows[2].contains("stopped"), "{table}");
    assert_eq!(document(&daemon.cli(&["list", "--json"]))["workers"].as_array().unwrap().len(), 2);
    let shown = stdout(&daemon.cli(&["show", "0"]));
    assert!(shown.contains(&format!("pid         {pid}\n")) && shown.contains("\"script\": \"sleep\""), "{shown}");
    // Values of variables are shown by `env` alone.
    write(&daemon, "secret.json", r#"[{"name": "s", "script": "sleep 1000", "env": {"TOKEN": "hush-hush"}}]"#);
    told(&daemon, &["start", "secret.json"]);
    for words in [&["describe", "s"][..], &["describe", "s", "--json"], &["jlist"], &["list", "--json"]] {
        assert!(!stdout(&daemon.cli(words)).contains("hush-hush"), "{words:?}");
    }
    assert!(stdout(&daemon.cli(&["env", "s"])).contains("TOKEN=hush-hush\n"));
    assert!(stdout(&daemon.cli(&["validate", "secret.json"])).contains("1 app: s (sleep)"));
}
