//! The machine says no to a fork.

use std::time::Duration;

use serde_json::json;

use crate::house::{Setup, eventually, machine, native, processes, within};

/// A user whose processes are counted: nobody else's here, and not another run's of these tests on this machine.
fn lonely() -> u32 {
    40_000 + std::process::id() % 20_000
}

#[test]
fn fault_09_a_fork_that_gives_eagain_is_a_clean_error_and_no_spin() {
    let name = "fault_09_a_fork_that_gives_eagain_is_a_clean_error_and_no_spin";
    if !machine::is_root() {
        return machine::skipped(name, "RLIMIT_NPROC counts a user's processes, and only root has a user to spare");
    }
    let (uid, lonely) = (Some(lonely()), lonely().to_string());
    for idle in [0, 2] {
        let setup = Setup::native(json!({"idle": idle, "max_running": 100}));
        let readable = machine::run(
            std::process::Command::new("setpriv")
                .args(["--reuid", &lonely, "--clear-groups", "test", "-x"])
                .arg(native()),
        );
        if !readable.status.success() {
            return machine::skipped(name, "the build folder is not for others to read");
        }
        std::os::unix::fs::chown(setup.path(), uid, uid).unwrap();
        let daemon = setup
            .wrapped(&["setpriv", "--reuid", &lonely, "--regid", &lonely, "--clear-groups", "--pdeathsig", "TERM"])
            .wrapped(&["prlimit", "--nproc=16"])
            .start();
        let mut client = daemon.client();
        let mut started = Vec::new();
        let refusal = (0..40)
            .find_map(|n| {
                let id = format!("n{n}");
                match client.call("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "id": id})) {
                    Ok(status) => {
                        assert_eq!(status["state"], "running");
                        started.push(id);
                        None
                    }
                    Err(refusal) => Some((id, refusal)),
                }
            })
            .expect("the limit is reached");
        assert!(started.len() >= 6, "idle {idle}: {}", started.len());
        assert_eq!((refusal.1.code, refusal.1.kind.as_str()), (-32007, "start_failed"), "idle {idle}: {refusal:?}");
        let message = refusal.1.message.to_lowercase();
        assert!(
            message.contains("temporarily unavailable") || message.contains("eagain") || message.contains("errno 11"),
            "{message}"
        );
        assert_eq!(client.ok("status", json!({"id": refusal.0}))["state"], "failed");
        // Nobody spins meanwhile.
        let all: Vec<u32> = processes::descendants(daemon.pid()).iter().map(|p| p.pid).chain([daemon.pid()]).collect();
        let before: u64 = all.iter().map(|pid| processes::cpu_ms(*pid)).sum();
        std::thread::sleep(Duration::from_secs(2));
        let used = all.iter().map(|pid| processes::cpu_ms(*pid)).sum::<u64>() - before;
        assert!(used < 300, "idle {idle}: {used} ms of processor in 2 s");
        for id in &started {
            client.ok("kill", json!({"id": id, "signal": "KILL"}));
            client.wait(id);
        }
        let ended = within(Duration::from_secs(10), "runs work again", || {
            client.call("run", json!({"entry": "noop", "wait": true})).ok()
        });
        assert_eq!(ended["exit_code"], 0);
        eventually("idle children are back", || (client.pool("fixture")["idle"] == idle).then_some(()));
    }
}
