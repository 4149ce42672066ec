//! `reload`: a new generation takes over, or the old one stays.

use serde_json::json;

use crate::house::{Setup, eventually, processes};

const VERSION: &str = "import preforkd, time\nVERSION = 1\ndef version(params):\n    return VERSION\ndef slow(params):\n    time.sleep(params)\n    return VERSION\n";

#[test]
fn new_runs_come_from_the_new_generation_and_old_ones_finish() {
    for idle in [0, 2] {
        let daemon =
            Setup::app("python", &[("job.py", VERSION)], json!({"preload": "app/job.py", "idle": idle})).start();
        let mut client = daemon.client();
        let old = client.pool("app");
        client.start("job:slow", json!(1.5), "old");
        assert_eq!(client.run("job:version", json!(null))["result"], 1);
        std::fs::write(
            daemon.path().join("app/job.py"),
            VERSION.replace("VERSION = 1", "VERSION = 2  # Python compares size and seconds"),
        )
        .unwrap();
        let new = client.ok("reload", json!({"name": "app"}));
        assert_eq!((&new["generation"], &new["state"], &new["error"]), (&json!(2), &json!("ready"), &json!(null)));
        assert_ne!(new["zygote_pid"], old["zygote_pid"]);
        for _ in 0..5 {
            let ended = client.run("job:version", json!(null));
            assert_eq!((&ended["result"], &ended["generation"]), (&json!(2), &json!(2)));
        }
        let ended = client.wait("old");
        assert_eq!((&ended["result"], &ended["generation"], &ended["exit_code"]), (&json!(1), &json!(1), &json!(0)));
        let zygote = old["zygote_pid"].as_u64().unwrap() as u32;
        eventually("the old zygote has left", || (!processes::alive(zygote)).then_some(()));
    }
}

#[test]
fn a_reload_that_fails_leaves_the_old_generation() {
    let daemon = Setup::app("python", &[("job.py", VERSION)], json!({"preload": "app/job.py"})).start();
    let mut client = daemon.client();
    let old = client.pool("app");
    std::fs::write(daemon.path().join("app/job.py"), "raise ValueError('not today')\n").unwrap();
    let refusal = client.refused("reload", json!({"name": "app"}));
    assert_eq!((refusal.code, refusal.kind.as_str()), (-32012, "reload_failed"));
    assert!(refusal.message.contains("not today"), "{}", refusal.message);
    let pool = client.pool("app");
    assert_eq!(
        (&pool["generation"], &pool["zygote_pid"], &pool["state"]),
        (&old["generation"], &old["zygote_pid"], &old["state"])
    );
    assert!(pool["error"].as_str().is_some_and(|e| e.contains("not today")), "{pool}");
    assert_eq!(client.run("job:version", json!(null))["result"], 1);
    std::fs::write(
        daemon.path().join("app/job.py"),
        VERSION.replace("VERSION = 1", "VERSION = 3  # and once more, longer"),
    )
    .unwrap();
    assert_eq!(client.ok("reload", json!({"name": "app"}))["error"], json!(null));
    assert_eq!(client.run("job:version", json!(null))["result"], 3);
    assert_eq!(client.refused("reload", json!({"name": "nobody"})).kind, "pool_not_found");
}

#[test]
fn reloads_under_load_lose_nothing() {
    let daemon = Setup::native(json!({"idle": 2, "max_running": 8})).start();
    let mut client = daemon.client();
    let mut admin = daemon.client();
    let calls: Vec<u64> = (0..400)
        .map(|n| client.send("run", json!({"entry": "echo", "params": n, "id": format!("n{n}"), "wait": true})))
        .collect();
    let pids: Vec<_> = (0..6).map(|_| admin.ok("reload", json!({"name": "fixture"}))["zygote_pid"].clone()).collect();
    for (n, call) in calls.into_iter().enumerate() {
        let ended = client.receive(call).unwrap();
        assert_eq!((&ended["result"], &ended["exit_code"]), (&json!(n), &json!(0)), "{ended}");
    }
    let pool = client.pool("fixture");
    assert_eq!((&pool["generation"], &pool["runs_total"], &pool["zygote_pid"]), (&json!(7), &json!(400), &pids[5]));
}
