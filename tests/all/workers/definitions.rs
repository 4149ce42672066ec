//! What is declared: the same again, another one, other environments.

use serde_json::{Value, json};

use super::{pid, reaches};
use crate::house::{Setup, eventually};

fn sleeper(name: &str, keys: Value) -> Value {
    let mut app = json!({"name": name, "script": "/bin/sleep", "args": ["1000"]});
    for (key, value) in keys.as_object().unwrap() {
        app[key] = value.clone();
    }
    app
}

#[test]
fn apply_touches_only_what_differs() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    let three = json!([sleeper("same", json!({})), sleeper("other", json!({})), sleeper("gone", json!({}))]);
    client.ok("apps.start", json!({"apps": three, "folder": "/"}));
    let before: Vec<u32> = ["same", "other"].map(|name| pid(&client.worker(name, 0))).to_vec();
    let wanted = json!([
        sleeper("same", json!({})),
        sleeper("other", json!({"env": {"A": "1"}, "instances": 2})),
        sleeper("new", json!({})),
    ]);
    let call = |dry: bool| json!({"apps": wanted, "folder": "/", "dry_run": dry});
    let planned = client.ok("apps.apply", call(true));
    let told = |answer: &Value| -> Vec<String> {
        let changes = answer["changes"].as_array().unwrap();
        changes.iter().map(|c| format!("{} {} {}", c["name"], c["change"], c["keys"]).replace('"', "")).collect()
    };
    let expected = ["same unchanged []", "other changed [env,instances]", "new added []", "gone removed []"];
    assert_eq!(told(&planned), expected);
    assert_eq!(pid(&client.worker("other", 0)), before[1], "a dry run does nothing");
    assert_eq!(told(&client.ok("apps.apply", call(false))), expected);
    assert_eq!(pid(&client.worker("same", 0)), before[0], "what has not changed keeps its pid");
    eventually("the others are as they are to be", || {
        let list = client.ok("apps.list", json!({}));
        let names: Vec<&str> = list["workers"].as_array()?.iter().map(|w| w["name"].as_str().unwrap()).collect();
        let up = list["workers"].as_array()?.iter().all(|w| w["state"] == "running");
        (up && names.iter().filter(|n| **n == "other").count() == 2 && !names.contains(&"gone")).then_some(())
    });
    assert_ne!(pid(&client.worker("other", 0)), before[1]);
    assert_eq!(told(&client.ok("apps.apply", call(false)))[1], "other unchanged []");
}

#[test]
fn a_pool_that_is_named_as_an_app_is_told_to_be_one() {
    let daemon = Setup::native(json!({})).worker(sleeper("w", json!({}))).start();
    let mut client = daemon.client();
    for (method, params) in [
        ("apps.stop", json!({"target": "fixture"})),
        ("apps.describe", json!({"target": ["w", "fixture"]})),
        ("apps.scale", json!({"name": "fixture", "to": "2"})),
    ] {
        let refused = client.refused(method, params);
        assert_eq!(refused.kind, "app_not_found", "{method}");
        assert!(refused.message.contains("\"fixture\" is a pool"), "{method}: {}", refused.message);
    }
    assert!(!client.refused("apps.stop", json!({"target": "fixtures"})).message.contains("is a pool"));
}

#[test]
fn a_circle_of_dependencies_is_refused_also_when_its_parts_come_one_by_one() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    let on = |name: &str, on: &str| sleeper(name, json!({"depends_on": [on]}));
    let call = |apps: Value| json!({"apps": apps, "folder": "/", "wait": false});
    let circle = client.refused("apps.start", call(json!([on("x", "y"), on("y", "x")])));
    assert!(circle.message.contains("circle: x → y → x"), "{}", circle.message);
    // The first two wait for one that is still to come.
    client.ok("apps.start", call(json!([on("a", "b")])));
    client.ok("apps.start", call(json!([on("b", "c")])));
    let closing = client.refused("apps.start", call(json!([on("c", "a"), sleeper("free", json!({}))])));
    assert_eq!(closing.kind, "invalid_params");
    assert!(closing.message.contains("circle: c → a → b → c"), "{}", closing.message);
    let names = client.ok("apps.list", json!({}))["workers"].as_array().unwrap().len();
    assert_eq!(names, 2, "nothing of it has been taken");
    // What is redefined or removed by the same call is no part of it.
    client.ok("apps.start", call(json!([sleeper("b", json!({})), on("c", "a")])));
    super::reaches(&daemon, "c", 0, "running");
    client.ok("apps.apply", json!({"apps": [on("b", "c")], "folder": "/"}));
}

#[test]
fn a_number_is_given_again_when_the_one_that_had_it_is_gone() {
    let script = "trap '' INT; trap 'sleep 1; echo gone >> order; exit 0' TERM; echo begins >> order; while :; do sleep 0.02; done";
    let app = json!({"name": "w", "script": "w.sh", "instances": 2, "stop_signal": "SIGTERM", "kill_timeout": "20s", "pid_file": "w.pid"});
    let daemon = Setup::empty().file("w.sh", script).worker(app.clone()).start();
    let lines = |word: &str| super::read(&daemon, "order").lines().filter(|line| *line == word).count();
    eventually("both are up", || (lines("begins") == 2).then_some(()));
    let mut client = daemon.client();
    let old = client.worker("w", 1);
    let mut other = daemon.client();
    other.send("apps.scale", json!({"name": "w", "to": "1"}));
    eventually("it is told to stop", || (client.worker("w", 1)["state"] == "stopping").then_some(()));
    client.send("apps.scale", json!({"name": "w", "to": "2"}));
    eventually("another process", || {
        let worker = daemon.client().worker("w", 1);
        (worker["pid"].is_u64() && worker["pid"] != old["pid"] && worker["state"] == "running").then_some(())
    });
    eventually("it has begun", || (lines("begins") == 3).then_some(()));
    assert_eq!(super::read(&daemon, "order").lines().collect::<Vec<_>>(), ["begins", "begins", "gone", "begins"]);
    let now = pid(&daemon.client().worker("w", 1));
    assert_eq!(super::read(&daemon, "w-1.pid").trim(), now.to_string());
    // An app that is being deleted, and started again meanwhile, is a new one.
    let mut deleting = daemon.client();
    deleting.send("apps.delete", json!({"target": "w"}));
    eventually("they are told to stop", || (daemon.client().worker("w", 0)["state"] == "stopping").then_some(()));
    let mut app = app;
    app["script"] = json!(daemon.path().join("w.sh"));
    let started = daemon.client().ok("apps.start", json!({"apps": [app], "folder": daemon.path()}));
    let mut up: Vec<(&Value, &Value)> = started["workers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|w| w["state"] == "running")
        .map(|w| (&w["instance"], &w["name"]))
        .collect();
    up.sort_by_key(|w| w.0.as_u64());
    assert_eq!(up, [(&json!(0), &json!("w")), (&json!(1), &json!("w"))], "{started}");
}

#[test]
fn the_caller_s_environment_is_kept_apart_from_the_declared_one() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    let start = |keys: Value, env: Value, update: bool| json!({"apps": [sleeper("e", keys)], "folder": "/", "env": env, "update_env": update});
    let seen = |client: &mut crate::house::Client, name: &str| {
        let process = pid(&client.worker("e", 0));
        let environ = std::fs::read(format!("/proc/{process}/environ")).unwrap();
        let environ = String::from_utf8_lossy(&environ).into_owned();
        environ.split('\0').find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    client.ok("apps.start", start(json!({"env": {"KEPT": "1", "REMOVED": "1"}}), json!({"CALLER": "one"}), false));
    assert_eq!(seen(&mut client, "CALLER").as_deref(), Some("one"));
    assert_eq!(seen(&mut client, "NODE_APP_INSTANCE").as_deref(), Some("0"));
    // A variable that is removed from the file is gone; the caller's stays as it was.
    client.ok("apps.start", start(json!({"env": {"KEPT": "1"}}), json!({"CALLER": "two"}), false));
    assert_eq!((seen(&mut client, "REMOVED"), seen(&mut client, "KEPT")), (None, Some("1".to_owned())));
    assert_eq!(seen(&mut client, "CALLER").as_deref(), Some("one"));
    client.ok("apps.start", start(json!({"env": {"KEPT": "1"}}), json!({"CALLER": "two"}), true));
    assert_eq!(seen(&mut client, "CALLER").as_deref(), Some("two"));
    client.ok("apps.start", start(json!({"inherit_env": false}), json!({"CALLER": "3", "PATH": "/bin"}), true));
    assert_eq!((seen(&mut client, "CALLER"), seen(&mut client, "PATH")), (None, Some("/bin".to_owned())));
}

#[test]
fn fault_29_definitions_with_faults_change_nothing_and_every_fault_is_told() {
    let daemon = Setup::empty().worker(sleeper("there", json!({}))).start();
    let there = pid(&reaches(&daemon, "there", 0, "running"));
    let mut client = daemon.client();
    let apps = json!([
        sleeper("there", json!({"env": {"X": "1"}})),
        sleeper("bad", json!({"instnces": 2, "max_restarts": "many"}))
    ]);
    let refused = client.refused("apps.start", json!({"apps": apps, "folder": "/"}));
    assert_eq!(refused.kind, "invalid_params");
    assert!(refused.message.contains("instances") && refused.message.contains("max_restarts"), "{}", refused.message);
    assert_eq!(pid(&client.worker("there", 0)), there);
    let orphan = json!([{"name": "o", "pool": "nowhere", "entry": "x"}]);
    assert_eq!(client.refused("apps.start", json!({"apps": orphan, "folder": "/"})).kind, "pool_not_found");
    assert_eq!(client.refused("apps.scale", json!({"name": "there", "to": "0"})).kind, "invalid_params");
    assert_eq!(client.refused("apps.scale", json!({"name": "ther", "to": "2"})).kind, "app_not_found");
}

#[test]
fn events_tell_what_happens_to_workers() {
    let daemon = Setup::empty().start();
    let mut watcher = daemon.client();
    watcher.ok("events.subscribe", json!({"kinds": ["state", "exit"], "target": "w"}));
    let mut client = daemon.client();
    client.ok("apps.start", json!({"apps": [sleeper("w", json!({})), sleeper("other", json!({}))], "folder": "/"}));
    client.ok("apps.stop", json!({"target": "w"}));
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("stopped") {
        let line = watcher.line();
        assert_eq!((&line["method"], &line["params"]["name"]), (&json!("event"), &json!("w")));
        let params = &line["params"];
        seen.push(params["state"].as_str().map_or_else(|| format!("signal {}", params["signal"]), str::to_owned));
    }
    assert_eq!(seen, ["starting", "running", "stopping", "signal 2", "stopped"]);
}
