//! Where no daemon runs, one is brought up: once, however many ask at the same time.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::listens;
use super::terminal::message;
use super::{Client, Context, Error};
use crate::settings::{DEFAULT_LISTEN, Dirs};
use crate::sys::files::{private_dir, private_file};
use crate::sys::logfile;
use crate::sys::pidfd::PidFd;
use crate::sys::poll;
use crate::sys::process::keep_inherited_to_ourselves;
use crate::sys::spawn::{Program, spawn};

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// So much of the daemon's log is shown where it did not come up.
const TAIL_LINES: usize = 15;
const TAIL_BYTES: u64 = 16 << 10;
/// Meant for us by whoever started us, not for a daemon that outlives us (sd_notify(3), sd_listen_fds(3)).
const OURS: [&str; 7] = [
    crate::wire::control::MASTER_ENV,
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// A connection to the daemon, which is started if there is none.
pub fn client(context: &Context) -> Result<Client, Error> {
    match context.client() {
        Err(Error::NoDaemon { .. }) => {}
        other => return other,
    }
    let dirs = context.dirs()?;
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| Error::Failed(format!("no daemon runs, and none can be started: {doing}: {error}"))
    };
    for dir in [&dirs.state, &dirs.runtime, &dirs.logs()] {
        private_dir(dir).map_err(failed("preparing its folder"))?;
    }
    // Whoever comes second waits here, and finds the daemon of the first.
    let lock = private_file(&dirs.runtime.join("start.lock")).map_err(failed("opening the lock"))?;
    lock.lock().map_err(failed("waiting for the lock"))?;
    if !listens(&dirs.socket()) {
        start(&dirs, context.dir.as_deref())?;
    }
    context.client()
}

fn start(dirs: &Dirs, dir: Option<&Path>) -> Result<(), Error> {
    let free = || TcpListener::bind(DEFAULT_LISTEN).map(drop);
    loop {
        let tcp = free();
        if let Err(error) = &tcp {
            message(&format!("the daemon is started without TCP: {DEFAULT_LISTEN}: {error}"));
        }
        match serve(dirs, dir, tcp.is_ok())? {
            None => return Ok(()),
            // Somebody else took the port before the daemon did.
            Some((NotUp::Ended, _)) if tcp.is_ok() && free().is_err() => {}
            Some((_, why)) => return Err(Error::Failed(why)),
        }
    }
}

/// What a daemon does that does not answer.
enum NotUp {
    Ended,
    Silent,
}

/// None: it answers.
fn serve(dirs: &Dirs, dir: Option<&Path>, tcp: bool) -> Result<Option<(NotUp, String)>, Error> {
    let failed = |error: io::Error| Error::Failed(format!("no daemon runs, and none can be started: {error}"));
    let path = dirs.logs().join("daemon.log");
    let mut log = logfile::open(&path).map_err(failed)?;
    let begin = log.seek(SeekFrom::End(0)).map_err(failed)?;
    let nothing = fs::File::open("/dev/null").map_err(failed)?;
    let mut argv = vec![std::env::current_exe().map_err(failed)?.into_os_string(), "serve".into()];
    if dir.is_some() {
        argv.extend(["--dir".into(), dirs.state.clone().into()]);
    }
    if !tcp {
        argv.push("--no-tcp".into());
    }
    // Whoever waits for the end of a pipe that our caller gave us must not wait for the daemon's.
    keep_inherited_to_ourselves().map_err(failed)?;
    let env = std::env::vars_os().filter(|(name, _)| !OURS.iter().any(|ours| name == ours)).collect();
    let program = Program {
        argv,
        env,
        cwd: Some("/".into()),
        fds: vec![(nothing.as_fd(), 0), (log.as_fd(), 1), (log.as_fd(), 2)],
        ..Program::default()
    };
    let (pid, process) = spawn(&program).map_err(|error| Error::Failed(error.to_string()))?;
    let not_up = comes_up(dirs, &process).map_err(failed)?;
    let does = match not_up {
        None => {
            message(&format!("a daemon has been started (pid {pid}); its log is {}", path.display()));
            return Ok(None);
        }
        Some(NotUp::Ended) => "ended at once".to_owned(),
        Some(NotUp::Silent) => format!("does not answer after {} s; it goes on", PATIENCE.as_secs()),
    };
    Ok(not_up.map(|how| (how, format!("the daemon was started, and {does}\n{}", tail(&path, begin)))))
}

/// Waits until it answers, or does not.
fn comes_up(dirs: &Dirs, process: &PidFd) -> io::Result<Option<NotUp>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if listens(&dirs.socket()) {
            return Ok(None);
        }
        if Instant::now() > deadline {
            return Ok(Some(NotUp::Silent));
        }
        let [ended, _] = poll::readable([process.as_fd(); 2], Some(LOOK_EVERY))?;
        if ended {
            return Ok(Some(NotUp::Ended));
        }
    }
}

/// The last lines that were written to the log since `begin`.
fn tail(path: &Path, begin: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(error) => return format!("its log {} cannot be read: {error}", path.display()),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!("the end of {}:\n{}", path.display(), last.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_log_is_of_this_start_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.log");
        let new: String = (0..40).map(|n| format!("new {n}\n")).collect();
        fs::write(&path, format!("old\n{new}")).unwrap();
        let text = tail(&path, 4);
        assert!(text.ends_with("new 38\nnew 39") && !text.contains("old") && !text.contains("new 24\n"), "{text}");
        assert!(tail(Path::new("/nowhere/daemon.log"), 0).contains("cannot be read"));
    }
}
