//! Keepers that make place for another program, in place.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Setup, eventually, preforkd, processes};

fn keeper(client: &mut crate::house::Client) -> Value {
    client.ok("upgrade", json!({"keeper": true, "binary": preforkd()}))
}

#[test]
fn fault_14_keepers_replaced_in_place_keep_pid_children_exits_and_descriptors() {
    let daemon = Setup::native(json!({"idle": 2}))
        .worker(json!({"name": "stays", "script": "/bin/sleep", "args": ["1000"]}))
        .start();
    let mut client = daemon.client();
    let mut other = daemon.client();
    let alive = client.start("sleep", json!({"ms": 60_000}), "alive");
    let (pid, master) = (daemon.pid(), daemon.master());
    let worker = client.worker("stays", 0)["pid"].clone();
    let checked = client.ok("upgrade", json!({"keeper": true, "binary": preforkd(), "check": true}));
    assert_eq!((&checked["checked"], checked.get("version")), (&json!(true), None));
    keeper(&mut client);
    let fds = processes::fds(pid).len();
    for round in 0..20_u64 {
        // Some end before the exec, some meanwhile, some after it.
        let ids: Vec<String> = (0..8).map(|n| format!("r{round}-{n}")).collect();
        for (n, id) in ids.iter().enumerate() {
            let (entry, params) =
                if n % 2 == 0 { ("sleep", json!({"ms": n * 4})) } else { ("exit", json!({"code": n + 1})) };
            other.ok("run", json!({"entry": entry, "params": params, "id": id}));
        }
        let done = keeper(&mut client);
        assert_eq!((&done["version"], &done["former_version"]), (&json!(env!("CARGO_PKG_VERSION")), &done["version"]));
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(other.wait(id)["exit_code"], if n % 2 == 0 { 0 } else { n + 1 }, "{id}");
        }
    }
    assert_eq!((daemon.pid(), daemon.master()), (pid, master));
    assert!(processes::title(pid).starts_with(preforkd()), "{}", processes::title(pid));
    eventually("as many descriptors as before", || (processes::fds(pid).len() == fds).then_some(()));
    assert_eq!(client.worker("stays", 0)["pid"], worker);
    // It does all that a keeper does: other masters, workers again, upgrades, the end.
    super::masters::kill(&daemon, master);
    let mut client = daemon.client();
    assert_eq!(client.ok("status", json!({"id": "alive"}))["pid"], alive["pid"]);
    client.ok("upgrade", json!({"binary": preforkd()}));
    keeper(&mut client);
    processes::send(worker.as_u64().unwrap() as u32, Signal::SIGKILL);
    eventually("the worker is started again", || {
        client.worker("stays", 0)["pid"].as_u64().filter(|now| *now != worker)
    });
    client.ok("kill", json!({"id": "alive", "signal": "KILL"}));
    assert_eq!(client.wait("alive")["signal"], 9);
}

#[test]
fn fault_13_a_keeper_makes_no_place_for_what_is_none() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let mut client = daemon.client();
    let (pid, master) = (daemon.pid(), daemon.master());
    for (program, why) in [
        ("/bin/true", "does not know how to be a keeper"),
        ("/bin/false", "(exit code 1)"),
        ("/nowhere/preforkd", "No such file"),
        ("/etc/passwd", "Permission denied"),
    ] {
        let refused = client.refused("upgrade", json!({"keeper": true, "binary": program}));
        assert_eq!(refused.code, -32016);
        assert!(refused.message.contains(why) && refused.message.contains("carries on"), "{}", refused.message);
    }
    let hung = daemon.path().join("hung");
    std::fs::write(&hung, "#!/bin/sh\necho not yet >&2\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&hung, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = client.refused("upgrade", json!({"keeper": true, "binary": hung}));
    assert!(
        refused.message.contains("killed by SIGKILL") && refused.message.contains("not yet"),
        "{}",
        refused.message
    );
    assert_eq!((daemon.pid(), daemon.master()), (pid, master));
    assert_eq!(client.run("exit", json!({"code": 3}))["exit_code"], 3);
}
