//! `run`, `status`, and what a status says.

use serde_json::{Value, json};

use crate::house::{Setup, processes};

const KEYS: [&str; 20] = [
    "id",
    "pool",
    "entry",
    "state",
    "pid",
    "generation",
    "exit_code",
    "signal",
    "signal_name",
    "core_dumped",
    "timed_out",
    "result",
    "error",
    "stdout",
    "stderr",
    "queued_at",
    "started_at",
    "ended_at",
    "usage",
    "duplicate",
];

fn keys(status: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn run_is_answered_while_the_child_lives_and_status_tells_its_end() {
    for idle in [0, 2] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.tcp();
        let running = client.ok("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "id": "long"}));
        let mut expected = KEYS[..19].to_vec();
        expected.sort_unstable();
        assert_eq!(keys(&running), expected);
        assert_eq!(running["state"], "running");
        let pid = running["pid"].as_u64().unwrap() as u32;
        assert!(processes::alive(pid));
        assert_eq!(processes::parent(pid), Some(daemon.pid()), "the parent of a run is the keeper");
        assert_eq!(client.ok("status", json!({"id": "long"})), running);

        let ended = client.run("exit", json!({"code": 7}));
        assert_eq!(keys(&ended), expected);
        assert_eq!(
            (&ended["state"], &ended["exit_code"], &ended["signal"]),
            (&json!("exited"), &json!(7), &Value::Null)
        );
        assert!(ended["usage"]["max_rss_bytes"].as_u64().unwrap() > 100_000);
        assert!(ended["queued_at"].as_str() <= ended["started_at"].as_str());
        assert!(ended["started_at"].as_str() <= ended["ended_at"].as_str());
        let id = ended["id"].as_str().unwrap();
        assert_eq!(client.ok("status", json!({"id": id})), ended);
        client.end("long");
    }
}

#[test]
fn idle_children_take_the_runs_and_are_replaced() {
    let daemon = Setup::native(json!({"idle": 4})).start();
    let mut client = daemon.client();
    for _ in 0..40 {
        assert_eq!(client.run("echo", json!([1]))["result"], json!([1]));
    }
    // Four are asked for as soon as they are missing; that they are there is the zygote's work, a moment later.
    crate::house::eventually("master, zygote and four idle children", || {
        let count = processes::descendants(daemon.pid()).len();
        assert!(count <= 6, "{count} processes");
        (count == 6 && client.pool("fixture")["idle"] == 4).then_some(())
    });
}

#[test]
fn runs_of_one_connection_are_answered_as_they_are_ready() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.tcp();
    let slow = client.send("run", json!({"entry": "sleep", "params": {"ms": 700}, "wait": true}));
    let quick = client.send("run", json!({"entry": "echo", "params": "q", "wait": true}));
    let ping = client.send("ping", json!({}));
    let first = client.line();
    let second = client.line();
    let mut ids = [first["id"].as_u64().unwrap(), second["id"].as_u64().unwrap()];
    ids.sort_unstable();
    assert_eq!(ids, [quick, ping], "a wait held up what came after it");
    assert_eq!(client.receive(slow).unwrap()["exit_code"], 0);
}

#[test]
fn params_of_every_kind_arrive_as_they_are() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let mut client = daemon.client();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for params in [
        json!(null),
        json!(false),
        json!(0),
        json!(-1.5),
        json!(9_007_199_254_740_993_u64),
        json!(""),
        json!("ü \u{0} \u{1f600} \" \\ \n"),
        json!([]),
        json!({}),
        json!({"a": [1, {"b": null}], "": 1}),
        deep,
    ] {
        assert_eq!(client.run("echo", params.clone())["result"], params);
    }
}

#[test]
fn params_beyond_one_message_travel_by_memfd() {
    for idle in [0, 1] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.tcp();
        for size in [65_000, 65_536, 65_537, 70_000, 300_000, 1_000_000] {
            let text = "x".repeat(size);
            let status = client.run("echo", json!(text));
            assert_eq!(status["result"].as_str().map(str::len), Some(size), "{:.300}", status.to_string());
        }
    }
}

#[test]
fn what_cannot_run_is_refused_and_leaves_nothing() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    for (params, code) in [
        (json!({}), -32602),
        (json!({"entry": ""}), -32602),
        (json!({"entry": "x".repeat(256)}), -32602),
        (json!({"entry": "a\u{7}b"}), -32602),
        (json!({"entry": 5}), -32602),
        (json!({"entry": "echo", "pool": "nowhere", "id": "left"}), -32003),
        (json!({"entry": "echo", "parms": 1, "id": "left"}), -32602),
        (json!({"entry": "echo", "id": ""}), -32602),
        (json!({"entry": "echo", "id": "a b"}), -32602),
        (json!({"entry": "echo", "id": "x".repeat(65)}), -32602),
        (json!({"entry": "echo", "params": 1, "args": ["a"], "id": "left"}), -32602),
        (json!({"entry": "echo", "args": [1], "id": "left"}), -32602),
        (json!({"entry": "echo", "env": {"A": 1}, "id": "left"}), -32602),
        (json!({"entry": "echo", "env": {"A=B": "c"}, "id": "left"}), -32602),
        (json!({"entry": "echo", "timeout": 0, "id": "left"}), -32602),
        (json!({"entry": "echo", "timeout": "soon", "id": "left"}), -32602),
        (json!({"entry": "echo", "output": "file", "id": "left"}), -32602),
        (json!({"entry": "echo", "wait": 1, "id": "left"}), -32602),
    ] {
        let refusal = client.refused("run", params.clone());
        assert_eq!(refusal.code, code, "{params}: {refusal:?}");
    }
    assert_eq!(client.refused("status", json!({"id": "left"})).kind, "run_not_found");
    assert_eq!(client.ok("runs", json!({}))["runs"], json!([]));
    // The id is free.
    assert_eq!(client.ok("run", json!({"entry": "noop", "id": "left", "wait": true}))["exit_code"], 0);
}

#[test]
fn an_entry_that_is_not_there_is_kept_as_failed() {
    for idle in [0, 1] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.client();
        let refusal = client.refused("run", json!({"entry": "nothing", "id": "gone"}));
        assert_eq!((refusal.code, refusal.kind.as_str()), (-32014, "entry_not_found"));
        assert!(refusal.message.contains("nothing"), "{}", refusal.message);
        let status = client.ok("status", json!({"id": "gone"}));
        assert_eq!((&status["state"], &status["error"]["class"]), (&json!("failed"), &json!("entry_not_found")));
        assert!(status["started_at"].is_null() && status["exit_code"].is_null() && status["signal"].is_null());
    }
}

#[test]
fn ids_are_the_clients_or_new_ones() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    let id = "A.b_c:d-9".to_owned() + &"z".repeat(55);
    assert_eq!(client.ok("run", json!({"entry": "noop", "id": id}))["id"], json!(id));
    let ids: Vec<String> = (0..3).map(|_| client.run("noop", json!(null))["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.is_sorted() && ids[0] != ids[1], "version 7 sorts by time: {ids:?}");
}

#[test]
fn a_child_has_its_three_streams_and_its_channel_and_nothing_else() {
    for (idle, output) in [(0, "none"), (0, "capture"), (1, "none"), (1, "capture"), (1, "log")] {
        let daemon = Setup::native(json!({"idle": idle, "output": output})).start();
        let mut client = daemon.client();
        for n in 0..3 {
            let status = client.start("sleep", json!({"ms": 60_000}), &format!("r{n}"));
            let pid = status["pid"].as_u64().unwrap() as u32;
            assert_eq!(processes::fds(pid), [0, 1, 2, 4], "idle {idle}, output {output}");
            client.end(&format!("r{n}"));
        }
    }
}

#[test]
fn the_default_pool_is_the_marked_one_or_the_only_one() {
    let command = json!([crate::house::native()]);
    let pool = |name: &str| json!({"name": name, "runtime": "native", "command": command, "output": "none"});
    let none = Setup::empty().pool(pool("a"), json!({})).pool(pool("b"), json!({})).start();
    assert_eq!(none.client().refused("run", json!({"entry": "noop"})).kind, "pool_not_found");
    assert_eq!(none.client().ok("run", json!({"entry": "noop", "pool": "b"}))["pool"], "b");
    let marked = Setup::empty().pool(pool("a"), json!({})).pool(pool("b"), json!({"default": true})).start();
    assert_eq!(marked.client().run("noop", json!(null))["pool"], "b");
}
