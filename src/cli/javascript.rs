//! A process file in JavaScript: node evaluates it, as its caller and never in the daemon.
//!
//! The result comes on descriptor 3, so that whatever the file prints on its way does no harm.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Error;
use crate::processfile::MAX_BYTES;
use crate::sys::pidfd::PidFd;
use crate::sys::poll;
use crate::sys::reap::reap;
use crate::sys::spawn::{Program, SpawnError, spawn};

/// How long an evaluation may take.
const PATIENCE: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;
const RESULT_FD: i32 = 3;

/// `import()` takes modules of both kinds. What has no JSON, functions for one, is left out by `stringify`.
const PROGRAM: &str = r#"
const { pathToFileURL } = require("node:url");
import(pathToFileURL(process.argv[1]).href).then((module) => {
  let value = module.default === undefined ? { ...module } : module.default;
  if (typeof value === "function") value = value();
  return value;
}).then((value) => {
  const text = JSON.stringify(value);
  if (text === undefined) throw new Error("it exports nothing: expected module.exports = { apps: [ … ] }");
  require("node:fs").writeFileSync(3, text);
  process.exit(0);
}).catch((error) => {
  console.error(error && error.stack || error);
  process.exit(1);
});
"#;

/// What the file exports, as JSON.
pub fn evaluate(path: &Path) -> Result<String, Error> {
    evaluate_by("node", path, PATIENCE)
}

fn evaluate_by(node: &str, path: &Path, patience: Duration) -> Result<String, Error> {
    let failed = |what: String| Error::Failed(format!("{}: {what}", path.display()));
    let broken = |error: std::io::Error| failed(format!("cannot ask node: {error}"));
    let absolute = std::path::absolute(path).map_err(broken)?;
    let nothing = std::fs::File::open("/dev/null").map_err(broken)?;
    let (result, theirs) = std::io::pipe().map_err(broken)?;
    let errors = std::io::stderr();
    let program = Program {
        argv: vec![node.into(), "-e".into(), PROGRAM.into(), absolute.into()],
        env: std::env::vars_os().collect(),
        // What it prints is for people, not for whoever reads our stdout.
        fds: vec![(nothing.as_fd(), 0), (errors.as_fd(), 1), (errors.as_fd(), 2), (theirs.as_fd(), RESULT_FD)],
        ..Program::default()
    };
    let (pid, process) = spawn(&program).map_err(|error| failed(explain(&error)))?;
    drop(program);
    drop(theirs);
    let text = read(result, &process, patience);
    // All of it; where it has ended by itself there is nobody to be killed.
    let _ = process.send_group(pid, SIGKILL);
    // `serve` goes on, and must not have it among its children. A process that has been killed ends, unless a disk hangs.
    poll::readable([process.as_fd(); 2], Some(patience)).and_then(|_| reap(pid)).map_err(broken)?;
    let text = text.map_err(failed)?;
    if text.is_empty() {
        return Err(failed("node could not evaluate it; what it says is above".to_owned()));
    }
    String::from_utf8(text).map_err(|error| failed(format!("node's answer is not UTF-8: {error}")))
}

fn explain(error: &SpawnError) -> String {
    match error.source.kind() {
        std::io::ErrorKind::NotFound => {
            "a process file in JavaScript needs `node`, which is not in PATH: install it, or write the file as JSON or YAML"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Everything until it ends or closes its end of the pipe, within the time.
fn read(mut result: std::io::PipeReader, process: &PidFd, patience: Duration) -> Result<Vec<u8>, String> {
    let deadline = Instant::now() + patience;
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let [readable, ended] = poll::readable([result.as_fd(), process.as_fd()], Some(left))
            .map_err(|error| format!("cannot wait for node: {error}"))?;
        if readable {
            match result.read(&mut buffer).map_err(|error| format!("cannot read node's answer: {error}"))? {
                0 => return Ok(text),
                count => text.extend_from_slice(&buffer[..count]),
            }
        } else if ended {
            return Ok(text);
        } else if left.is_zero() {
            return Err(format!("node did not end within {} s", patience.as_secs()));
        }
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("expected at most {} MiB", MAX_BYTES >> 20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for node: a shell script that is given the same arguments.
    fn with(script: &str, patience: Duration) -> Result<String, Error> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node");
        std::fs::write(&node, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o755)).unwrap();
        evaluate_by(&node.to_string_lossy(), Path::new("/x/ecosystem.config.js"), patience)
    }

    #[test]
    fn the_result_comes_on_a_descriptor_of_its_own() {
        let text = with(r#"echo noise; printf '{"apps": ["%s"]}' "$3" >&3"#, PATIENCE).unwrap();
        assert_eq!(text, r#"{"apps": ["/x/ecosystem.config.js"]}"#);
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = with("exit 1", PATIENCE).unwrap_err();
        assert!(error.to_string().contains("/x/ecosystem.config.js"), "{error}");
    }

    #[test]
    fn it_is_given_so_much_time_and_no_more() {
        let started = Instant::now();
        let error = with("sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("did not end within") && started.elapsed().as_secs() < 10, "{error}");
    }

    #[test]
    fn it_may_say_so_much_and_no_more() {
        let error = with("head -c 9000000 /dev/zero >&3", PATIENCE).unwrap_err();
        assert!(error.to_string().contains("at most 4 MiB"), "{error}");
    }

    #[test]
    fn without_node_the_error_says_what_to_do() {
        let error = evaluate_by("no-such-program", Path::new("a.config.js"), PATIENCE).unwrap_err();
        assert!(error.to_string().contains("`node`"), "{error}");
    }
}
