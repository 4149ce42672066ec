//! SIGHUP: the process file is read again.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{pid, reaches, read};
use crate::faults::masters::kill;
use crate::house::{Client, Daemon, Setup, eventually, native, preforkd, processes};

const READ: &str = "the process file has been read again";

fn sleeper(name: &str, seconds: u32) -> Value {
    json!({"name": name, "script": "/bin/sleep", "args": [seconds.to_string()]})
}

fn fixture(name: &str, keys: Value) -> Value {
    let mut pool = json!({"name": name, "runtime": "native", "command": [native()], "output": "none"});
    pool.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    pool
}

fn write(daemon: &Daemon, file: &Value) {
    std::fs::write(daemon.path().join("app.json"), serde_json::to_string_pretty(file).unwrap()).unwrap();
}

/// SIGHUP, and what is said of it once that is there: all lines from then on.
fn hangup(daemon: &Daemon, said: &str) -> String {
    let before = daemon.log().len();
    processes::send(daemon.pid(), Signal::SIGHUP);
    eventually(said, || {
        let log = daemon.log();
        log[before..].contains(said).then(|| log[before..].to_owned())
    })
}

fn reread(daemon: &Daemon, file: &Value) -> String {
    write(daemon, file);
    hangup(daemon, READ)
}

fn names(client: &mut Client) -> Vec<String> {
    let list = client.ok("apps.list", json!({}));
    let mut names: Vec<String> =
        list["workers"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn only_what_differs_is_touched_and_what_was_started_by_itself_stays() {
    let daemon = Setup::empty()
        .worker(sleeper("same", 1000))
        .worker(sleeper("other", 1000))
        .worker(sleeper("stopped", 1000))
        .worker(sleeper("gone", 1000))
        .start();
    let mut client = daemon.client();
    client.ok("apps.start", json!({"apps": [sleeper("mine", 1000)], "folder": "/"}));
    client.ok("apps.stop", json!({"target": "stopped"}));
    processes::send(pid(&reaches(&daemon, "same", 0, "running")), Signal::SIGKILL);
    let same = eventually("it is started again", || {
        let worker = client.worker("same", 0);
        (worker["restarts"] == 1 && worker["state"] == "running").then_some(worker)
    });
    let (other, mine) = (reaches(&daemon, "other", 0, "running"), reaches(&daemon, "mine", 0, "running"));
    let gone = pid(&reaches(&daemon, "gone", 0, "running"));
    let idle = json!({"name": "idle", "script": "/bin/sleep", "args": ["1"], "autostart": false});
    let file = json!({"apps": [sleeper("same", 1000), sleeper("other", 2000), sleeper("stopped", 2000), sleeper("new", 1000), idle]});
    let said = reread(&daemon, &file);
    for count in ["added: 2", "changed: 2", "unchanged: 1", "removed: 1"] {
        assert!(said.contains(count), "{count} in\n{said}");
    }
    reaches(&daemon, "new", 0, "running");
    for (name, before) in [("same", &same), ("mine", &mine)] {
        let after = client.worker(name, 0);
        for key in ["id", "pid", "state", "restarts", "started_at"] {
            assert_eq!(after[key], before[key], "{name} {key}: {after}");
        }
    }
    eventually("another process of the changed one", || {
        let worker = client.worker("other", 0);
        (worker["pid"].is_u64() && worker["pid"] != other["pid"]).then_some(())
    });
    let command = std::fs::read(format!("/proc/{}/cmdline", pid(&reaches(&daemon, "other", 0, "running")))).unwrap();
    assert_eq!(command, b"/bin/sleep\x002000\0");
    eventually("the removed one has gone", || (!processes::alive(gone)).then_some(()));
    eventually("it is not in the list", || {
        (names(&mut client) == ["idle", "mine", "new", "other", "same", "stopped"]).then_some(())
    });
    assert_eq!(client.worker("stopped", 0)["state"], "stopped", "what was stopped stays so");
    assert_eq!(client.worker("idle", 0)["state"], "stopped", "it is started by its name alone");
    // The same once more changes nothing.
    let said = hangup(&daemon, READ);
    assert!(said.contains("unchanged: 5") && said.contains("changed: 0") && said.contains("removed: 0"), "{said}");
    assert_eq!(pid(&client.worker("same", 0)), pid(&same));
}

#[test]
fn fault_29_a_file_with_faults_changes_nothing_and_the_log_has_line_and_key_of_each() {
    let daemon = Setup::empty().worker(sleeper("there", 1000)).start();
    let there = pid(&reaches(&daemon, "there", 0, "running"));
    let file = daemon.path().join("app.json");
    let good = std::fs::read_to_string(&file).unwrap();
    let text = "{\"apps\": [\n  {\"name\": \"there\", \"script\": \"/bin/sleep\", \"args\": [\"2000\"]},\n  {\"name\": \"b\", \
                \"script\": \"/bin/sleep\",\n   \"instnces\": 2,\n   \"max_restarts\": \"many\"}\n]}";
    let half = &good[..good.len() / 2];
    let cases: [(Option<&str>, &[&str]); 3] = [
        (Some(text), &["app.json:4:", "instnces", "did you mean", "app.json:5:", "max_restarts"]),
        (Some(half), &["app.json:1:"]),
        (None, &["app.json", "cannot read the process file"]),
    ];
    for (text, told) in cases {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let said = hangup(&daemon, "nothing has been changed");
        for word in told {
            assert!(said.contains(word), "{word} in\n{said}");
        }
    }
    let mut client = daemon.client();
    assert_eq!((names(&mut client), pid(&client.worker("there", 0))), (vec!["there".to_owned()], there));
    // What is good by itself may not fit what is there.
    client.ok("apps.start", json!({"pools": [fixture("p", json!({}))], "folder": "/", "wait": false}));
    write(&daemon, &json!({"apps": [sleeper("p", 1000)]}));
    let said = hangup(&daemon, "nothing has been changed");
    assert!(said.contains("\"p\" is a pool's name already"), "{said}");
    assert_eq!(names(&mut client), ["there"]);
    std::fs::write(&file, good).unwrap();
    hangup(&daemon, READ);
    assert_eq!(pid(&client.worker("there", 0)), there);
}

#[test]
fn a_changed_pool_has_a_new_generation_an_added_one_is_there_and_a_removed_one_stays_until_the_next_daemon() {
    let daemon = Setup::empty()
        .pool(fixture("a", json!({"default": true})), json!({}))
        .pool(fixture("b", json!({})), json!({}))
        .start();
    let mut client = daemon.client();
    let (a, b) = (client.pool("a"), client.pool("b"));
    let long = client.ok("run", json!({"entry": "sleep", "params": {"ms": 1500}, "pool": "a", "id": "long"}));
    let file = json!({"pools": [fixture("a", json!({"env": {"NEW": "1"}})), fixture("c", json!({"default": true}))]});
    let said = reread(&daemon, &file);
    assert!(said.contains("added: 1") && said.contains("changed: 1") && said.contains("stay"), "{said}");
    let changed = eventually("the next generation", || Some(client.pool("a")).filter(|a| a["generation"] == 2));
    assert_ne!(changed["zygote_pid"], a["zygote_pid"]);
    eventually("the new pool", || (client.pool("c")["state"] == "ready").then_some(()));
    assert_eq!(client.pool("b")["zygote_pid"], b["zygote_pid"], "what is not in the file any more is left alone");
    // Who is meant by a run that names no pool is what the file says now.
    assert_eq!(client.run("exit", json!({"code": 3}))["pool"], "c");
    let ended = client.wait("long");
    assert_eq!((&ended["pid"], &ended["exit_code"], &ended["generation"]), (&long["pid"], &json!(0), &json!(1)));
    // The next master has the same, and the next daemon has what the file says.
    kill(&daemon, daemon.master());
    let pools = |daemon: &Daemon| -> Vec<String> {
        let pools = daemon.client().ok("pools", json!({}));
        pools["pools"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(pools(&daemon), ["a", "b", "c"]);
    let zygote = eventually("it is loaded again", || daemon.client().pool("a")["zygote_pid"].as_u64());
    let environ = std::fs::read(format!("/proc/{zygote}/environ")).unwrap();
    assert!(environ.split(|byte| *byte == 0).any(|pair| pair == b"NEW=1"), "the next master's zygote has the new one");
    assert_eq!(daemon.client().run("exit", json!({"code": 4}))["pool"], "c");
    // The only one is the default without saying so, whoever is left beside it.
    reread(&daemon, &json!({"pools": [fixture("a", json!({"env": {"NEW": "1"}}))]}));
    assert_eq!(daemon.client().run("exit", json!({"code": 5}))["pool"], "a");
    kill(&daemon, daemon.master());
    assert_eq!(daemon.client().run("exit", json!({"code": 5}))["pool"], "a");
    let text = std::fs::read_to_string(daemon.path().join("app.json")).unwrap();
    let again = daemon.crash().serving("app.json", &text).start();
    assert_eq!(pools(&again), ["a"]);
}

#[test]
fn pools_that_came_by_apply_stay_beside_those_of_the_file_and_of_two_defaults_the_younger_is() {
    let daemon = Setup::empty().pool(fixture("a", json!({"default": true})), json!({})).start();
    let apply = |name: &str| json!({"pools": [fixture(name, json!({"default": true}))], "folder": daemon.path()});
    let default = |daemon: &Daemon| daemon.client().run("exit", json!({"code": 3}))["pool"].clone();
    for name in ["one", "two"] {
        daemon.client().ok("apps.apply", apply(name));
        eventually("the new pool", || (daemon.client().pool(name)["state"] == "ready").then_some(()));
        assert_eq!(default(&daemon), name);
    }
    kill(&daemon, daemon.master());
    assert_eq!(default(&daemon), "two");
    let zygote = eventually("it is loaded again", || daemon.client().pool("one")["zygote_pid"].as_u64());
    let said = reread(&daemon, &json!({"pools": [fixture("a", json!({"default": true})), fixture("two", json!({}))]}));
    assert_eq!((default(&daemon), said.contains("zygote started")), (json!("a"), false), "{said}");
    assert_eq!(daemon.client().pool("one")["zygote_pid"], zygote);
    kill(&daemon, daemon.master());
    assert_eq!(default(&daemon), "a");
    assert_eq!(daemon.client().ok("pools", json!({}))["pools"].as_array().unwrap().len(), 3);
}

#[test]
fn a_pool_that_changes_while_it_loads_ends_with_the_latest_definition() {
    let slow = "import time, os\ntime.sleep(0.7)\ndef seen(params):\n    return os.environ.get('NEW')\n";
    let daemon = Setup::app("python", &[("job.py", slow)], json!({"preload": "app/job.py"})).start();
    let pool = |value: u32| {
        let app = daemon.path().join("app");
        json!({"pools": [{"name": "app", "runtime": "python", "cwd": app, "output": "capture", "preload": app.join("job.py"),
                          "env": {"NEW": value.to_string()}}]})
    };
    for value in 1..4 {
        reread(&daemon, &pool(value));
    }
    eventually("the latest is what runs", || {
        (daemon.client().run("job:seen", json!(null))["result"] == "3").then_some(())
    });
}

#[test]
fn a_killed_master_an_upgrade_and_the_next_daemon_have_the_new_definitions() {
    let daemon = Setup::empty().worker(sleeper("same", 1000)).worker(sleeper("gone", 1000)).start();
    reaches(&daemon, "gone", 0, "running");
    daemon.client().ok("apps.start", json!({"apps": [sleeper("mine", 1000)], "folder": "/"}));
    let file = json!({"apps": [sleeper("same", 1000), sleeper("new", 1000)]});
    reread(&daemon, &file);
    // On the disk as soon as it has been told.
    kill(&daemon, daemon.master());
    let same = pid(&reaches(&daemon, "same", 0, "running"));
    reaches(&daemon, "new", 0, "running");
    let all = |daemon: &Daemon, expected: &[&str]| {
        eventually(&format!("there are {expected:?}"), || (names(&mut daemon.client()) == expected).then_some(()));
    };
    all(&daemon, &["mine", "new", "same"]);
    // Whose they are is not forgotten either: of two that are not in the file one stays.
    daemon.client().ok("upgrade", json!({"binary": preforkd()}));
    reread(&daemon, &json!({"apps": [sleeper("same", 1000)]}));
    all(&daemon, &["mine", "same"]);
    daemon.client().ok("upgrade", json!({"binary": preforkd()}));
    assert_eq!(pid(&daemon.client().worker("same", 0)), same);
    daemon.client().ok("upgrade", json!({"binary": preforkd(), "keeper": true}));
    hangup(&daemon, READ);
    assert_eq!(pid(&daemon.client().worker("same", 0)), same);
    let text = std::fs::read_to_string(daemon.path().join("app.json")).unwrap();
    let daemon = daemon.crash().serving("app.json", &text).start();
    all(&daemon, &["mine", "same"]);
    reread(&daemon, &json!({"apps": [sleeper("new", 1000)]}));
    all(&daemon, &["mine", "new"]);
}

#[test]
fn hangups_in_a_row_end_with_the_latest_file_also_beside_killed_masters_and_upgrades() {
    let daemon = Setup::empty().worker(sleeper("w", 1)).start();
    let mut last = 1000;
    for round in 0..12 {
        last += 1;
        write(&daemon, &json!({"apps": [sleeper("w", last)]}));
        processes::send(daemon.pid(), Signal::SIGHUP);
        match round % 4 {
            1 => drop(daemon.client().call("upgrade", json!({"binary": preforkd()}))),
            // Between two masters, too, there is somebody who has heard it.
            3 => {
                processes::send(daemon.master(), Signal::SIGKILL);
                processes::send(daemon.pid(), Signal::SIGHUP);
            }
            _ => {}
        }
    }
    let wanted = format!("/bin/sleep\0{last}\0");
    eventually("the latest runs", || {
        let worker = Client::unix(&daemon.socket()).ok()?.call("apps.list", json!({})).ok()?["workers"][0].clone();
        let command = std::fs::read(format!("/proc/{}/cmdline", worker["pid"].as_u64()?)).ok()?;
        (command == wanted.as_bytes()).then_some(())
    });
}

#[test]
fn a_hangup_that_a_master_has_not_seen_when_it_is_killed_is_the_next_one_s() {
    let daemon = Setup::empty().worker(sleeper("same", 1000)).start();
    let same = pid(&reaches(&daemon, "same", 0, "running"));
    eventually("the list is on the disk", || read(&daemon, "dir/apps.json").contains("same").then_some(()));
    let master = daemon.master();
    processes::send(master, Signal::SIGSTOP);
    write(&daemon, &json!({"apps": [sleeper("same", 1000), sleeper("new", 1000)]}));
    processes::send(daemon.pid(), Signal::SIGHUP);
    kill(&daemon, master);
    eventually("it is read", || daemon.log().contains(READ).then_some(()));
    reaches(&daemon, "new", 0, "running");
    assert_eq!(pid(&daemon.client().worker("same", 0)), same);
    // What has been done is not done again.
    kill(&daemon, daemon.master());
    reaches(&daemon, "new", 0, "running");
    assert_eq!(daemon.log().matches(READ).count(), 1);
}

#[test]
fn without_a_file_or_with_one_in_javascript_a_hangup_says_what_to_do() {
    let daemon = Setup::empty().serving("app.config.js", "module.exports = {apps: []}").start();
    assert!(hangup(&daemon, "preforkd apply").contains("JavaScript"));
    kill(&daemon, daemon.master());
    assert!(hangup(&daemon, "preforkd apply").contains("app.config.js"));
}
