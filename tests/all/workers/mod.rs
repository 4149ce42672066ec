//! Workers: kept up, changed, replaced, found again.

mod crossing;
mod definitions;
mod keeping;
mod last_words;
mod readiness;
mod recovery;
mod reloading;
mod rereading;

use serde_json::{Value, json};

use crate::house::{Daemon, eventually};

/// Waits until instance `instance` of that app is in this state, and gives it.
fn reaches(daemon: &Daemon, name: &str, instance: u64, state: &str) -> Value {
    let mut client = daemon.client();
    let mut last = Value::Null;
    let found = eventually(&format!("{name}/{instance} is {state}"), || {
        last = client.worker(name, instance);
        (last["state"] == state).then(|| last.clone())
    });
    assert_eq!(found["name"], json!(name));
    found
}

fn pid(worker: &Value) -> u32 {
    worker["pid"].as_u64().unwrap_or_else(|| panic!("no process: {worker}")) as u32
}

fn read(daemon: &Daemon, file: &str) -> String {
    std::fs::read_to_string(daemon.path().join(file)).unwrap_or_default()
}
