//! Descendants that have left: a session of their own, parents that have ended.

use serde_json::{Value, json};

use crate::house::{Daemon, Setup, eventually, machine, processes};

/// With cgroups as the machine has them, and where none is to be seen.
fn both_ways(name: &str, setup: impl Fn() -> Setup, check: impl Fn(&Daemon)) {
    let daemon = setup().start();
    // The log is written by a thread.
    let without = |daemon: &Daemon| daemon.log().contains("no cgroups for workers");
    eventually("its log has begun", || daemon.log().contains("listening").then_some(()));
    if without(&daemon) {
        machine::skipped(name, "with cgroups: no cgroup v2 tree is writable here");
    }
    check(&daemon);
    drop(daemon);
    // Only root can; and not below a root that is no mount point, as after chroot(1).
    let mut unshared = std::process::Command::new("unshare");
    unshared.args(["--mount", "true"]).stderr(std::process::Stdio::null());
    if !unshared.status().is_ok_and(|status| status.success()) {
        return machine::skipped(name, "without cgroups: no mount namespace can be had to take them away in");
    }
    let script = "umount -l /sys/fs/cgroup/unified; umount -l /sys/fs/cgroup; exec \"$@\"";
    let daemon = setup().wrapped(&["unshare", "--mount", "sh", "-c", script, "sh"]).start();
    eventually("it says that there are none", || without(&daemon).then_some(()));
    check(&daemon);
}

/// A shell that starts one in another session and one that it has let go of, and then does what `then` says.
fn shell(daemon: &Daemon, then: &str) -> String {
    let pids = daemon.path().join("pids").display().to_string();
    format!(
        "setsid sleep 1000 & echo $! >> {pids}; (setsid sh -c 'sleep 1001 & echo $! >> {pids}' &); \
         while [ $(wc -l < {pids}) -lt 2 ]; do sleep 0.01; done; mv {pids} {pids}.whole; {then}"
    )
}

fn pids(daemon: &Daemon) -> Vec<u32> {
    let path = daemon.path().join("pids.whole");
    let text = eventually("they have been started", || std::fs::read_to_string(&path).ok());
    std::fs::remove_file(path).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn all_alive(pids: &[u32]) {
    assert!(pids.iter().all(|pid| processes::alive(*pid)), "{pids:?}");
}

fn all_end(pids: &[u32]) {
    eventually("they have gone", || (!pids.iter().any(|pid| processes::alive(*pid))).then_some(()));
}

fn start(daemon: &Daemon, app: Value) -> Value {
    let answer = daemon.client().ok(
        "apps.start",
        json!({"apps": [app], "folder": daemon.path(), "env": {"PATH": std::env::var("PATH").unwrap()}}),
    );
    answer["workers"][0].clone()
}

#[test]
fn fault_22_what_a_worker_has_let_go_of_ends_with_it() {
    let name = "fault_22_what_a_worker_has_let_go_of_ends_with_it";
    both_ways(name, Setup::empty, |daemon| {
        // Another one, whose own are not to be touched.
        let bystander =
            start(daemon, json!({"name": "bystander", "script": "sh", "args": ["-c", shell(daemon, "sleep 1000")]}));
        let others = pids(daemon);
        for (n, then) in ["sleep 1000", "exit 3", "trap '' INT; sleep 1000; sleep 1000"].iter().enumerate() {
            let name = format!("w{n}");
            let app = json!({"name": name, "script": "sh", "args": ["-c", shell(daemon, then)], "autorestart": false, "kill_timeout": 300});
            let worker = start(daemon, app);
            let mut mine = pids(daemon);
            mine.extend(worker["pid"].as_u64().map(|pid| pid as u32));
            if n != 1 {
                all_alive(&mine);
                daemon.client().ok("apps.stop", json!({"target": name}));
            }
            all_end(&mine);
        }
        all_alive(&others);
        assert!(processes::alive(bystander["pid"].as_u64().unwrap() as u32));
        // A killed worker's, and those of its successor.
        processes::send(bystander["pid"].as_u64().unwrap() as u32, nix::sys::signal::Signal::SIGKILL);
        all_end(&others);
        all_alive(&pids(daemon));
    });
}

#[test]
fn fault_22_treekill_false_leaves_them_alone() {
    let daemon = Setup::empty().start();
    let app = json!({"name": "w", "script": "sh", "treekill": false, "args": ["-c", shell(&daemon, "sleep 1000")]});
    start(&daemon, app);
    let mine = pids(&daemon);
    daemon.client().ok("apps.stop", json!({"target": "w"}));
    all_alive(&mine);
}

const PYTHON: &str = r#"
import os, sys, time
out = sys.argv[1]
open(out, "w").close()
def say():
    with open(out, "a") as f: f.write(f"{os.getpid()}\n")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        say(); time.sleep(1000)
    os._exit(0)
os.wait()
if os.fork() == 0:
    os.setsid(); say(); time.sleep(1000)
while len(open(out).readlines()) < 2: time.sleep(0.01)
os.rename(out, out + ".whole")
time.sleep(1000)
"#;

const PHP: &str = r#"<?php
$out = $argv[1];
touch($out);
$say = fn () => file_put_contents($out, getmypid() . "\n", FILE_APPEND);
if (pcntl_fork() === 0) {
    posix_setsid();
    if (pcntl_fork() === 0) { $say(); sleep(1000); }
    posix_kill(getmypid(), 9);
}
pcntl_wait($status);
if (pcntl_fork() === 0) { posix_setsid(); $say(); sleep(1000); }
while (count(file($out)) < 2) usleep(10000);
rename($out, "$out.whole");
sleep(1000);
"#;

#[test]
fn fault_22_a_run_that_is_told_to_end_takes_along_what_it_has_forked() {
    let name = "fault_22_a_run_that_is_told_to_end_takes_along_what_it_has_forked";
    both_ways(
        name,
        || Setup::native(json!({})),
        |daemon| {
            let mut client = daemon.client();
            client.start("shell", json!({"script": shell(daemon, "sleep 1000")}), "bystander");
            let others = pids(daemon);
            client.start("shell", json!({"script": shell(daemon, "sleep 1000")}), "killed");
            let mine = pids(daemon);
            all_alive(&mine);
            client.ok("kill", json!({"id": "killed", "grace": "100ms"}));
            all_end(&mine);
            all_alive(&others);
            client.ok("run", json!({"entry": "shell", "params": {"script": shell(daemon, "sleep 1000")}, "id": "late", "timeout": "1s", "kill_timeout": "100ms"}));
            all_end(&pids(daemon));
            all_alive(&others);
            client.end("bystander");
        },
    );
    for (runtime, file, text) in [("python", "tree.py", PYTHON), ("php", "tree.php", PHP)] {
        for idle in [0, 1] {
            let setup = || Setup::app(runtime, &[(file, text)], json!({"idle": idle}));
            both_ways(name, setup, |daemon| {
                let mut client = daemon.client();
                let out = daemon.path().join("pids");
                client.ok("run", json!({"entry": file, "args": [out], "id": "a"}));
                let others = pids(daemon);
                client.ok("run", json!({"entry": file, "args": [out], "id": "b"}));
                let mine = pids(daemon);
                all_alive(&mine);
                client.ok("kill", json!({"id": "b", "grace": "100ms"}));
                all_end(&mine);
                all_alive(&others);
                // A worker that is forked from the pool, too.
                start(daemon, json!({"name": "w", "pool": "app", "entry": file, "args": [out]}));
                let mine = pids(daemon);
                daemon.client().ok("apps.stop", json!({"target": "w"}));
                all_end(&mine);
                all_alive(&others);
                client.end("a");
            });
        }
    }
}

#[test]
fn fault_22_a_master_that_follows_knows_the_trees_of_the_one_before() {
    let name = "fault_22_a_master_that_follows_knows_the_trees_of_the_one_before";
    both_ways(name, Setup::empty, |daemon| {
        start(daemon, json!({"name": "w", "script": "sh", "args": ["-c", shell(daemon, "sleep 1000")]}));
        let mine = pids(daemon);
        let master = daemon.master();
        processes::send(master, nix::sys::signal::Signal::SIGKILL);
        eventually("another master answers", || {
            let info = crate::house::Client::unix(&daemon.socket()).ok()?.call("info", json!({})).ok()?;
            (info["master_pid"] != json!(master)).then_some(())
        });
        all_alive(&mine);
        daemon.client().ok("apps.stop", json!({"target": "w"}));
        all_end(&mine);
    });
}

#[test]
fn fault_22_what_a_killed_daemon_has_left_in_its_cgroups_is_cleared_by_the_next() {
    let name = "fault_22_what_a_killed_daemon_has_left_in_its_cgroups_is_cleared_by_the_next";
    let daemon = Setup::empty().start();
    if daemon.log().contains("no cgroups for workers") {
        return machine::skipped(name, "no cgroup v2 tree is writable here");
    }
    start(
        &daemon,
        json!({"name": "w", "script": "sh", "autostart": true, "args": ["-c", shell(&daemon, "sleep 1000")]}),
    );
    let mine = pids(&daemon);
    let master = daemon.master();
    // Neither sees the other one die.
    for pid in [daemon.pid(), master] {
        processes::send(pid, nix::sys::signal::Signal::SIGSTOP);
    }
    for pid in [daemon.pid(), master] {
        processes::send(pid, nix::sys::signal::Signal::SIGKILL);
    }
    eventually("both have gone", || (!processes::alive(master) && !processes::alive(daemon.pid())).then_some(()));
    all_alive(&mine);
    let daemon = daemon.crash().start();
    all_end(&mine);
    all_alive(&pids(&daemon));
}
