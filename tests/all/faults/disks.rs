//! Disks that are full.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::masters;
use crate::house::{Daemon, Setup, eventually, machine, preforkd, processes};

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

/// An upgrade that is refused for this reason, and the next one, once `mend` has been called.
fn refused_then_done(daemon: &Daemon, reason: &str, mend: impl FnOnce()) {
    let mut client = daemon.client();
    let (master, worker) = (daemon.master(), client.worker("one", 0)["pid"].clone());
    let fds = processes::fds(master).len();
    let refusal = client.refused("upgrade", json!({"binary": preforkd()}));
    assert_eq!(refusal.kind, "upgrade_failed");
    let message = &refusal.message;
    assert!(message.contains("handing over the state: its ") && message.contains(reason), "{message}");
    assert!(message.contains("carries on as before"), "{message}");
    let unchanged = |daemon: &Daemon, client: &mut crate::house::Client| {
        assert_eq!(client.worker("one", 0)["pid"], worker);
        assert_eq!(client.run("exit", json!({"code": 4}))["exit_code"], 4);
        assert_eq!(daemon.pid(), processes::parent(daemon.master()).unwrap());
    };
    unchanged(daemon, &mut client);
    assert_eq!(daemon.master(), master);
    daemon.fds_are(fds);
    mend();
    let done = client.ok("upgrade", json!({"binary": preforkd()}));
    assert_eq!(client.ok("info", json!({}))["master_pid"], done["master_pid"]);
    unchanged(daemon, &mut client);
}

fn with_a_worker() -> Daemon {
    Setup::native(json!({"idle": 1})).worker(json!({"name": "one", "script": "/bin/sleep", "args": ["1000"]})).start()
}

#[test]
fn fault_12_a_state_that_is_larger_than_files_may_be_is_not_handed_over() {
    let daemon = with_a_worker();
    // The beginning of a line is part of the state.
    let mut talker = daemon.client();
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}).to_string();
    talker.send_raw(" ".repeat(600_000).as_bytes()).unwrap();
    talker.send_raw(line.as_bytes()).unwrap();
    let master = daemon.master().to_string();
    let limit = |to: &str| {
        let set = machine::run(Command::new("prlimit").args(["--pid", &master, &format!("--fsize={to}:")]));
        assert!(set.status.success(), "{set:?}");
    };
    limit("300000");
    refused_then_done(&daemon, "File too large", || limit("unlimited"));
    talker.send_raw(b"\n").unwrap();
    assert!(talker.line()["result"]["version"].is_string(), "its line has gone along");
}

/// strace, which lets a system call of somebody else's fail; it lets go of him at its end.
struct Failing(Child);

impl Drop for Failing {
    fn drop(&mut self) {
        // It may have ended with the one it was attached to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the master writes to the file of its state fails. Err: it cannot be attached to here, for this reason.
fn writes_fail(master: u32, error: &str) -> Result<Failing, String> {
    let inject = format!("inject=write:error={error}");
    let mut strace = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-P", "/memfd:preforkd-state", "-e", "trace=write", "-e", &inject])
        .args(["-p", &master.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(strace.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let strace = Failing(strace);
    if said.contains("attached") { Ok(strace) } else { Err(said) }
}

#[test]
fn fault_12_a_state_that_cannot_be_written_is_not_handed_over() {
    for (error, reason) in [("ENOSPC", "No space left on device"), ("EIO", "Input/output error")] {
        let daemon = with_a_worker();
        let failing = match writes_fail(daemon.master(), error) {
            Ok(failing) => failing,
            Err(why) => return machine::skipped("fault_12_a_state_that_cannot_be_written_is_not_handed_over", &why),
        };
        refused_then_done(&daemon, reason, || drop(failing));
    }
}

#[test]
fn fault_11_a_journal_that_could_not_be_written_is_when_it_can_be_though_nothing_else_happens() {
    let daemon = Setup::native(json!({"idle": 0})).start();
    let master = daemon.master().to_string();
    let limit = |to: &str| {
        let set = machine::run(Command::new("prlimit").args(["--pid", &master, &format!("--fsize={to}:")]));
        assert!(set.status.success(), "{set:?}");
    };
    let mut client = daemon.client();
    let result = json!("x".repeat(30_000));
    let mut run = |id: &str| {
        let status = client.ok("run", json!({"entry": "echo", "params": result, "id": id, "wait": true}));
        assert_eq!(status["result"], result, "{id}");
    };
    ["first", "second", "third"].into_iter().for_each(&mut run);
    // Less than the journal has already, and enough for its log, which is a file, too.
    limit("60000");
    run("last");
    // A while after its start a master looks at its memory: from then on nothing wakes it.
    std::thread::sleep(Duration::from_secs(3));
    let journal = daemon.dir().join("journal");
    let size = || fs::metadata(&journal).unwrap().len();
    assert!(size() < 100_000, "{}", size());
    assert!(daemon.log().contains("the journal cannot be written; results live in memory only until it can"));
    limit("unlimited");
    eventually("it is written", || (size() > 120_000).then_some(()));
    masters::kill(&daemon, daemon.master());
    assert_eq!(daemon.client().ok("status", json!({"id": "last"}))["result"], result);
}

/// A limit on the size of files, which a master inherits, stands for the full disk.
#[test]
fn fault_11_a_journal_that_is_damaged_while_the_disk_is_full_keeps_no_master_from_serving() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "echo", "params": [1], "id": "before", "wait": true}));
    let limit = |pid: u32, to: &str| {
        let set = machine::run(Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--fsize={to}:")]));
        assert!(set.status.success(), "{set:?}");
    };
    // More than there is room for. Its log is a file, too, and a short one.
    limit(daemon.pid(), "60000");
    let journal = daemon.dir().join("journal");
    let damage = [7; 100_000];
    let good = fs::read(&journal).unwrap();
    let master = daemon.master();
    processes::send(master, nix::sys::signal::Signal::SIGSTOP);
    fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(&damage).unwrap();
    masters::kill(&daemon, master);

    let mut client = daemon.client();
    assert_eq!(client.ok("status", json!({"id": "before"}))["result"], json!([1]));
    client.ok("run", json!({"entry": "echo", "params": [2], "id": "meanwhile", "wait": true}));
    assert_eq!(fs::read(&journal).unwrap(), [&good[..], &damage].concat(), "nothing has been lost");
    // Each turn tries, so that the beginning of a copy is there for a moment.
    eventually("no copy stays", || (!daemon.dir().join("journal.torn-1").exists()).then_some(()));
    eventually("it is told why", || {
        let told = |text: &str| daemon.log().matches(text).count() == 1;
        (told("100000 bytes cannot be kept elsewhere and stay there until they can: File too large")
            && told("the journal cannot be written; results live in memory only until it can"))
        .then_some(())
    });

    limit(daemon.master(), "unlimited");
    client.ok("run", json!({"entry": "echo", "params": [3], "id": "after", "wait": true}));
    assert_eq!(fs::read(daemon.dir().join("journal.torn-1")).unwrap(), damage);
    eventually("that it works again is told", || {
        daemon.log().contains("100000 bytes were cut off and are kept in").then_some(())
    });
    masters::kill(&daemon, daemon.master());
    let mut client = daemon.client();
    for (id, result) in [("before", 1), ("meanwhile", 2), ("after", 3)] {
        assert_eq!(client.ok("status", json!({"id": id}))["result"], json!([result]), "{id}");
    }
}
