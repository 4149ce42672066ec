//! Results and errors of native runs; their limits.

use serde_json::{Value, json};

use crate::house::Setup;

#[test]
fn an_error_of_the_entry_is_told_and_ends_in_255() {
    for idle in [0, 1] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.client();
        let ended = client.run("fail", json!(null));
        assert_eq!(
            (&ended["state"], &ended["exit_code"], &ended["signal"]),
            (&json!("exited"), &json!(255), &Value::Null)
        );
        assert!(ended["error"]["message"].as_str().unwrap().contains("asked to fail"), "{ended}");
        let panicked = client.run("panic", json!(null));
        assert_eq!(panicked["exit_code"], 255);
        assert!(panicked["error"]["message"].as_str().unwrap().contains("asked to panic"), "{panicked}");
        let keys: Vec<_> = panicked["error"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["class", "message", "trace"]);
        assert_eq!(client.pool("fixture")["failed_total"], 2);
    }
}

#[test]
fn a_result_beyond_a_mebibyte_is_an_error_that_says_so() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    // The request may be as long as the result but for the call around it.
    let most = client.run("echo", json!("x".repeat((1 << 20) - 300)));
    assert_eq!(most["result"].as_str().map(str::len), Some((1 << 20) - 300));
    let app = Setup::app(
        "python",
        &[("job.py", "def big(params):\n    return 'x' * params['n']\ndef deep(params):\n    v = 1\n    for _ in range(params['n']):\n        v = [v]\n    return v\n")],
        json!({}),
    )
    .start();
    let mut client = app.client();
    let fits = client.run("job:big", json!({"n": (1 << 20) - 2}));
    assert_eq!(fits["result"].as_str().map(str::len), Some((1 << 20) - 2));
    let over = client.run("job:big", json!({"n": 1 << 20}));
    assert_eq!((&over["result"], &over["error"]["class"]), (&Value::Null, &json!("ResultTooLarge")));
    assert_eq!(over["exit_code"], 0, "the run itself did end well");
    // More levels than this parser takes: as text.
    let call = json!({"jsonrpc": "2.0", "id": 0, "method": "run",
                      "params": {"entry": "job:deep", "params": {"n": 500}, "wait": true}});
    client.send_line(&call.to_string());
    let line = client.try_line().unwrap().unwrap();
    assert!(line.contains(&format!("\"result\":{}1{}", "[".repeat(500), "]".repeat(500))), "{line:.300}");
    let deep = client.run("job:deep", json!({"n": 600}));
    assert!(deep["result"].is_null() && deep["error"]["class"].is_string(), "{deep:.300}");
    assert_eq!(client.run("job:big", json!({"n": 3}))["result"], "xxx");
}

#[test]
fn fault_07_signal_core_255_137_and_0_are_told_apart() {
    let daemon = Setup::native(json!({"limits": {"core": "64M"}})).start();
    let mut client = daemon.client();
    for (entry, params, code, signal, name) in [
        ("exit", json!({"code": 0}), json!(0), json!(null), json!(null)),
        ("exit", json!({"code": 1}), json!(1), json!(null), json!(null)),
        ("exit", json!({"code": 137}), json!(137), json!(null), json!(null)),
        ("exit", json!({"code": 255}), json!(255), json!(null), json!(null)),
        ("signal", json!({"signal": 9}), json!(null), json!(9), json!("SIGKILL")),
        ("signal", json!({"signal": 15}), json!(null), json!(15), json!("SIGTERM")),
        ("signal", json!({"signal": 13}), json!(null), json!(13), json!("SIGPIPE")),
    ] {
        let ended = client.run(entry, params);
        assert_eq!((&ended["exit_code"], &ended["signal"], &ended["signal_name"]), (&code, &signal, &name));
        assert_eq!((&ended["state"], &ended["core_dumped"]), (&json!("exited"), &json!(false)));
    }
    let dumped = client.run("signal", json!({"signal": 11}));
    assert_eq!((&dumped["signal"], &dumped["exit_code"]), (&json!(11), &Value::Null));
    // Whether a core is written is the machine's choice (core(5)); a plain name means a file in the working directory.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with("core") {
        assert_eq!(dumped["core_dumped"], true);
    }
    let without = Setup::native(json!({"limits": {"core": 0}})).start();
    let ended = without.client().run("signal", json!({"signal": 11}));
    assert_eq!((&ended["signal"], &ended["core_dumped"]), (&json!(11), &json!(false)));
}

#[test]
fn usage_is_the_runs_own() {
    let app = Setup::app(
        "python",
        &[("job.py", "import time\ndef burn(ms):\n    end = time.process_time() + ms / 1000\n    while time.process_time() < end: pass\n    return bytearray(40 << 20)[0]\n")],
        json!({}),
    )
    .start();
    let mut client = app.client();
    let busy = client.run("job:burn", json!(400))["usage"].clone();
    let used = busy["user_us"].as_u64().unwrap() + busy["system_us"].as_u64().unwrap();
    assert!((400_000..3_000_000).contains(&used), "{busy}");
    let quiet = client.run("job:burn", json!(0))["usage"].clone();
    let less = quiet["user_us"].as_u64().unwrap() + quiet["system_us"].as_u64().unwrap();
    assert!(less < 350_000, "{quiet}");
    assert!(busy["max_rss_bytes"].as_u64().unwrap() > 40 << 20, "{busy}");
}

#[test]
fn limits_hold_a_run_down() {
    let daemon = Setup::app(
        "python",
        &[("job.py", "import resource\ndef eat(mb):\n    return len(bytearray(mb << 20))\ndef spin(params):\n    while True: pass\ndef files(params):\n    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n")],
        json!({"limits": {"memory": "300M", "cpu_time": "1s", "open_files": 77}}),
    )
    .start();
    let mut client = daemon.client();
    let eaten = client.run("job:eat", json!(600));
    assert_eq!((&eaten["exit_code"], &eaten["error"]["class"]), (&json!(255), &json!("MemoryError")));
    assert_eq!(client.run("job:files", json!(null))["result"], 77);
    let spun = client.run("job:spin", json!(null));
    assert!([json!(24), json!(9)].contains(&spun["signal"]), "SIGXCPU or, a second later, SIGKILL: {spun}");
    assert_eq!(spun["timed_out"], false);
}
