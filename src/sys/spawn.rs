//! Starting a program: `clone` as `posix_spawn` does it, but with the parent of our choice.
//!
//! The child shares our memory until its exec (`CLONE_VM | CLONE_VFORK`), so that the cost does not grow with
//! our size, and so that it can tell us which step failed by writing it down.

mod child;
mod into;

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use super::pidfd::PidFd;
use super::users::Identity;
use child::{LISTEN_PID, PID_DIGITS, Plan};

/// A program to start. Descriptors are given as (ours, number in the child); everything else we have is close-on-exec.
#[derive(Debug, Default)]
pub struct Program<'a> {
    /// Searched for in the PATH of `env` if it holds no slash.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; None: ours.
    pub cwd: Option<PathBuf>,
    /// Descriptors to pass.
    pub fds: Vec<(BorrowedFd<'a>, i32)>,
    /// Who it runs as; None: as we do.
    pub identity: Option<Identity>,
    /// (RLIMIT_…, value) for soft and hard limit.
    pub limits: Vec<(Limit, u64)>,
    /// Make it our sibling, so that its parent is ours.
    pub sibling: bool,
    /// File mode creation mask; None: ours.
    pub umask: Option<u32>,
    /// −20…19; None: ours.
    pub nice: Option<i32>,
    /// −1000…1000 (proc(5)); None: ours.
    pub oom_score_adj: Option<i32>,
    /// `LISTEN_PID` is added to the environment with the child's own number (sd_listen_fds(3)).
    pub listen_pid: bool,
    /// The folder of the cgroup that the child is to be in, and all that it forks. One that cannot be entered stops nobody.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The child's first act is to write its number here, so that it is known even if we are killed right after the clone.
    pub pid_to: Option<&'a AtomicU64>,
}

/// Limits that can be set on a program (`setrlimit(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of address space.
    Memory,
    /// Number of descriptors.
    OpenFiles,
    /// Bytes of a core dump.
    Core,
    /// Seconds of processor time.
    CpuTime,
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {program}: {stage}: {source}")]
pub struct SpawnError {
    /// What was to be started.
    pub program: String,
    /// The step that failed.
    pub stage: String,
    /// The system's word.
    pub source: io::Error,
}

/// Starts `program` in a session of its own with default signals. Returns its pid and a handle on it.
/// Returns once the exec has happened or failed; a failed child is an exit of code 127 for its parent to reap.
pub fn spawn(program: &Program<'_>) -> Result<(u32, PidFd), SpawnError> {
    let name = program.argv.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let fail = |stage: &str, source: io::Error| SpawnError { program: name.clone(), stage: stage.to_owned(), source };
    let text = |s: &OsStr| CString::new(s.as_bytes()).map_err(|e| fail("argument", e.into()));

    let argv: Vec<CString> = program.argv.iter().map(|a| text(a)).collect::<Result<_, _>>()?;
    let env: Vec<CString> = program
        .env
        .iter()
        .map(|(k, v)| {
            let mut pair = k.clone();
            pair.push("=");
            pair.push(v);
            text(&pair)
        })
        .collect::<Result<_, _>>()?;
    let exe = find(program).map_err(|e| fail("looking for the program", e))?;
    let pointers = |v: &[CString]| v.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let mut listen_pid = LISTEN_PID.to_vec();
    listen_pid.resize(LISTEN_PID.len() + PID_DIGITS, 0);
    let mut envp = pointers(&env);
    if program.listen_pid {
        envp.insert(0, listen_pid.as_ptr().cast());
    }
    let mut plan = Plan {
        exe: text(exe.as_os_str())?,
        argv: pointers(&argv),
        envp,
        cwd: program.cwd.as_deref().map(|p| text(p.as_os_str())).transpose()?,
        fds: program.fds.iter().map(|(fd, to)| (fd.as_raw_fd(), *to)).collect(),
        scratch: vec![-1; program.fds.len()],
        identity: program.identity.clone(),
        limits: program
            .limits
            .iter()
            .map(|(l, v)| {
                let which = match l {
                    Limit::Memory => libc::RLIMIT_AS,
                    Limit::OpenFiles => libc::RLIMIT_NOFILE,
                    Limit::Core => libc::RLIMIT_CORE,
                    Limit::CpuTime => libc::RLIMIT_CPU,
                };
                (which, *v)
            })
            .collect(),
        umask: program.umask,
        nice: program.nice,
        oom_score_adj: program.oom_score_adj.map(|score| score.to_string().into_bytes()),
        listen_pid,
        cgroup: program.cgroup.map_or(-1, |fd| fd.as_raw_fd()),
        pid_to: program.pid_to.map_or(std::ptr::null(), std::ptr::from_ref),
        failed: None,
    };

    let mut stack = vec![0u8; 64 * 1024];
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    if program.sibling {
        flags |= libc::CLONE_PARENT;
    }
    // A handler of ours must not run in the child on our memory: all signals wait until we are back.
    let all = nix::sys::signal::SigSet::all();
    let old = all.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK).map_err(|e| fail("fork", e.into()))?;
    // SAFETY: the flags are those; plan points to what is alive until we return.
    let cloned = unsafe { into::clone(flags, plan.cgroup, &mut stack, &raw mut plan) };
    old.thread_set_mask().map_err(|e| fail("fork", e.into()))?;
    let (pid, pidfd) = cloned.map_err(|e| fail("fork", e))?;
    // SAFETY: the clone has made this descriptor for us, close-on-exec.
    let handle = PidFd::from(unsafe { OwnedFd::from_raw_fd(pidfd) });
    if let Some((stage, errno)) = plan.failed {
        return Err(fail(&stage.doing(program, &exe), io::Error::from_raw_os_error(errno)));
    }
    Ok((pid, handle))
}

fn find(program: &Program<'_>) -> io::Result<PathBuf> {
    let name =
        Path::new(program.argv.first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?);
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Ok(name.to_owned());
    }
    let path = program.env.iter().find(|(k, _)| k == "PATH").map(|(_, v)| v.as_os_str());
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|p| nix::unistd::access(p, nix::unistd::AccessFlags::X_OK).is_ok() && p.is_file())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("\"{}\" is in no folder of PATH ({})", name.display(), path.to_string_lossy()),
            )
        })
}

#[cfg(test)]
mod tests;
