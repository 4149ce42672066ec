//! Daemons that are to end while they have no master, or that lose it on the way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::house::{Daemon, Setup, eventually, processes};

const SOON: Duration = Duration::from_secs(10);

/// With a worker that says when it is asked to end, and a run with a process that does not listen.
fn begin() -> Daemon {
    let script = "trap 'echo asked >> said; exit 0' TERM INT\necho started >> said\nwhile :; do sleep 0.05; done\n";
    let daemon = Setup::native(json!({"idle": 2}))
        .file("polite.sh", script)
        .worker(json!({"name": "polite", "script": "polite.sh", "interpreter": "bash"}))
        .arguments(&["--shutdown-timeout", "4s"])
        .start();
    let mut client = daemon.client();
    let deaf = daemon.path().join("deaf");
    client.start("shell", json!({"script": format!("trap '' TERM; echo > {}; sleep 60", deaf.display())}), "deaf");
    eventually("both are there", || (deaf.exists() && said(&daemon) == "started\n").then_some(()));
    daemon
}

fn said(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.path().join("said")).unwrap_or_default()
}

fn logged(daemon: &Daemon, text: &str) {
    eventually(text, || daemon.log().contains(text).then_some(()));
}

/// No master can begin until the journal is back; the one that serves is killed. Returns where the journal is.
fn take_masters_away(daemon: &Daemon) -> (PathBuf, PathBuf) {
    let (journal, aside) = (daemon.dir().join("journal"), daemon.dir().join("aside"));
    let master = daemon.master();
    std::fs::rename(&journal, &aside).unwrap();
    std::fs::create_dir(&journal).unwrap();
    processes::send(master, Signal::SIGKILL);
    (journal, aside)
}

/// The end, and how it has to be: everybody was asked first, nobody is left.
fn ends_well(mut daemon: Daemon, ask: impl FnOnce(&Daemon)) -> String {
    let before = processes::descendants(daemon.pid());
    let begun = Instant::now();
    ask(&daemon);
    let status = daemon.ends(SOON);
    assert!(status.success(), "{status}:\n{}", daemon.log());
    // What runs is given time before anybody is killed.
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(said(&daemon), "started\nasked\n");
    let left: Vec<String> = before.iter().filter(|p| p.alive()).map(|p| p.describe()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(!daemon.log().contains("did not shut down in time"), "{}", daemon.log());
    daemon.log()
}

#[test]
fn fault_31_sigterm_while_no_master_can_be_had_ends_everybody_in_order() {
    let daemon = begin();
    take_masters_away(&daemon);
    logged(&daemon, "starting another in 200 ms");
    let log = ends_well(daemon, |daemon| processes::send(daemon.pid(), Signal::SIGTERM));
    assert!(log.contains("ending everybody without a master"), "{log}");
}

#[test]
fn fault_31_sigterm_between_two_masters_is_the_next_ones_to_obey() {
    let daemon = begin();
    let (journal, aside) = take_masters_away(&daemon);
    // Long enough for all that follows.
    logged(&daemon, "starting another in 3200 ms");
    std::fs::remove_dir(&journal).unwrap();
    std::fs::rename(&aside, &journal).unwrap();
    let log = ends_well(daemon, |daemon| processes::send(daemon.pid(), Signal::SIGTERM));
    assert!(log.contains("shutting down") && !log.contains("without a master"), "{log}");
    // A master that is there to shut down loads nothing before.
    assert_eq!(log.matches("zygote started").count(), 1, "{log}");
}

#[test]
fn fault_31_a_master_that_dies_as_sigterm_comes_is_followed_by_one_that_shuts_down() {
    let daemon = begin();
    let master = daemon.master();
    let log = ends_well(daemon, |daemon| {
        // Both at once for the keeper.
        processes::send(daemon.pid(), Signal::SIGSTOP);
        processes::send(master, Signal::SIGKILL);
        processes::send(daemon.pid(), Signal::SIGTERM);
        processes::send(daemon.pid(), Signal::SIGCONT);
    });
    assert!(log.contains("during the shutdown; starting another") && log.contains("shutting down"), "{log}");
}

#[test]
fn fault_31_a_master_that_is_killed_while_it_shuts_down_is_followed_by_one_that_goes_on() {
    let daemon = begin();
    let master = daemon.master();
    let log = ends_well(daemon, |daemon| {
        daemon.client().ok("shutdown", json!({}));
        logged(daemon, "shutting down");
        processes::send(master, Signal::SIGKILL);
    });
    assert_eq!(log.matches("shutting down").count(), 2, "{log}");
}

#[test]
fn fault_31_asked_twice_without_a_master_it_waits_for_nobody() {
    let mut daemon = begin();
    take_masters_away(&daemon);
    logged(&daemon, "starting another in 200 ms");
    processes::send(daemon.pid(), Signal::SIGTERM);
    logged(&daemon, "ending everybody without a master");
    eventually("the polite one has gone", || (said(&daemon) == "started\nasked\n").then_some(()));
    let asked = Instant::now();
    processes::send(daemon.pid(), Signal::SIGTERM);
    assert!(daemon.ends(SOON).success(), "{}", daemon.log());
    assert!(asked.elapsed() < Duration::from_millis(2500), "{:?}", asked.elapsed());
}
