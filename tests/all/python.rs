//! Python applications: entries, results, errors, exit codes, in both of the kit's ways.

use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, processes};

const BOOT: &str = r#"
import os, sys, random, time, uuid
import preforkd
LOADED = os.getpid()
HOOKS = []
@preforkd.after_fork
def hook():
    HOOKS.append(os.getpid())
os.register_at_fork(after_in_child=lambda: HOOKS.append("at_fork"))
def echo(params): return params
def where(params): return [LOADED != os.getpid(), os.getpid() in HOOKS, "at_fork" in HOOKS]
def fail(params): raise KeyError("no such customer")
def leave(params): sys.exit(params)
def say(params):
    print("out ü"); print("err", file=sys.stderr); os.write(1, b"raw\n")
def later(params):
    import atexit
    atexit.register(print, "at exit"); print("buffered", end=""); return 1
def chance(params): return [random.random(), random.getrandbits(64), str(uuid.uuid4()), os.urandom(4).hex()]
def big(params): return "x" * params
def no_json(params): return {1, 2}
def nan(params): return float("nan")
def pause(params): time.sleep(params); return os.getpid()
def stdin(params): return sys.stdin.read()
def env(params): return os.environ.get(params)
async def soon(params):
    import asyncio
    await asyncio.sleep(0.01)
    return params
def sub(params):
    import subprocess
    return subprocess.run(["sh", "-c", "echo $PPID; ls /proc/self/fd"], capture_output=True, text=True).stdout
def thread(params):
    import threading
    out = []
    t = threading.Thread(target=lambda: out.append(5)); t.start(); t.join()
    return out
class Tool:
    def do(self, params): return ["do", params]
    @staticmethod
    def plain(params): return ["plain", params]
"#;

const SCRIPT: &str = "import sys, json\nif sys.argv[1:] == ['boom']: raise RuntimeError('boom')\nprint(json.dumps([__name__, sys.argv]))\nsys.exit(3 if sys.argv[1:] == ['fail'] else None)\n";

/// Both of the kit's ways, with and without idle children.
pub fn every_way(keys: &Value, mut check: impl FnMut(&Daemon, &mut Client, &str)) {
    for via in ["ctypes", "fork"] {
        for idle in [0, 1] {
            let mut keys = keys.clone();
            keys["env"] = json!({"PREFORKD_PYTHON_VIA": via, "POOL_VAR": "pool"});
            keys["idle"] = json!(idle);
            let daemon = app(keys).start();
            let what = format!("via {via}, idle {idle}");
            check(&daemon, &mut daemon.client(), &what);
        }
    }
}

pub fn app(keys: Value) -> Setup {
    let files = [
        ("boot.py", BOOT),
        ("tools/script.py", SCRIPT),
        ("tools/__init__.py", ""),
        ("bin/tool", SCRIPT),
        ("package/__init__.py", ""),
        ("package/jobs.py", "def work(params):\n    return ['work', params]\n"),
    ];
    let mut with = json!({"preload": "app/boot.py"});
    for (key, value) in keys.as_object().unwrap() {
        with[key] = value.clone();
    }
    Setup::app("python", &files, with)
}

#[test]
fn entries_of_every_kind_give_their_results() {
    every_way(&json!({}), |_, client, way| {
        let mut result = |entry: &str, params: Value| {
            let ended = client.run(entry, params);
            assert_eq!((&ended["exit_code"], &ended["error"]), (&json!(0), &Value::Null), "{way} {entry}: {ended}");
            ended["result"].clone()
        };
        assert_eq!(result("boot:echo", json!({"a": [1, null]})), json!({"a": [1, null]}), "{way}");
        assert_eq!(result("boot:Tool.do", json!(1)), json!(["do", 1]), "{way}");
        assert_eq!(result("boot:Tool.plain", json!(1)), json!(["plain", 1]), "{way}");
        assert_eq!(result("boot:soon", json!("s")), "s", "{way}");
        assert_eq!(result("package.jobs:work", json!(2)), json!(["work", 2]), "{way}: not preloaded");
        assert_eq!(result("boot:thread", json!(null)), json!([5]), "{way}");
        assert_eq!(result("boot:where", json!(null)), json!([true, true, true]), "{way}");
        assert_eq!(result("boot:env", json!("POOL_VAR")), "pool", "{way}");
        assert_eq!(result("boot:env", json!("PREFORKD_ZYGOTE")), Value::Null, "{way}");
        let none = client.ok("run", json!({"entry": "boot:echo", "wait": true}));
        assert_eq!(none["result"], Value::Null, "{way}: absent params are None");
        let args = client.ok("run", json!({"entry": "boot:echo", "args": ["a"], "wait": true}));
        assert_eq!(args["result"], json!(["a"]), "{way}");
    });
}

#[test]
fn scripts_and_modules_have_argv_and_their_own_exit_code() {
    every_way(&json!({}), |_, client, way| {
        for entry in ["tools/script.py", "tools.script", "bin/tool"] {
            for (args, code) in [(json!(["list", "--env=ü x"]), 0), (json!(["fail"]), 3), (json!([]), 0)] {
                let ended = client.ok("run", json!({"entry": entry, "args": args, "wait": true}));
                assert_eq!(ended["exit_code"], code, "{way} {entry} {args}: {ended}");
                let said: (String, Vec<String>) = serde_json::from_str(ended["stdout"].as_str().unwrap()).unwrap();
                assert_eq!((said.0.as_str(), json!(said.1[1..])), ("__main__", args), "{way} {entry}");
            }
            let thrown = client.ok("run", json!({"entry": entry, "args": ["boom"], "wait": true}));
            assert_eq!(
                (&thrown["exit_code"], &thrown["error"]["class"]),
                (&json!(255), &json!("RuntimeError")),
                "{way} {entry}"
            );
        }
    });
}

#[test]
fn errors_and_exits_end_as_the_app_meant() {
    every_way(&json!({}), |_, client, way| {
        let thrown = client.run("boot:fail", json!({"secret": "pa55word"}));
        assert_eq!(
            (&thrown["exit_code"], &thrown["error"]["class"]),
            (&json!(255), &json!("KeyError")),
            "{way}: {thrown}"
        );
        let error = &thrown["error"];
        assert!(error["message"].as_str().unwrap().contains("no such customer"), "{way}: {error}");
        assert!(error["trace"].as_str().unwrap().contains("boot.py"), "{way}: {error}");
        assert!(!thrown.to_string().contains("pa55word"), "{way}: {thrown}");
        for (with, code) in [
            (json!(0), 0),
            (json!(1), 1),
            (json!(254), 254),
            (json!(255), 255),
            (json!(null), 0),
            (json!("text"), 1),
            (json!(257), 1),
        ] {
            let left = client.run("boot:leave", with.clone());
            assert_eq!(
                (&left["exit_code"], &left["error"], &left["signal"]),
                (&json!(code), &Value::Null, &Value::Null),
                "{way} {with}: {left}"
            );
        }
    });
}

#[test]
fn output_and_atexit_come_through_fast_and_full() {
    for shutdown in ["fast", "full"] {
        every_way(&json!({"shutdown": shutdown}), |_, client, way| {
            let said = client.run("boot:say", json!(null));
            let out = said["stdout"].as_str().unwrap();
            assert!(out.contains("out ü\n") && out.contains("raw\n"), "{way} {shutdown}: {said}");
            assert_eq!(said["stderr"], "err\n", "{way} {shutdown}");
            let later = client.run("boot:later", json!(null));
            assert_eq!(
                (&later["exit_code"], &later["result"], &later["stdout"]),
                (&json!(0), &json!(1), &json!("bufferedat exit\n")),
                "{way} {shutdown}"
            );
        });
    }
}

#[test]
fn stdin_environment_subprocesses_and_large_values() {
    every_way(&json!({}), |_, client, way| {
        let read =
            client.ok("run", json!({"entry": "boot:stdin", "stdin": "from ü\n", "env": {"A": "1"}, "wait": true}));
        assert_eq!(read["result"], "from ü\n", "{way}");
        let env = client
            .ok("run", json!({"entry": "boot:env", "params": "POOL_VAR", "env": {"POOL_VAR": "run"}, "wait": true}));
        assert_eq!(env["result"], "run", "{way}");
        let sub = client.run("boot:sub", json!(null));
        let sub: Vec<&str> = sub["result"].as_str().unwrap().lines().collect();
        assert_eq!(
            sub[1..],
            ["0", "1", "2", "3"],
            "{way}: a program the app starts inherits no channel (3 is ls's own)"
        );
        for size in [60_000, 70_000, 1_000_000] {
            assert_eq!(client.run("boot:big", json!(size))["result"].as_str().map(str::len), Some(size), "{way}");
            let text = "ü".repeat(size / 2);
            assert_eq!(client.run("boot:echo", json!(text))["result"], json!(text), "{way}");
        }
        for (entry, class) in [("boot:no_json", "ResultNotJson"), ("boot:nan", "ResultNotJson")] {
            let bad = client.run(entry, json!(null));
            assert_eq!((&bad["result"], &bad["error"]["class"]), (&Value::Null, &json!(class)), "{way} {entry}");
        }
    });
}

#[test]
fn fault_26_random_numbers_differ_between_children() {
    every_way(&json!({}), |_, client, way| {
        let drawn: Vec<Value> = (0..6).map(|_| client.run("boot:chance", json!(null))["result"].clone()).collect();
        for place in 0..4 {
            let mut values: Vec<String> = drawn.iter().map(|d| d[place].to_string()).collect();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), 6, "{way}: {drawn:?}");
        }
    });
}

#[test]
fn titles_tell_pool_and_entry_and_never_params_and_descriptors_are_few() {
    every_way(&json!({}), |daemon, client, way| {
        let run =
            json!({"entry": "boot:pause", "params": 60, "id": "t", "env": {"TOKEN": "s3cret"}, "stdin": "s3cret"});
        let pid = client.ok("run", run)["pid"].as_u64().unwrap() as u32;
        assert_eq!(processes::title(pid), "preforkd: app boot:pause", "{way}");
        // After two forks the one in the middle may need a moment to leave.
        eventually("the keeper is the parent", || (processes::parent(pid) == Some(daemon.pid())).then_some(()));
        assert_eq!(processes::fds(pid), [0, 1, 2, 4], "{way}");
        client.ok("kill", json!({"id": "t", "signal": "KILL"}));
        assert_eq!(client.wait("t")["signal"], 9);
        let calls: Vec<u64> =
            (0..60).map(|n| client.send("run", json!({"entry": "boot:leave", "params": n, "wait": true}))).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(client.receive(call).unwrap()["exit_code"], n, "{way}");
        }
        let idle = usize::from(way.ends_with('1'));
        eventually("only master, zygote and idle children are left", || {
            (processes::descendants(daemon.pid()).len() == 2 + idle).then_some(())
        });
        assert_eq!(daemon.info()["counts"]["dropped_messages"], 0, "{way}");
    });
}

#[test]
fn the_standard_library_and_paths_out_of_cwd_are_refused() {
    every_way(&json!({}), |daemon, client, way| {
        std::fs::write(daemon.path().join("outside.py"), "open('ran', 'w')\n").unwrap();
        let _ = std::os::unix::fs::symlink("../outside.py", daemon.path().join("app/link.py"));
        let absolute = daemon.path().join("outside.py");
        for entry in [
            "os:system",
            "subprocess:run",
            "builtins:exec",
            "boot:os.system",
            "boot:sys.exit",
            "os.path:join",
            "preforkd:progress",
            "timeit",
            "http.server",
            "boot:__builtins__",
            "../outside.py",
            "tools/../../outside.py",
            "link.py",
            absolute.to_str().unwrap(),
        ] {
            let refusal = client.refused("run", json!({"entry": entry, "params": "true", "wait": true}));
            assert!([-32004, -32014].contains(&refusal.code), "{way} {entry}: {refusal:?}");
        }
        for entry in ["os:system", "subprocess:run", "boot:os.system", "timeit", "../outside.py", "link.py"] {
            let refusal = client.refused("run", json!({"entry": entry, "params": "true"}));
            assert_eq!(refusal.kind, "entry_refused", "{way} {entry}: {refusal:?}");
        }
        for entry in
            ["boot:nothing", "nothing:run", "package.nothing:x", "nothing.py", "bin/nothing", "boot:Tool.nothing"]
        {
            let refusal = client.refused("run", json!({"entry": entry}));
            assert_eq!(refusal.kind, "entry_not_found", "{way} {entry}: {refusal:?}");
        }
        assert!(!daemon.path().join("ran").exists() && !daemon.path().join("app/ran").exists());
    });
}

#[test]
fn fault_26_a_thread_in_the_zygote_is_refused_at_the_fork() {
    let boot = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\ndef ok(params): return 1\n";
    for via in ["ctypes", "fork"] {
        let daemon = Setup::app(
            "python",
            &[("boot.py", boot)],
            json!({"preload": "app/boot.py", "env": {"PREFORKD_PYTHON_VIA": via}}),
        )
        .start();
        let mut client = daemon.client();
        let refusal = client.refused("run", json!({"entry": "boot:ok", "id": "t"}));
        assert_eq!(refusal.kind, "start_failed", "{refusal:?}");
        assert!(refusal.message.contains("thread") && refusal.message.contains("app"), "{}", refusal.message);
        assert_eq!(client.ok("status", json!({"id": "t"}))["state"], "failed");
    }
    let daemon = Setup::native(json!({"env": {"PREFORKD_FIXTURE_PRELOAD": "thread"}})).start();
    let refusal = daemon.client().refused("run", json!({"entry": "noop"}));
    assert!(refusal.kind == "start_failed" && refusal.message.contains("thread"), "{refusal:?}");
}
