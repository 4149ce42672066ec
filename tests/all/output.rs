//! Where output goes, what a run reads, and its environment.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::faults::masters::kill;
use crate::house::{Setup, eventually, processes};

#[test]
fn captured_output_is_in_the_status() {
    for idle in [0, 1] {
        let daemon = Setup::native(json!({"output": "capture", "idle": idle})).start();
        let mut client = daemon.client();
        let ended = client.run("print", json!({"stdout": "out ü\n", "stderr": "err"}));
        assert_eq!((&ended["stdout"], &ended["stderr"]), (&json!("out ü\n"), &json!("err")));
        let empty = client.run("noop", json!(null));
        assert_eq!((&empty["stdout"], &empty["stderr"]), (&json!(""), &json!("")));
        let none =
            client.ok("run", json!({"entry": "print", "params": {"stdout": "x"}, "output": "none", "wait": true}));
        assert_eq!((&none["stdout"], &none["stderr"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn the_last_64_kib_of_each_stream_are_captured() {
    let daemon = Setup::native(json!({"output": "capture"})).start();
    let mut client = daemon.client();
    let script =
        "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; head -c 70000 /dev/zero | tr '\\0' e >&2";
    let ended = client.run("shell", json!({"script": script}));
    let (out, err) = (ended["stdout"].as_str().unwrap(), ended["stderr"].as_str().unwrap());
    assert!(out.len() <= 65_536 && out.len() > 65_000 && out.ends_with("line 29999\n"), "{}", out.len());
    assert_eq!(err.len(), 65_536);
    let bad = client.run("shell", json!({"script": "printf 'a\\377b'"}));
    assert_eq!(bad["stdout"], "a\u{fffd}b");
}

#[test]
fn logged_output_is_in_the_pools_files() {
    let daemon = Setup::native(json!({"output": "log", "idle": 1})).start();
    let mut client = daemon.client();
    for n in 0..5 {
        let ended = client.run("print", json!({"stdout": format!("out {n}\n"), "stderr": format!("err {n}\n")}));
        assert!(ended["stdout"].is_null());
    }
    let logs = daemon.dir().join("logs");
    let read = |name: &str| fs::read_to_string(logs.join(name)).unwrap_or_default();
    eventually("all lines are there", || {
        let (out, err) = (read("fixture-out.log"), read("fixture-error.log"));
        (0..5).all(|n| out.contains(&format!("out {n}\n")) && err.contains(&format!("err {n}\n"))).then_some(())
    });
}

#[test]
fn fault_01_what_a_run_with_an_output_of_its_own_says_when_no_master_serves_is_in_the_log_once() {
    let daemon = Setup::native(json!({"output": "none"})).start();
    let go = daemon.path().join("go");
    let script = format!("echo begun; while ! [ -e {} ]; do sleep 0.02; done; seq 500; echo error >&2", go.display());
    let mut client = daemon.client();
    let run = client.ok("run", json!({"entry": "shell", "params": {"script": script}, "output": "log", "id": "one"}));
    let read = |name: &str| fs::read_to_string(daemon.dir().join("logs").join(name)).unwrap_or_default();
    eventually("it has begun", || (read("fixture-out.log") == "begun\n").then_some(()));
    let master = daemon.master();
    processes::send(master, Signal::SIGSTOP);
    fs::write(go, "").unwrap();
    let folder = format!("/proc/{}", run["pid"]);
    eventually("the keeper has reaped it", || (!std::path::Path::new(&folder).exists()).then_some(()));
    kill(&daemon, master);
    assert_eq!(daemon.client().wait("one")["exit_code"], 0);
    let mut expected = String::from("begun\n");
    (1..=500).for_each(|n| expected += &format!("{n}\n"));
    eventually("all lines are there", || {
        (read("fixture-out.log").len() >= expected.len() && !read("fixture-error.log").is_empty()).then_some(())
    });
    assert_eq!((read("fixture-out.log"), read("fixture-error.log")), (expected, "error\n".to_owned()));
}

#[test]
fn inherited_output_is_the_daemons_own() {
    let daemon = Setup::native(json!({"output": "inherit"})).start();
    daemon.client().run("print", json!({"stdout": "said aloud\n", "stderr": "cried\n"}));
    eventually("it is there", || {
        let log = daemon.log();
        (log.contains("said aloud\n") && log.contains("cried\n")).then_some(())
    });
}

#[test]
fn stdin_is_what_the_request_brought_or_empty() {
    for idle in [0, 1] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.client();
        for text in ["", "one line\n", &"long ü ".repeat(40_000)] {
            let ended = client.ok("run", json!({"entry": "stdin", "stdin": text, "wait": true}));
            assert_eq!(ended["result"].as_str(), Some(text));
        }
        assert_eq!(client.run("stdin", json!(null))["result"], "");
    }
}

#[test]
fn the_environment_is_the_pools_and_the_runs() {
    for idle in [0, 1] {
        let daemon = Setup::native(json!({"idle": idle, "env": {"POOL_VAR": "pool", "BOTH": "pool"}})).start();
        let mut client = daemon.client();
        let mut get = |name: &str, env: Value| {
            let run = json!({"entry": "env", "params": {"name": name}, "env": env, "wait": true});
            client.ok("run", run)["result"].clone()
        };
        assert_eq!(get("POOL_VAR", json!({})), "pool");
        assert_eq!(get("BOTH", json!({"BOTH": "run ü=1"})), "run ü=1");
        assert_eq!(get("BOTH", json!({})), "pool", "one run's variable is not another's");
        assert_eq!(get("PREFORKD_ZYGOTE", json!({})), Value::Null);
    }
}

#[test]
fn args_arrive_as_strings() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let mut client = daemon.client();
    let args = json!(["", "a b", "--c=ü", "\n"]);
    assert_eq!(client.ok("run", json!({"entry": "args", "args": args, "wait": true}))["result"], args);
}

#[test]
fn fault_23_a_grandchild_that_keeps_stdout_open_does_not_hold_up_the_status() {
    for output in ["capture", "log"] {
        let daemon = Setup::native(json!({"output": output})).start();
        let mut client = daemon.client();
        let master = daemon.master();
        let before = crate::house::processes::fds(master).len();
        let started = std::time::Instant::now();
        let ended = client.run("shell", json!({"script": "echo before; (sleep 4; echo after) & exit 0"}));
        let took = started.elapsed();
        assert_eq!((&ended["exit_code"], &ended["result"]), (&json!(0), &json!(0)));
        assert!(took < std::time::Duration::from_millis(2500), "{output}: {took:?}");
        if output == "capture" {
            assert_eq!(ended["stdout"], "before\n");
        }
        // The drain is bounded too: the pipe is closed although somebody could still write.
        eventually("nothing of the run is open any more", || {
            (crate::house::processes::fds(master).len() <= before).then_some(())
        });
        assert!(started.elapsed() < std::time::Duration::from_millis(3500), "{output}: {:?}", started.elapsed());
        let id = ended["id"].as_str().unwrap();
        assert_eq!(client.ok("free", json!({"id": id}))["freed"], true);
    }
}
