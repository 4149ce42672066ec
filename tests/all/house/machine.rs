//! Programs of the machine that tests lean on, each bounded in time.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Runs it to its end; after 30 s it is killed and the test has failed.
pub fn run(command: &mut Command) -> Output {
    run_with(command, b"")
}

/// The same with something on its standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("starting {command:?}: {e}"));
    // A program that does not read its input has closed it by its end.
    let _ = child.stdin.take().unwrap().write_all(input);
    let mut out = child.stdout.take().unwrap();
    let mut err = child.stderr.take().unwrap();
    let out = thread::spawn(move || drain(&mut out));
    let err = thread::spawn(move || drain(&mut err));
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end within 30 s");
        }
        thread::sleep(Duration::from_millis(3));
    };
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn drain(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}

/// A daemon that must not come up: what it said on stderr.
pub fn refused_start(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "it was not refused: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// For a test that this machine cannot do: says so on the real stderr, past what the harness captures, and counts.
pub fn skipped(test: &str, why: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "SKIPPED ({count} by now) {test}: {why}");
}
