//! PHP applications: entries, results, errors, exit codes, in both of the kit's ways.

use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, processes};

const BOOT: &str = r#"<?php
namespace App {
    class Job {
        public function __construct() { $this->made = getmypid(); }
        public $made;
        public function run(array $params) { return ['params' => $params, 'own' => $this->made === getmypid()]; }
        public static function add(array $p): int { return $p['a'] + $p['b']; }
        public function twice(array $p) { return [$p, $p]; }
        private function hidden(array $p) { return 1; }
    }
}
namespace {
    function shout($params) { return is_array($params) ? count($params) : $params; }
    function fail($params) { throw new \DomainException('no such customer', 7); }
    function type_error($params) { return strlen([]); }
    function leave($params) { exit($params); }
    function say($params) { echo "out ü\n"; file_put_contents('php://stderr', "err\n"); file_put_contents('php://stdout', "again\n"); return true; }
    function later($params) { register_shutdown_function(function () { echo "shutdown\n"; }); ob_start(); echo "buffered\n"; return 1; }
    function late_exit($params) { register_shutdown_function(function () { exit(6); }); return 1; }
    function out_of_memory($params) { ini_set('memory_limit', '16M'); return str_repeat('x', 64 << 20); }
    function read_stdin($params) { return stream_get_contents(fopen('php://stdin', 'r')); }
    function chance($params) { return [mt_rand(), rand(), random_int(0, PHP_INT_MAX), uniqid(), str_shuffle('abcdefghijklmnopqrstuvwxyz')]; }
    function env($params) { return [(string) getenv($params), $_SERVER[$params] ?? '']; }
    function big($params) { return str_repeat('x', $params); }
    function no_json($params) { return ["\xff"]; }
    function wait_for($params) { usleep($params * 1000); return getmypid(); }
    function pid_pair($params) { return [getmypid(), posix_getppid()]; }
    $GLOBALS['boot_pid'] = getmypid();
    mt_rand();
    preforkd_after_fork(function () { $GLOBALS['hook'] = getmypid(); });
    function hooked($params) { return [$GLOBALS['hook'] === getmypid(), $GLOBALS['boot_pid'] !== getmypid()]; }
}
"#;

const CONSOLE: &str = "#!/usr/bin/env php\n<?php\n$command = $argv[1] ?? 'none';\nif ($command === 'boom') { throw new RuntimeException('boom'); }\n\
    echo json_encode($argv), \"\\n\";\nexit($command === 'fail' ? 3 : 0);\n";

/// Both of the kit's ways, with and without idle children.
pub fn every_way(keys: &Value, mut check: impl FnMut(&Daemon, &mut Client, &str)) {
    for via in ["ffi", "pcntl"] {
        for idle in [0, 1] {
            let mut keys = keys.clone();
            keys["env"] = json!({"PREFORKD_PHP_VIA": via, "POOL_VAR": "pool"});
            keys["idle"] = json!(idle);
            let daemon = app(keys).start();
            let what = format!("via {via}, idle {idle}");
            check(&daemon, &mut daemon.client(), &what);
        }
    }
}

pub fn app(keys: Value) -> Setup {
    let files = [
        ("boot.php", BOOT),
        ("bin/console", CONSOLE),
        ("jobs/value.php", "<?php return ['argc' => $argc, 'name' => basename(__FILE__)];"),
    ];
    let mut with = json!({"preload": "app/boot.php"});
    for (key, value) in keys.as_object().unwrap() {
        with[key] = value.clone();
    }
    Setup::app("php", &files, with)
}

#[test]
fn entries_of_every_kind_give_their_results() {
    every_way(&json!({}), |_, client, way| {
        let mut result = |entry: &str, params: Value| {
            let ended = client.run(entry, params);
            assert_eq!((&ended["exit_code"], &ended["error"]), (&json!(0), &Value::Null), "{way} {entry}: {ended}");
            ended["result"].clone()
        };
        assert_eq!(result("App\\Job", json!({"a": 1})), json!({"params": {"a": 1}, "own": true}), "{way}");
        assert_eq!(result("App\\Job::add", json!({"a": 1, "b": 2})), 3, "{way}");
        assert_eq!(result("App\\Job::twice", json!([1])), json!([[1], [1]]), "{way}");
        assert_eq!(result("shout", json!([5, 6])), 2, "{way}");
        assert_eq!(result("shout", json!("text")), "text", "{way}");
        assert_eq!(result("shout", json!({"deep": {"er": [null, 1.5]}})), 1, "{way}");
        assert_eq!(result("jobs/value.php", json!([])), json!({"argc": 1, "name": "value.php"}), "{way}");
        assert_eq!(result("hooked", json!([])), json!([true, true]), "{way}");
        let none = client.ok("run", json!({"entry": "shout", "wait": true}));
        assert_eq!(none["result"], 0, "{way}: absent params are an empty array");
    });
}

#[test]
fn scripts_have_argv_and_their_own_exit_code() {
    every_way(&json!({}), |_, client, way| {
        for (args, code) in [(json!(["list", "--env=ü x"]), 0), (json!(["fail"]), 3), (json!([]), 0)] {
            let ended = client.ok("run", json!({"entry": "bin/console", "args": args, "wait": true}));
            assert_eq!(ended["exit_code"], code, "{way} {args}: {ended}");
            let argv: Vec<String> = serde_json::from_str(ended["stdout"].as_str().unwrap())
                .unwrap_or_else(|e| panic!("{way}: {e}: {ended}"));
            assert!(argv[0].ends_with("bin/console"), "{argv:?}");
            assert_eq!(json!(argv[1..]), args, "{way}");
        }
        let thrown = client.ok("run", json!({"entry": "bin/console", "args": ["boom"], "wait": true}));
        assert_eq!(
            (&thrown["exit_code"], &thrown["error"]["class"]),
            (&json!(255), &json!("RuntimeException")),
            "{way}"
        );
    });
}

#[test]
fn errors_and_exits_end_as_the_app_meant() {
    every_way(&json!({}), |_, client, way| {
        let thrown = client.run("fail", json!({"secret": "pa55word"}));
        assert_eq!(
            (&thrown["exit_code"], &thrown["signal"], &thrown["result"]),
            (&json!(255), &Value::Null, &Value::Null),
            "{way}"
        );
        let error = &thrown["error"];
        assert_eq!(
            (&error["class"], &error["message"]),
            (&json!("DomainException"), &json!("no such customer")),
            "{way}"
        );
        assert!(error["trace"].as_str().unwrap().contains("boot.php"), "{way}: {error}");
        assert!(!thrown.to_string().contains("pa55word"), "{way}: params in the error: {thrown}");
        let fatal = client.run("type_error", json!([]));
        assert_eq!(
            (&fatal["exit_code"], &fatal["error"]["class"]),
            (&json!(255), &json!("TypeError")),
            "{way}: {fatal}"
        );
        let memory = client.run("out_of_memory", json!([]));
        assert_eq!(memory["exit_code"], 255, "{way}: {memory}");
        assert!(memory["error"]["message"].as_str().is_some_and(|m| m.contains("memory")), "{way}: {memory}");
        for code in [0, 1, 5, 254, 255] {
            let left = client.run("leave", json!(code));
            assert_eq!(
                (&left["exit_code"], &left["error"], &left["signal"]),
                (&json!(code), &Value::Null, &Value::Null),
                "{way}: {left}"
            );
        }
        let late = client.run("late_exit", json!([]));
        assert_eq!(late["exit_code"], 6, "{way}: {late}");
    });
}

#[test]
fn output_buffers_and_shutdown_functions_come_through_fast_and_full() {
    for shutdown in ["fast", "full"] {
        every_way(&json!({"shutdown": shutdown}), |_, client, way| {
            let said = client.run("say", json!([]));
            assert_eq!(
                (&said["stdout"], &said["stderr"]),
                (&json!("out ü\nagain\n"), &json!("err\n")),
                "{way} {shutdown}"
            );
            let later = client.run("later", json!([]));
            assert_eq!((&later["exit_code"], &later["result"]), (&json!(0), &json!(1)), "{way} {shutdown}");
            let out = later["stdout"].as_str().unwrap();
            assert!(out.contains("buffered\n") && out.contains("shutdown\n"), "{way} {shutdown}: {out:?}");
        });
    }
}

#[test]
fn stdin_environment_and_large_values() {
    every_way(&json!({}), |_, client, way| {
        let read = client.ok("run", json!({"entry": "read_stdin", "stdin": "from the client\n", "wait": true}));
        assert_eq!(read["result"], "from the client\n", "{way}: {read}");
        for (name, value) in [("POOL_VAR", "pool"), ("RUN_VAR", "run ü"), ("PREFORKD_ZYGOTE", "")] {
            let run = json!({"entry": "env", "params": name, "env": {"RUN_VAR": "run ü"}, "wait": true});
            assert_eq!(client.ok("run", run)["result"], json!([value, value]), "{way} {name}");
        }
        for size in [60_000, 70_000, 1_000_000] {
            assert_eq!(client.run("big", json!(size))["result"].as_str().map(str::len), Some(size), "{way}");
            let text = "ü".repeat(size / 2);
            assert_eq!(client.run("shout", json!(text))["result"], json!(text), "{way}");
        }
        let large = client.run("big", json!(1 << 20));
        assert_eq!((&large["result"], &large["error"]["class"]), (&Value::Null, &json!("ResultTooLarge")), "{way}");
        let bad = client.run("no_json", json!([]));
        assert_eq!((&bad["result"], &bad["error"]["class"]), (&Value::Null, &json!("ResultNotJson")), "{way}");
    });
}

#[test]
fn fault_26_random_numbers_differ_between_children() {
    every_way(&json!({}), |_, client, way| {
        let drawn: Vec<Value> = (0..6).map(|_| client.run("chance", json!([]))["result"].clone()).collect();
        for place in 0..5 {
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
            json!({"entry": "wait_for", "params": 60_000, "id": "t", "env": {"TOKEN": "s3cret"}, "stdin": "s3cret"});
        let pid = client.ok("run", run)["pid"].as_u64().unwrap() as u32;
        assert_eq!(processes::title(pid), "preforkd: app wait_for", "{way}");
        // After two forks the one in the middle may need a moment to leave.
        eventually("the keeper is the parent", || (processes::parent(pid) == Some(daemon.pid())).then_some(()));
        if way.contains("ffi") {
            let fds = processes::fds(pid);
            let beside: Vec<u32> = fds.iter().copied().filter(|fd| ![0, 1, 2, 4].contains(fd)).collect();
            // PHP keeps its main script open: the kit's own file.
            for fd in &beside {
                let to = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
                assert!(to.to_string_lossy().contains("memfd"), "{way}: {fd} is {to:?} of {fds:?}");
            }
            assert!(beside.len() <= 1, "{way}: {fds:?}");
        }
        client.ok("kill", json!({"id": "t", "signal": "KILL"}));
        assert_eq!(client.wait("t")["signal"], 9);
    });
}

#[test]
fn after_a_hundred_runs_nothing_is_left() {
    every_way(&json!({"max_running": 8}), |daemon, client, way| {
        let calls: Vec<u64> =
            (0..100).map(|n| client.send("run", json!({"entry": "leave", "params": n, "wait": true}))).collect();
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
