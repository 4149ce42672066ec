//! What a PHP pool must not run, and what a preload must not do.

use serde_json::{Value, json};

use crate::house::{Setup, within};
use crate::php::every_way;

fn refused(client: &mut crate::house::Client, entry: &str) -> (i64, String) {
    let refusal = client.refused("run", json!({"entry": entry, "params": ["x"], "wait": true}));
    (refusal.code, refusal.message)
}

#[test]
fn built_ins_and_paths_out_of_cwd_are_refused() {
    every_way(&json!({}), |daemon, client, way| {
        std::fs::write(daemon.path().join("outside.php"), "<?php touch('ran');").unwrap();
        let _ = std::os::unix::fs::symlink("../outside.php", daemon.path().join("app/link.php"));
        let absolute = daemon.path().join("outside.php");
        for entry in [
            "system",
            "exec",
            "phpinfo",
            "\\system",
            "SYSTEM",
            "preforkd_progress",
            "ArrayObject",
            "DateTime::createFromFormat",
            "Closure::fromCallable",
            "App\\Job::hidden",
            "App\\Job::__construct",
            "../outside.php",
            "jobs/../../outside.php",
            "link.php",
            absolute.to_str().unwrap(),
            "/etc/passwd",
            "php://stdin",
            "data://text/plain,x",
        ] {
            let (code, message) = refused(client, entry);
            assert!([-32004, -32014].contains(&code), "{way} {entry}: {code} {message}");
        }
        for entry in ["system", "../outside.php", "link.php", "ArrayObject"] {
            assert_eq!(refused(client, entry).0, -32004, "{way} {entry}");
        }
        for entry in ["Nothing", "App\\Nothing", "App\\Job::nothing", "nothing", "nothing.php", "bin/nothing"] {
            let (code, message) = refused(client, entry);
            assert_eq!(code, -32014, "{way} {entry}: {message}");
        }
        assert!(!daemon.path().join("ran").exists() && !daemon.path().join("app/ran").exists());
    });
}

#[test]
fn the_pools_entries_say_what_may_run() {
    let daemon = crate::php::app(json!({"entries": ["App\\*", "bin/console"], "idle": 1})).start();
    let mut client = daemon.client();
    assert_eq!(client.run("App\\Job::add", json!({"a": 1, "b": 1}))["result"], 2);
    assert_eq!(client.ok("run", json!({"entry": "bin/console", "args": ["x"], "wait": true}))["exit_code"], 0);
    for entry in ["shout", "jobs/value.php", "system", "bin/console2", "bin/../bin/console"] {
        let refusal = client.refused("run", json!({"entry": entry, "id": "free"}));
        assert_eq!(refusal.kind, "entry_refused", "{entry}");
        assert_eq!(
            client.refused("status", json!({"id": "free"})).kind,
            "run_not_found",
            "{entry} left something behind"
        );
    }
}

#[test]
fn a_preload_that_throws_says_so_to_run_and_is_tried_again() {
    let files = [(
        "boot.php",
        "<?php if (!file_exists(__DIR__ . '/good')) { throw new LogicException('not configured'); }\nfunction ok($p) { return 1; }\n",
    )];
    let daemon = Setup::app("php", &files, json!({"preload": "app/boot.php"})).start();
    let mut client = daemon.client();
    let pool = client.pool("app");
    assert_eq!(pool["state"], "backoff", "{pool}");
    assert!(pool["error"].as_str().unwrap().contains("not configured"), "{pool}");
    assert_eq!((&pool["zygote_pid"], &pool["generation"]), (&Value::Null, &json!(0)));
    let refusal = client.refused("run", json!({"entry": "ok", "id": "x"}));
    assert_eq!((refusal.code, refusal.kind.as_str()), (-32006, "pool_unavailable"));
    assert!(refusal.message.contains("not configured"), "{}", refusal.message);
    assert_eq!(client.refused("status", json!({"id": "x"})).kind, "run_not_found");
    std::fs::write(daemon.path().join("app/good"), "").unwrap();
    within(std::time::Duration::from_secs(20), "the next try works", || {
        (client.pool("app")["state"] == "ready").then_some(())
    });
    assert_eq!(client.run("ok", json!([]))["result"], 1);
}

#[test]
fn exit_and_syntax_errors_in_the_preload_are_preload_errors() {
    for (text, part) in [("<?php exit(0);", "exit"), ("<?php function (", "parse"), ("<?php nothing();", "nothing")] {
        let daemon = Setup::app("php", &[("boot.php", text)], json!({"preload": "app/boot.php"})).start();
        let refusal = daemon.client().refused("run", json!({"entry": "x"}));
        assert_eq!(refusal.kind, "pool_unavailable");
        assert!(refusal.message.to_lowercase().contains(part), "{text}: {}", refusal.message);
    }
}
