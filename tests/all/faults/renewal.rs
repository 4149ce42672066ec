//! A journal that is written anew while its master serves, and masters that are killed meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::masters::{answering, kill};
use crate::house::{Client, Daemon, Setup, eventually};

/// Bytes of a result that makes the journal long, and how many there are: more than are too few to write it anew for.
const LARGE: usize = 400_000;
const MANY: usize = 14;
/// As many steps as it takes to be interrupted between two of them.
const KEPT: usize = 600;

/// Results that are kept, and others whose runs are to be freed: then the journal is mostly about those.
struct Kept {
    daemon: Daemon,
    faults: PathBuf,
}

impl Kept {
    fn new() -> Kept {
        let setup = Setup::native(json!({"idle": 0, "max_running": 10}));
        let faults = setup.path().join("faults");
        std::fs::create_dir(&faults).unwrap();
        let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
        let mut client = daemon.client();
        (0..KEPT).for_each(|n| said(&mut client, &format!("kept-{n}"), &format!("this is {n}")));
        (0..MANY).for_each(|n| said(&mut client, &format!("freed-{n}"), &"x".repeat(LARGE)));
        Kept { daemon, faults }
    }

    /// Asks for it on a connection that has to stay.
    fn free(&self) -> Client {
        let mut client = answering(&self.daemon);
        for n in 0..MANY {
            client.send("free", json!({"id": format!("freed-{n}")}));
        }
        client
    }

    fn is_written_anew(&self) -> bool {
        let size = std::fs::metadata(self.daemon.dir().join("journal")).unwrap().len();
        size < (MANY * LARGE / 2) as u64
    }

    /// Nothing is lost of what was kept, or doubled or back of what was freed, for this master and the next one.
    fn is_whole(&self, more: &[String]) {
        let mut client = self.daemon.client();
        for n in 0..KEPT {
            let status = client.ok("status", json!({"id": format!("kept-{n}")}));
            assert_eq!(status["result"], format!("this is {n}"), "{status}");
        }
        for id in more {
            assert_eq!(client.wait(id)["result"], format!("result of {id}"));
        }
        for n in 0..MANY {
            assert_eq!(client.refused("status", json!({"id": format!("freed-{n}")})).kind, "run_not_found");
        }
        let kept = KEPT + more.len();
        assert_eq!(self.daemon.info()["counts"]["ended"], kept);
        assert!(!self.daemon.dir().join("journal.new").exists());
    }
}

/// A run that has said this.
fn said(client: &mut Client, id: &str, what: &str) {
    let run = client.ok("run", json!({"entry": "echo", "params": what, "id": id, "wait": true}));
    assert_eq!(run["exit_code"], 0, "{id}");
}

#[test]
fn a_journal_is_written_anew_while_runs_come_and_go() {
    let kept = Kept::new();
    let mut client = kept.daemon.client();
    let mut more = Vec::new();
    let _freeing = kept.free();
    eventually("the journal is written anew", || {
        let id = format!("more-{}", more.len());
        said(&mut client, &id, &format!("result of {id}"));
        more.push(id);
        kept.is_written_anew().then_some(())
    });
    kept.is_whole(&more);
    kill(&kept.daemon, kept.daemon.master());
    kept.is_whole(&more);
}

#[test]
fn a_journal_is_written_anew_to_the_end_by_a_master_that_has_nothing_else_to_do() {
    let kept = Kept::new();
    let mut client = kept.daemon.client();
    // A while after its start a master looks at its memory. From then on nothing wakes it but these, all in one turn.
    std::thread::sleep(Duration::from_secs(3));
    let requests: Vec<String> = (0..MANY)
        .map(|n| json!({"jsonrpc": "2.0", "id": n, "method": "free", "params": {"id": format!("freed-{n}")}}))
        .map(|request| format!("{request}\n"))
        .collect();
    client.send_raw(requests.concat().as_bytes()).unwrap();
    eventually("the journal is written anew", || kept.is_written_anew().then_some(()));
    kept.is_whole(&[]);
}

#[test]
fn requests_of_runs_that_have_left_nothing_do_not_stay_in_the_journal() {
    let daemon = Setup::native(json!({"idle": 0, "max_running": 1})).start();
    let mut client = daemon.client();
    client.start("sleep", json!({"ms": 60_000}), "first");
    let ids: Vec<String> = (0..MANY).map(|n| format!("waited-{n}")).collect();
    for id in &ids {
        let params = json!({"code": 0, "more": "x".repeat(LARGE)});
        assert_eq!(client.ok("run", json!({"entry": "exit", "params": params, "id": id}))["state"], "queued");
    }
    client.end("first");
    for id in &ids {
        assert_eq!(client.wait(id)["result"], json!(null));
    }
    let size = || std::fs::metadata(daemon.dir().join("journal")).unwrap().len();
    assert!(size() > (MANY * LARGE) as u64, "they are on record while they wait");
    for id in &ids {
        client.ok("free", json!({"id": id}));
    }
    eventually("the journal is written anew", || (size() < 100_000).then_some(()));
}

#[test]
fn fault_01_a_master_that_is_killed_while_it_writes_the_journal_anew_loses_nothing() {
    for step in ["journal-renewed", "journal-waits", "journal-replaced"] {
        let kept = Kept::new();
        let file = kept.faults.join(step);
        std::fs::write(&file, "9").unwrap();
        let params = json!({"script": "sleep 1; exit 3"});
        kept.daemon.client().start("shell", params, "running");
        let _freeing = kept.free();
        eventually("the master has been killed there", || (!file.exists()).then_some(()));
        // Those that it had not heard of.
        let _freeing = kept.free();
        eventually("the journal is written anew", || kept.is_written_anew().then_some(()));
        let mut client = kept.daemon.client();
        assert_eq!(client.wait("running")["result"], 3, "{step}");
        client.ok("free", json!({"id": "running"}));
        kept.is_whole(&[]);
        kill(&kept.daemon, kept.daemon.master());
        kept.is_whole(&[]);
    }
}
