//! Commands that cross: one comes while what another has asked for is still on its way. The later word counts.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{pid, reaches};
use crate::house::{Client, Daemon, Setup, eventually, processes};

/// Takes its time to end.
fn slow(keys: Value) -> Value {
    let mut app = json!({
        "name": "slow", "script": "/bin/sh", "args": ["-c", "trap 'sleep 0.5; exit 0' INT; while :; do sleep 0.05; done"],
    });
    for (key, value) in keys.as_object().unwrap() {
        app[key] = value.clone();
    }
    app
}

fn start(client: &mut Client, app: Value) -> Value {
    client.ok("apps.start", json!({"apps": [app], "folder": "/"}))
}

/// Sends it on a connection of its own, and waits until that worker is being stopped.
fn begin(daemon: &Daemon, method: &str, params: Value, instance: u64) -> impl FnOnce() -> Value {
    let mut client = daemon.client();
    let call = client.send(method, params);
    reaches(daemon, "slow", instance, "stopping");
    move || client.receive(call).unwrap()
}

/// What runs is what the list on the disk has, and so many.
fn are_kept(daemon: &Daemon, count: usize) {
    let mut client = daemon.client();
    eventually(&format!("{count} instances are up and kept"), || {
        let told = client.ok("apps.list", json!({}));
        let told = told["workers"].as_array()?;
        let saved: Value = serde_json::from_slice(&std::fs::read(daemon.dir().join("apps.json")).ok()?).ok()?;
        let saved = saved["workers"].as_array()?;
        let ids = |workers: &[Value]| workers.iter().map(|w| w["id"].clone()).collect::<Vec<_>>();
        let up = told.iter().all(|w| w["state"] == "running") && saved.iter().all(|w| w["wanted"] == true);
        (up && told.len() == count && ids(told) == ids(saved)).then_some(())
    });
}

#[test]
fn an_app_that_is_defined_again_while_it_is_deleted_is_there_again() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    start(&mut client, slow(json!({"instances": 2})));
    let first = pid(&client.worker("slow", 0));
    let deleting = begin(&daemon, "apps.delete", json!({"target": "slow"}), 0);
    assert_eq!(client.refused("apps.start", json!({"target": "slow"})).kind, "app_not_found");
    start(&mut client, slow(json!({"instances": 2})));
    deleting();
    are_kept(&daemon, 2);
    assert_ne!(pid(&client.worker("slow", 0)), first);
    assert!(!processes::alive(first));
    let gone = client.ok("apps.delete", json!({"target": "slow"}));
    assert_eq!(gone["workers"].as_array().unwrap().len(), 2);
}

#[test]
fn fewer_instances_by_another_definition_are_fewer() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    start(&mut client, slow(json!({"instances": 3})));
    start(&mut client, slow(json!({"instances": 1})));
    are_kept(&daemon, 1);
}

#[test]
fn scaled_down_and_up_at_once_no_number_is_there_twice() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    start(&mut client, slow(json!({"instances": 2})));
    let id = client.worker("slow", 1)["id"].clone();
    let down = begin(&daemon, "apps.scale", json!({"name": "slow", "to": "1"}), 1);
    client.ok("apps.scale", json!({"name": "slow", "to": "2"}));
    down();
    are_kept(&daemon, 2);
    assert_eq!(client.worker("slow", 1)["id"], id, "it is the one that was to go");
}

#[test]
fn a_stop_that_somebody_takes_back_is_answered() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    start(&mut client, slow(json!({})));
    let stopping = begin(&daemon, "apps.stop", json!({"target": "slow"}), 0);
    client.ok("apps.start", json!({"target": "slow"}));
    stopping();
    are_kept(&daemon, 1);
}

#[test]
fn what_others_depend_on_can_be_started_before_it_was_its_turn_to_stop() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    let base = json!({"name": "base", "script": "/bin/sleep", "args": ["1000"]});
    let apps = json!([base, slow(json!({"depends_on": "base"}))]);
    client.ok("apps.start", json!({"apps": apps, "folder": "/"}));
    let process = pid(&client.worker("base", 0));
    let stopping = begin(&daemon, "apps.stop", json!({"target": "all"}), 0);
    client.ok("apps.start", json!({"target": "all"}));
    stopping();
    are_kept(&daemon, 2);
    assert_eq!(pid(&client.worker("base", 0)), process, "it was never told");
}

#[test]
fn an_instance_that_is_stopped_before_it_was_its_turn_to_be_reloaded_stays_so() {
    let daemon = Setup::empty().start();
    let mut client = daemon.client();
    start(&mut client, slow(json!({"instances": 2, "min_uptime": 400})));
    let last = client.worker("slow", 1);
    let mut reloading = daemon.client();
    let call = reloading.send("apps.reload", json!({"target": "slow"}));
    eventually("the first of them has a successor", || {
        // Not those that a shell forks to become its `sleep`.
        let mut all = processes::descendants(daemon.pid());
        all.retain(|p| processes::parent(p.pid) == Some(daemon.pid()) && p.describe().contains("trap"));
        (all.len() == 3).then_some(())
    });
    client.ok("apps.stop", json!({"target": last["id"]}));
    reloading.receive(call).unwrap();
    assert_eq!(client.worker("slow", 1)["state"], "stopped");
    assert!(!processes::alive(pid(&last)));
    processes::send(pid(&client.worker("slow", 0)), Signal::SIGKILL);
    reaches(&daemon, "slow", 0, "running");
}
