//! Two daemons on one folder, and what a dead one leaves behind.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::house::{Setup, machine};

#[test]
fn fault_27_a_second_daemon_on_the_folder_is_refused_with_the_firsts_pid() {
    let daemon = Setup::native(json!({})).start();
    let mut command = std::process::Command::new(crate::house::preforkd());
    command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(daemon.dir());
    let said = machine::refused_start(&mut command);
    assert!(said.contains(&daemon.pid().to_string()), "it names the pid: {said}");
    assert!(said.contains(daemon.dir().to_str().unwrap()), "{said}");
    assert_eq!(daemon.tcp().run("noop", json!(null))["exit_code"], 0, "the first one is unharmed");
    assert_eq!(daemon.client().run("noop", json!(null))["exit_code"], 0);
}

#[test]
fn fault_27_an_address_that_is_taken_is_told() {
    let daemon = Setup::native(json!({})).start();
    let address = daemon.address().to_string();
    let said = Setup::native(json!({})).arguments(&["--listen", &address]).refused();
    assert!(said.contains(&address) && said.contains("in use") && said.contains("--no-tcp"), "{said}");
}

#[test]
fn fault_27_a_stale_socket_and_lock_do_not_hinder() {
    let daemon = Setup::native(json!({"idle": 2})).start();
    let ended = daemon.client().ok("run", json!({"entry": "echo", "params": 1, "id": "before", "wait": true}));
    let socket = daemon.socket();
    let setup = daemon.crash();
    assert!(socket.exists(), "a crash leaves it");
    let daemon = setup.start();
    assert_eq!(daemon.client().ok("status", json!({"id": "before"})), ended);
    assert_eq!(daemon.client().run("noop", json!(null))["exit_code"], 0);
}

#[test]
fn fault_27_a_socket_file_of_anothers_making_is_taken_over_or_refused_never_ignored() {
    let setup = Setup::native(json!({}));
    fs::create_dir(setup.dir()).unwrap();
    fs::set_permissions(setup.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // Bound once, nobody listens: as after a crash.
    drop(UnixListener::bind(setup.dir().join("preforkd.sock")).unwrap());
    let daemon = setup.start();
    assert_eq!(daemon.client().run("noop", json!(null))["exit_code"], 0);
}
