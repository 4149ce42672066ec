//! Masters that are killed at one step of an upgrade, the old one or the new one: see `sys::fault`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{Client, Daemon, Setup, eventually, native, preforkd, processes};

/// Who serves afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Serves {
    /// The old one, as if nothing had been asked.
    Old,
    /// The new one, as if nothing had gone wrong.
    New,
    /// One that was started because a master had died.
    Another,
    /// The old one or another: the fault may come before or after the keeper has looked.
    OldOrAnother,
}

/// A daemon on which something of each kind is under way, and what is known of it.
struct Busy {
    daemon: Daemon,
    faults: PathBuf,
    master: u32,
    worker: Value,
    keeper_fds: usize,
    /// Waits for a run, over a connection of its own.
    waiting: (Client, u64),
    /// Has said nothing for a while.
    silent: Client,
}

/// Runs that are alive, that wait for a place, and one that has ended.
const ALIVE: [&str; 2] = ["alive-0", "alive-1"];
const QUEUED: [&str; 2] = ["queued-0", "queued-1"];

impl Busy {
    fn begin() -> Busy {
        let setup = Setup::native(json!({"max_running": 2}))
            .pool(
                json!({"name": "other", "runtime": "native", "command": [native()], "output": "none"}),
                json!({"idle": 1}),
            )
            .file("tick.sh", "echo started >> starts\nn=0\nwhile :; do n=$((n+1)); echo $n; sleep 0.05; done\n")
            .worker(json!({"name": "tick", "script": "tick.sh", "interpreter": "bash", "out_file": "tick.log"}));
        let faults = setup.path().join("faults");
        std::fs::create_dir(&faults).unwrap();
        let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
        let mut client = daemon.client();
        let ended = client
            .ok("run", json!({"pool": "other", "entry": "exit", "params": {"code": 5}, "id": "ended", "wait": true}));
        assert_eq!(ended["exit_code"], 5);
        let (master, worker) = (daemon.master(), client.worker("tick", 0)["pid"].clone());
        let keeper_fds = processes::fds(daemon.pid()).len();
        for id in ALIVE.iter().chain(&QUEUED) {
            let script = format!("echo {id} >> {}; sleep 0.7", daemon.path().join("ran").display());
            client.ok("run", json!({"pool": "fixture", "entry": "shell", "params": {"script": script}, "id": id}));
        }
        let waits = client.send("wait", json!({"id": ALIVE[0]}));
        let mut silent = daemon.tcp();
        silent.ok("ping", json!({}));
        Busy { faults, master, worker, keeper_fds, waiting: (client, waits), silent, daemon }
    }

    /// At this step that signal comes.
    fn arm(&self, step: &str, signal: Signal) {
        std::fs::write(self.faults.join(step), (signal as i32).to_string()).unwrap();
    }

    /// At each of these steps that signal comes, in an upgrade that somebody asks for now. Returns what he is told, if anything.
    fn upgrade(&self, steps: &[&str], signal: Signal) -> Option<Value> {
        steps.iter().for_each(|step| self.arm(step, signal));
        let mut client = self.daemon.client();
        client.send("upgrade", json!({"binary": preforkd()}));
        let told = client.try_line().expect("an answer, or the end of the connection");
        // The answer may come before the old master has heard that it is to leave. And the keeper ends a new master whose old one has
        // died, which may be before it has come to its own step.
        let ended = || steps.len() > 1 && self.daemon.log().contains("has died (killed by SIGKILL)");
        let come = |step: &&str| !self.faults.join(step).exists() || (step.starts_with("new-") && ended());
        eventually(&format!("come to {steps:?}: {told:?}"), || steps.iter().all(come).then_some(()));
        // Nobody is to come to it later; those that have been come to are gone.
        steps.iter().for_each(|step| drop(std::fs::remove_file(self.faults.join(step))));
        told.map(|line| serde_json::from_str(&line).unwrap())
    }

    /// A master answers, and it is the right one.
    fn serves(&self, expected: Serves, told: Option<&Value>) {
        let now = eventually("a master answers", || {
            let mut client = Client::unix(&self.daemon.socket()).ok()?;
            client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"info\"}\n").ok()?;
            let info: Value = serde_json::from_str(&client.try_line().ok()??).ok()?;
            u32::try_from(info["result"]["master_pid"].as_u64()?).ok()
        });
        let answered = told.and_then(|told| told["result"]["master_pid"].as_u64()).map(|pid| pid as u32);
        let refused = told.and_then(|told| told["error"]["message"].as_str());
        match expected {
            Serves::Old => {
                assert_eq!(now, self.master);
                assert!(refused.is_some_and(|why| why.contains("carries on as before")), "{told:?}");
            }
            Serves::New => assert!(now != self.master && answered == Some(now), "{now}: {told:?}"),
            Serves::Another => {
                assert!(now != self.master && answered != Some(now), "{now}: {told:?}");
                assert_eq!(refused, None);
            }
            Serves::OldOrAnother => assert_eq!(now == self.master, refused.is_some(), "{told:?}"),
        }
    }

    /// Every run is there exactly once and ends as it would have, the worker is the same, connections go on or have ended.
    fn nothing_is_lost(mut self, goes_on: Option<bool>) {
        let mut client = self.daemon.client();
        assert_eq!(client.ok("status", json!({"id": "ended"}))["exit_code"], 5);
        assert_eq!(client.worker("tick", 0)["pid"], self.worker);
        let waited = answer(&mut self.waiting.0, self.waiting.1);
        assert!(waited.as_ref().is_none_or(|a| a["result"]["exit_code"] == 0), "{waited:?}");
        let ping = self.silent.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"ping\"}\n");
        let pong = ping.ok().and_then(|()| answer(&mut self.silent, 77));
        assert!(pong.as_ref().is_none_or(|a| a["result"].is_object()), "{pong:?}");
        if let Some(goes_on) = goes_on {
            // Where they are cut the run may have ended just before.
            assert!(waited.is_some() || !goes_on, "the connection of one who waited was cut");
            assert_eq!(pong.is_some(), goes_on, "the connection of one who had said nothing");
        }
        for id in ALIVE.iter().chain(&QUEUED) {
            let status = client.wait(id);
            assert_eq!((&status["state"], &status["exit_code"]), (&json!("exited"), &json!(0)), "{status}");
        }
        let mut ran: Vec<String> =
            std::fs::read_to_string(self.daemon.path().join("ran")).unwrap().lines().map(str::to_owned).collect();
        ran.sort();
        assert_eq!(ran, [ALIVE, QUEUED].concat());
        assert_eq!(client.ok("runs", json!({}))["runs"].as_array().unwrap().len(), 5);
        // The next upgrade is one like any other.
        let done = client.ok("upgrade", json!({"binary": preforkd()}));
        assert_eq!(client.ok("info", json!({}))["master_pid"], done["master_pid"]);
        let run = client.ok("run", json!({"pool": "other", "entry": "exit", "params": {"code": 3}, "wait": true}));
        assert_eq!(run["exit_code"], 3);
        assert_eq!(client.worker("tick", 0)["pid"], self.worker);
        assert_eq!(std::fs::read_to_string(self.daemon.path().join("starts")).unwrap(), "started\n");
        eventually("the keeper holds no more than before", || {
            (processes::fds(self.daemon.pid()).len() <= self.keeper_fds).then_some(())
        });
        eventually("there is one master", || {
            let below = processes::descendants(self.daemon.pid());
            (below.iter().filter(|p| processes::title(p.pid).starts_with("preforkd: master")).count() == 1)
                .then_some(())
        });
    }
}

/// The answer to that call; None: the connection has ended.
fn answer(client: &mut Client, id: u64) -> Option<Value> {
    while let Some(line) = client.try_line().expect("an answer, or the end of the connection") {
        let answer: Value = serde_json::from_str(&line).unwrap();
        if answer["id"] == id {
            return Some(answer);
        }
    }
    None
}

fn killed_at(steps: &[&str], expected: Serves, goes_on: Option<bool>) {
    eprintln!("killed at {steps:?}");
    let busy = Busy::begin();
    let told = busy.upgrade(steps, Signal::SIGKILL);
    busy.serves(expected, told.as_ref());
    busy.nothing_is_lost(goes_on);
}

#[test]
fn fault_02_the_new_master_killed_before_it_has_taken_over_leaves_everything_as_it_was() {
    for step in ["new-begun", "new-prepared", "new-kept", "new-half-taken", "new-given"] {
        killed_at(&[step], Serves::Old, Some(true));
    }
}

#[test]
fn fault_02_the_old_master_killed_before_the_commit_is_a_crash_like_any_other() {
    for step in ["old-asked", "old-prepared", "old-frozen", "old-half-given", "old-given", "old-taken"] {
        killed_at(&[step], Serves::Another, Some(false));
    }
}

#[test]
fn fault_02_a_new_master_killed_once_it_serves_is_a_crash_like_any_other() {
    killed_at(&["new-taken"], Serves::OldOrAnother, None);
    for step in ["new-go", "new-recovered", "new-ready", "new-answered"] {
        killed_at(&[step], Serves::Another, Some(false));
    }
}

#[test]
fn fault_02_both_masters_killed_in_the_same_upgrade_are_followed_by_another() {
    for steps in
        [["old-given", "new-given"], ["old-taken", "new-taken"], ["old-committed", "new-go"], ["old-leaving", "new-go"]]
    {
        killed_at(&steps, Serves::Another, Some(false));
    }
}

#[test]
fn fault_02_the_old_master_killed_or_stopped_after_the_commit_changes_nothing() {
    for (step, signal) in [
        ("old-committed", Signal::SIGKILL),
        ("old-leaving", Signal::SIGKILL),
        ("old-committed", Signal::SIGSTOP),
        ("old-leaving", Signal::SIGSTOP),
    ] {
        eprintln!("{signal} at {step}");
        let busy = Busy::begin();
        let begun = Instant::now();
        let told = busy.upgrade(&[step], signal);
        busy.serves(Serves::New, told.as_ref());
        let old = busy.master;
        eventually("the old master has been ended", || (!processes::alive(old)).then_some(()));
        // What the keeper may still have against its end of the channel comes after 2 s.
        std::thread::sleep(Duration::from_millis(2500).saturating_sub(begun.elapsed()));
        busy.serves(Serves::New, told.as_ref());
        busy.nothing_is_lost(Some(true));
    }
}

/// The keeper finds the last word and the end of the old master in one look.
#[test]
fn fault_02_the_old_master_killed_before_the_keeper_has_heard_the_commit_is_not_held_against_the_new_one() {
    let busy = Busy::begin();
    busy.arm("old-taken", Signal::SIGSTOP);
    busy.arm("old-committed", Signal::SIGKILL);
    let mut client = busy.daemon.client();
    client.send("upgrade", json!({"binary": preforkd()}));
    let (old, keeper) = (busy.master, busy.daemon.pid());
    eventually("the old master has stopped", || (processes::state(old) == Some('T')).then_some(()));
    processes::send(keeper, Signal::SIGSTOP);
    processes::send(old, Signal::SIGCONT);
    eventually("the old master is dead", || (!processes::alive(old)).then_some(()));
    processes::send(keeper, Signal::SIGCONT);
    let told = client.line();
    busy.serves(Serves::New, Some(&told));
    // An end that is not excused by a successor is held against a master after 2 s.
    std::thread::sleep(Duration::from_millis(2500));
    busy.serves(Serves::New, Some(&told));
    busy.nothing_is_lost(Some(true));
}

/// Before it leaves what it has, and after.
#[test]
fn fault_02_a_master_killed_while_the_keeper_is_replaced_is_followed_by_another() {
    for step in ["keeper-leaving", "keeper-begun"] {
        eprintln!("killed at {step}");
        let busy = Busy::begin();
        busy.arm(step, Signal::SIGSTOP);
        let mut client = busy.daemon.client();
        client.send("upgrade", json!({"binary": preforkd(), "keeper": true}));
        let (master, keeper) = (busy.master, busy.daemon.pid());
        eventually("the keeper has stopped", || (processes::state(keeper) == Some('T')).then_some(()));
        processes::send(master, Signal::SIGKILL);
        eventually("the master is dead", || (!processes::alive(master)).then_some(()));
        processes::send(keeper, Signal::SIGCONT);
        assert_eq!(client.try_line().unwrap(), None);
        busy.serves(Serves::Another, None);
        // An end that has been told twice would be held against the next one after 2 s.
        std::thread::sleep(Duration::from_millis(2500));
        busy.serves(Serves::Another, None);
        busy.nothing_is_lost(Some(false));
    }
}

#[test]
fn fault_13_a_new_master_that_stops_while_it_takes_over_is_ended_at_its_deadline() {
    let busy = Busy::begin();
    let begun = Instant::now();
    let told = busy.upgrade(&["new-given"], Signal::SIGSTOP).unwrap();
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("did not take over within 5s"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    busy.serves(Serves::Old, Some(&told));
    busy.nothing_is_lost(Some(true));
}

#[test]
fn fault_02_a_worker_that_ends_as_its_master_is_killed_is_counted_once() {
    for step in ["worker-ended", "worker-noted"] {
        eprintln!("killed at {step}");
        let setup = Setup::empty().worker(json!({"name": "one", "script": "/bin/sleep", "args": ["1000"]}));
        let faults = setup.path().join("faults");
        std::fs::create_dir(&faults).unwrap();
        let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
        let running = || {
            let found = daemon.client().worker("one", 0);
            (found["state"] == "running").then_some(found)
        };
        let process = eventually("it runs", running)["pid"].clone();
        eventually("the list is on the disk", || daemon.dir().join("apps.json").exists().then_some(()));
        let master = daemon.master();
        std::fs::write(faults.join(step), "9").unwrap();
        processes::send(process.as_u64().unwrap() as u32, Signal::SIGKILL);
        eventually("the master has been killed", || (!processes::alive(master)).then_some(()));
        let again = eventually("it runs again", || {
            let mut client = Client::unix(&daemon.socket()).ok()?;
            client.call("ping", json!({})).ok().and_then(|_| running()).filter(|now| now["pid"] != process)
        });
        assert_eq!((&again["restarts"], &again["last_exit"]["signal"]), (&json!(1), &json!(9)), "{again}");
        assert_eq!(again["last_exit"]["pid"], process);
        assert_eq!(daemon.client().ok("runs", json!({}))["runs"], json!([]));
    }
}
