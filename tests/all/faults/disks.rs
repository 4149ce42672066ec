//! Disks that are full.

use std::fs;

use serde_json::json;

use crate::house::{Setup, eventually, machine};

#[test]
fn fault_11_a_full_disk_of_logs_holds_nobody_up_and_the_loss_is_counted_and_told() {
    let name = "fault_11_a_full_disk_of_logs_holds_nobody_up_and_the_loss_is_counted_and_told";
    if !machine::is_root() {
        return machine::skipped(name, "only root can mount a small disk");
    }
    let probe = machine::run(
        std::process::Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]),
    );
    if !probe.status.success() {
        return machine::skipped(name, "a small disk cannot be mounted here");
    }
    let setup = Setup::native(json!({"output": "log", "idle": 1}));
    let logs = setup.dir().join("logs");
    for folder in [&setup.dir(), &logs] {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    // In a namespace of its own, so that nothing of it is left whatever happens.
    let mount = format!("mount -t tmpfs -o size=256k,mode=0700 tmpfs '{}' && exec \"$@\"", logs.display());
    let daemon = setup.wrapped(&["unshare", "-m", "sh", "-c", &mount, "sh"]).start();
    let mut client = daemon.client();
    let inside = format!("/proc/{}/root{}/fixture-out.log", daemon.master(), logs.display());
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo done >&2";
    let started = std::time::Instant::now();
    let ended = client.run("shell", json!({"script": script}));
    assert_eq!(ended["exit_code"], 0, "{ended}");
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    eventually("it is told once in the daemon's log", || {
        let told = |log: &str| log.lines().filter(|l| l.contains("is lost; ") && l.contains("fixture-out.log")).count();
        (told(&daemon.log()) == 1).then_some(())
    });
    let kept = fs::metadata(&inside).unwrap().len();
    assert!((1..=256 * 1024).contains(&kept), "{kept}");
    client.run("shell", json!({"script": "echo still no room"}));

    client.ok("apps.flush", json!({}));
    client.run("print", json!({"stdout": "room again\n"}));
    let text = fs::read_to_string(&inside).unwrap();
    let lost: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text:.200}"));
    let told = 3_000_001 + "still no room\n".len() as u64;
    assert_eq!(lost + kept, told, "{text:.200}");
    assert!(text.starts_with("preforkd: ") && text.ends_with("lost: no storage space\nroom again\n"), "{text:.200}");
    eventually("that it works again is told", || daemon.log().contains("output can be written again").then_some(()));
}

#[test]
fn fault_11_a_list_of_apps_that_cannot_be_written_is_written_when_it_can_be() {
    let daemon = Setup::empty().worker(json!({"name": "one", "script": "/bin/sleep", "args": ["1000"]})).start();
    let mut client = daemon.client();
    client.ok("apps.save", json!({}));
    // A name that is taken by a folder stands for a disk without room.
    let new = daemon.dir().join("apps.json.new");
    fs::create_dir(&new).unwrap();
    let stopped = client.ok("apps.stop", json!({"target": "one"}));
    assert_eq!(stopped["workers"][0]["state"], "stopped", "what is asked is done nevertheless");
    let refusal = client.refused("apps.save", json!({}));
    assert!(refusal.message.contains("apps.json.new: Is a directory"), "{refusal:?}");
    assert_eq!(daemon.log().matches("the list of apps cannot be written").count(), 1);
    let wanted = || {
        let list: serde_json::Value =
            serde_json::from_slice(&fs::read(daemon.dir().join("apps.json")).unwrap()).unwrap();
        list["workers"][0]["wanted"].as_bool().unwrap()
    };
    assert!(wanted());
    fs::remove_dir(&new).unwrap();
    eventually("the list is written without being asked for", || (!wanted()).then_some(()));
    client.ok("apps.save", json!({}));
}
