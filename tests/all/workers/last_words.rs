//! What workers say last, when they end while no master serves.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{pid, reaches};
use crate::faults::masters::kill;
use crate::house::{Client, Daemon, Setup, eventually, preforkd, processes};

/// Says something, waits, says its last words, of which the very last have no end of line, and ends. The next one stays.
const WORKER: &str = "me=$1-$NODE_APP_INSTANCE\n\
    if [ -e $me ]; then echo again; exec sleep 1000; fi\n\
    trap '' INT\n\
    printf 'has '\n\
    while ! [ -e go ]; do sleep 0.02; done\n\
    : > $me\n\
    echo begun\n\
    seq -f 'last %.0f' 500\n\
    printf end\n\
    exit 3\n";
/// More than are started in one turn.
const MANY: u64 = 12;
/// Each app, its instances, and what becomes of it.
const ALL: [(&str, u64, &str); 4] =
    [("once", 1, "exited"), ("given-up", 1, "fatal"), ("asked", 1, "stopped"), ("again", MANY, "running")];

fn workers() -> Daemon {
    let app = |name: &str, keys: serde_json::Value| {
        let mut app = json!({"name": name, "script": "say.sh", "interpreter": "bash", "args": [name]});
        app.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        app
    };
    let setup = Setup::empty();
    let faults = setup.path().join("faults");
    std::fs::create_dir(&faults).unwrap();
    let daemon = setup
        .wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())])
        .file("say.sh", WORKER)
        .worker(app("once", json!({"autorestart": false})))
        .worker(app("given-up", json!({"max_restarts": 1, "min_uptime": "1h"})))
        // It is told to end, and does so later.
        .worker(app("asked", json!({"kill_timeout": "1h", "treekill": false})))
        .worker(app("again", json!({"instances": MANY, "min_uptime": 1})))
        .start();
    for (name, instances, _) in ALL {
        for n in 0..instances {
            reaches(&daemon, name, n, "running");
            eventually("it has begun", || said(&daemon, name, n).starts_with("has ").then_some(()));
        }
    }
    daemon
}

fn said(daemon: &Daemon, name: &str, instance: u64) -> String {
    let number = if instance == 0 { String::new() } else { format!("-{instance}") };
    let path = daemon.dir().join(format!("logs/{name}-out{number}.log"));
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Pipes that this process has open.
fn pipes(of: u32) -> usize {
    let open = processes::fds(of).into_iter().filter_map(|fd| std::fs::read_link(format!("/proc/{of}/fd/{fd}")).ok());
    open.filter(|what| what.to_string_lossy().starts_with("pipe:")).count()
}

/// They say their last words when `freeze` has stopped the master. Then `leave` sees to it that another one serves.
fn say_it_to_the_next(freeze: impl Fn(&Daemon, u32), leave: impl Fn(&Daemon, u32)) {
    let daemon = workers();
    let mut client = daemon.client();
    let each = || ALL.iter().flat_map(|(name, instances, state)| (0..*instances).map(move |n| (*name, n, *state)));
    let former: Vec<u32> = each().map(|(name, n, _)| pid(&client.worker(name, n))).collect();
    client.send("apps.stop", json!({"target": "asked"}));
    reaches(&daemon, "asked", 0, "stopping");
    let (master, of_keeper) = (daemon.master(), pipes(daemon.pid()));
    let before = pipes(master);
    freeze(&daemon, master);
    std::fs::write(daemon.path().join("go"), "").unwrap();
    for process in former {
        let folder = format!("/proc/{process}");
        eventually("the keeper has reaped it", || (!Path::new(&folder).exists()).then_some(()));
    }
    leave(&daemon, master);
    let mut words = String::from("has begun\n");
    (1..=500).for_each(|n| words += &format!("last {n}\n"));
    for (name, n, state) in each() {
        reaches(&daemon, name, n, state);
        let then = if name == "again" { "end\nagain\n" } else { "end" };
        let expected = format!("{words}{then}");
        let last = std::cell::RefCell::new(String::new());
        eventually(&format!("all that {name}/{n} said is there"), || {
            *last.borrow_mut() = said(&daemon, name, n);
            (last.borrow().len() >= expected.len()).then_some(())
        });
        assert_eq!(*last.borrow(), expected, "{name}/{n}");
    }
    // Each stream has its pipe as before, and no end of it is left over; those of the deleted go.
    let master = daemon.master();
    eventually("the pipes are as many as before", || (pipes(master) == before).then_some(()));
    assert_eq!(pipes(daemon.pid()), of_keeper);
    daemon.client().ok("apps.delete", json!({"target": "all"}));
    let streams = 2 * each().count();
    eventually("their pipes have gone", || (pipes(master) == before - streams).then_some(()));
    eventually("the keeper's, too", || (pipes(daemon.pid()) == of_keeper - streams).then_some(()));
}

#[test]
fn fault_01_last_words_that_nobody_had_read_when_the_master_was_killed_are_in_the_log_once() {
    say_it_to_the_next(|_, master| processes::send(master, Signal::SIGSTOP), kill);
}

// Of a release there are no steps.
#[cfg(debug_assertions)]
#[test]
fn fault_01_last_words_that_are_said_while_a_master_is_frozen_for_an_upgrade_are_in_the_log_once() {
    let freeze = |daemon: &Daemon, master: u32| {
        std::fs::write(daemon.path().join("faults/old-frozen"), (Signal::SIGSTOP as i32).to_string()).unwrap();
        daemon.client().send("upgrade", json!({"binary": preforkd()}));
        eventually("it stands still", || (processes::state(master) == Some('T')).then_some(()));
    };
    say_it_to_the_next(freeze, |daemon, master| {
        processes::send(master, Signal::SIGCONT);
        let answers = |client: &mut Client| {
            client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").ok()?;
            client.try_line().ok()?
        };
        eventually("the new one answers", || answers(&mut Client::unix(&daemon.socket()).ok()?));
        assert_ne!(daemon.master(), master);
    });
}
