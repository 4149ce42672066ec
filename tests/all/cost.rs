//! What a run, and whoever is there, cost the master: in counts, which no busy machine changes. A bound is about a quarter above
//! what was counted on Debian 12; `scripts/bench runs --only syscalls` lists the calls, `docs/PERFORMANCE.md` says what each is for.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::json;

use crate::house::{Client, Daemon, Setup, eventually, machine, processes};

/// strace, which counts; what it has counted it writes at its end.
struct Counting {
    strace: Child,
    /// What else it says; it would end if nobody could hear it.
    _said: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Counting {
    /// Err: the master cannot be attached to here, for this reason.
    fn of(daemon: &Daemon) -> Result<Counting, String> {
        let file = daemon.path().join("calls");
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-o"])
            .arg(&file)
            .args(["-p", &daemon.master().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(strace.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        let counting = Counting { strace, _said: stderr, file };
        if said.contains("attached") { Ok(counting) } else { Err(said) }
    }

    /// The sum of the calls, and the table, of `… calls [errors] name`.
    fn end(mut self) -> (u64, String) {
        processes::send(self.strace.id(), nix::sys::signal::Signal::SIGINT);
        self.strace.wait().unwrap();
        let table = std::fs::read_to_string(&self.file).unwrap();
        let calls = |name: &str| -> Option<u64> {
            let line = table.lines().find(|line| line.split_whitespace().next_back() == Some(name))?;
            Some(line.split_whitespace().nth(3)?.parse().unwrap())
        };
        // Before each close, in a build with debug assertions, the standard library looks whether the descriptor is open.
        (calls("total").unwrap() - calls("fcntl").unwrap_or(0), table.clone())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It has ended, but where the test fails.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

const RUNS: u64 = 60;

fn runs(client: &mut Client, count: u64) {
    for _ in 0..count {
        assert_eq!(client.run("noop", json!(null))["exit_code"], 0);
    }
}

#[test]
fn a_run_takes_few_system_calls_of_the_master() {
    // With strace in the way an exit may come before its start was read, or two wake-ups as one, which costs a call more each.
    for (idle, most) in [(0, 10), (4, 14)] {
        let daemon = Setup::native(json!({"idle": idle})).start();
        let mut client = daemon.client();
        runs(&mut client, 10);
        let mut counted = Vec::new();
        for _ in 0..3 {
            let counting = match Counting::of(&daemon) {
                Ok(counting) => counting,
                Err(why) => return machine::skipped("a_run_takes_few_system_calls_of_the_master", &why),
            };
            runs(&mut client, RUNS);
            counted.push(counting.end());
        }
        let (calls, table) = counted.into_iter().min().unwrap();
        assert!(calls >= 6 * RUNS, "not all has been counted:\n{table}");
        assert!(
            calls <= most * RUNS,
            "{calls} calls for {RUNS} runs with {idle} idle children, more than {most} each:\n{table}"
        );
    }
}

/// The numbers of `tests/all/allocations.c` about the master of a daemon.
struct Heap {
    folder: PathBuf,
}

/// Of those.
#[derive(Debug, Clone, Copy)]
struct Counts {
    calls: i64,
    asked: i64,
    held: i64,
}

impl Heap {
    /// A daemon whose heap is counted.
    fn counted(setup: Setup) -> (Heap, Daemon) {
        let folder = setup.path().to_owned();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/allocations.c");
        let library = folder.join("allocations.so");
        let mut cc = Command::new("cc");
        let built = machine::run(cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source));
        assert!(built.status.success(), "{built:?}");
        let preload = format!("LD_PRELOAD={}", library.display());
        let counts = format!("BENCH_ALLOCATIONS={}", folder.display());
        (Heap { folder }, setup.wrapped(&["env", &preload, &counts]).start())
    }

    fn read(&self, daemon: &Daemon) -> Counts {
        let bytes = std::fs::read(self.folder.join(daemon.master().to_string())).unwrap();
        let number = |at: usize| i64::from_ne_bytes(bytes[at * 8..][..8].try_into().unwrap());
        Counts { calls: number(0), asked: number(1), held: number(2) }
    }
}

#[test]
fn a_run_takes_little_of_the_master_s_heap() {
    let (heap, daemon) = Heap::counted(Setup::native(json!({"idle": 0})));
    let mut client = daemon.client();
    // What grows by doubling has grown for the most part.
    runs(&mut client, 300);
    let before = heap.read(&daemon);
    runs(&mut client, 200);
    let after = heap.read(&daemon);
    let (calls, asked) = ((after.calls - before.calls) / 200, (after.asked - before.asked) / 200);
    assert!(calls > 3, "nothing has been counted: {before:?} {after:?}");
    assert!(calls <= 16 && asked <= 1400, "a run takes {calls} allocations of {asked} bytes");
}

#[test]
fn whoever_is_there_takes_few_bytes_of_the_master() {
    let (heap, daemon) = Heap::counted(Setup::native(json!({"idle": 0, "max_running": 1000})));
    let mut client = daemon.client();
    runs(&mut client, 20);
    let mut before = heap.read(&daemon).held;
    let mut each = |what: &str, count: i64, most: i64| {
        let now = heap.read(&daemon).held;
        let bytes = (now - before) / count;
        assert!((1..=most).contains(&bytes), "{what} takes {bytes} bytes, not at most {most}");
        before = now;
    };
    let clients: Vec<Client> = (0..256).map(|_| daemon.tcp()).collect();
    eventually("they are all there", || (daemon.info()["counts"]["connections"].as_u64()? >= 256).then_some(()));
    each("a connection", 256, 400);
    runs(&mut client, 512);
    each("an ended run", 512, 310);
    let living: Vec<String> = (0..128).map(|n| format!("living-{n}")).collect();
    living.iter().for_each(|id| drop(client.start("sleep", json!({"ms": 60_000}), id)));
    each("a living run", 128, 510);
    let quiet = json!({"name": "q", "script": "/bin/sleep", "args": ["60"], "interpreter": "none", "instances": 64,
        "out_file": false, "error_file": false});
    client.ok("apps.start", json!({"apps": [quiet], "folder": "/", "wait": true}));
    each("a worker", 64, 2400);
    drop(clients);
}
