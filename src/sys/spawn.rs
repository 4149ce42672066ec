//! Starting a program: `clone` as `posix_spawn` does it, but with the parent of our choice.
//!
//! The child shares our memory until its exec (`CLONE_VM | CLONE_VFORK`), so that the cost does not grow with
//! our size, and so that it can tell us which step failed by writing it down.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::pidfd::PidFd;
use super::users::Identity;

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
    /// The `cgroup.procs` of the cgroup that the child is to be in, and all that it forks. One that cannot be entered stops nobody.
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

const STAGES: [&str; 10] = [
    "fork",
    "setsid",
    "setrlimit",
    "setgroups",
    "setgid",
    "setuid",
    "chdir",
    "exec",
    "setting its niceness",
    "setting its oom_score_adj",
];

const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// The longest pid, and a NUL.
const PID_DIGITS: usize = 11;

/// Everything the child touches, made before the clone: between clone and exec nothing allocates or locks.
struct Plan {
    exe: CString,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    cwd: Option<CString>,
    fds: Vec<(i32, i32)>,
    scratch: Vec<i32>,
    identity: Option<Identity>,
    limits: Vec<(u32, u64)>,
    umask: Option<u32>,
    nice: Option<i32>,
    /// As text.
    oom_score_adj: Option<Vec<u8>>,
    /// `LISTEN_PID=` and room for the number; `envp` points to it.
    listen_pid: Vec<u8>,
    cgroup: i32,
    pid_to: *const AtomicU64,
    failed: (usize, i32),
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
        failed: (0, 0),
    };

    let mut stack = vec![0u8; 64 * 1024];
    let top = ((stack.as_mut_ptr() as usize + stack.len()) & !15) as *mut libc::c_void;
    let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    if program.sibling {
        flags |= libc::CLONE_PARENT;
    }
    let mut pidfd: libc::c_int = -1;
    // A handler of ours must not run in the child on our memory: all signals wait until we are back.
    let all = nix::sys::signal::SigSet::all();
    let old = all.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK).map_err(|e| fail("fork", e.into()))?;
    // SAFETY: CLONE_VFORK stops this thread until the child has exec'd or exited, so stack, plan and
    // everything they point to outlive its use of them; the child runs `child`, which makes only
    // async-signal-safe calls. pidfd is a live c_int.
    let pid = unsafe { libc::clone(child, top, flags, (&raw mut plan).cast(), &raw mut pidfd) };
    let error = io::Error::last_os_error();
    old.thread_set_mask().map_err(|e| fail("fork", e.into()))?;
    if pid < 0 {
        return Err(fail("fork", error));
    }
    // SAFETY: the clone has made this descriptor for us, close-on-exec.
    let handle = PidFd::from(unsafe { OwnedFd::from_raw_fd(pidfd) });
    let (stage, errno) = plan.failed;
    if errno != 0 {
        let stage = match STAGES[stage] {
            "chdir" => format!("changing to directory {}", program.cwd.as_deref().unwrap_or(Path::new("?")).display()),
            "exec" => format!("executing {}", exe.display()),
            other => other.to_owned(),
        };
        return Err(fail(&stage, io::Error::from_raw_os_error(errno)));
    }
    Ok((pid as u32, handle))
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

extern "C" fn child(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` passes its live Plan and waits for us.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    plan.failed = prepare(plan);
    // The parent reaps 127; it has read `failed` by then or does not care.
    super::clone::exit_now(127)
}

/// Returns only on failure: (index into STAGES, errno).
fn prepare(plan: &mut Plan) -> (usize, i32) {
    // SAFETY: raw, since what glibc remembers is our own number, not the child's.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) } as u64;
    // SAFETY: null, or it points to a live atomic: the parent waits for us.
    if let Some(word) = unsafe { plan.pid_to.as_ref() } {
        word.store(pid, Ordering::Release);
    }
    write_number(&mut plan.listen_pid[LISTEN_PID.len()..], pid);
    super::signals::reset_all();
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: raw system calls with integers and with pointers into Plan, which lives. Raw ones for the ids, because glibc's
    // wrappers would broadcast the change to the threads of the process whose memory we share.
    unsafe {
        if libc::setsid() < 0 {
            return (1, errno());
        }
        if plan.cgroup >= 0 {
            // Its members are found by other ways, too; a tree that has no cgroup is no reason not to run.
            libc::write(plan.cgroup, c"0".as_ptr().cast(), 1);
        }
        // Out of the way first: a descriptor may sit on a number that another one is to have.
        for (i, (from, _)) in plan.fds.iter().enumerate() {
            let high = libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, 64);
            if high < 0 {
                return (0, errno());
            }
            plan.scratch[i] = high;
        }
        for (i, (_, to)) in plan.fds.iter().enumerate() {
            if libc::dup2(plan.scratch[i], *to) < 0 {
                return (0, errno());
            }
        }
        for (which, value) in &plan.limits {
            let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
            let none = std::ptr::null_mut::<libc::rlimit>();
            if libc::syscall(libc::SYS_prlimit64, 0, *which, &limit, none) < 0 {
                return (2, errno());
            }
        }
        if let Some(nice) = plan.nice
            && libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) < 0
        {
            return (8, errno());
        }
        if let Some(score) = &plan.oom_score_adj {
            let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if fd < 0 || libc::write(fd, score.as_ptr().cast(), score.len()) < 0 {
                return (9, errno());
            }
        }
        if let Some(umask) = plan.umask {
            libc::umask(umask);
        }
        if let Some(id) = &plan.identity {
            if libc::syscall(libc::SYS_setgroups, id.groups.len(), id.groups.as_ptr()) < 0 {
                return (3, errno());
            }
            if libc::syscall(libc::SYS_setresgid, id.gid, id.gid, id.gid) < 0 {
                return (4, errno());
            }
            if libc::syscall(libc::SYS_setresuid, id.uid, id.uid, id.uid) < 0 {
                return (5, errno());
            }
        }
        if let Some(cwd) = &plan.cwd
            && libc::chdir(cwd.as_ptr()) < 0
        {
            return (6, errno());
        }
        libc::execve(plan.exe.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        (7, errno())
    }
}

/// Decimal digits, without allocating; what follows them stays 0.
fn write_number(to: &mut [u8], number: u64) {
    let mut digits = 1;
    while number / 10u64.pow(digits) > 0 {
        digits += 1;
    }
    for (place, byte) in (0..digits).rev().zip(to) {
        *byte = b'0' + (number / 10u64.pow(place) % 10) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    fn program(argv: &[&str]) -> Program<'static> {
        Program {
            argv: argv.iter().map(OsString::from).collect(),
            env: vec![("PATH".into(), std::env::var_os("PATH").unwrap()), ("A".into(), "b c".into())],
            ..Program::default()
        }
    }

    #[test]
    fn a_program_gets_what_it_was_given_and_nothing_else() {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let mut p = program(&["sh", "-c", "echo \"$A $PWD $(ls /proc/self/fd | wc -l)\"; ulimit -n; exit 3"]);
        p.cwd = Some("/usr".into());
        p.fds = vec![(write.as_fd(), 1)];
        p.limits = vec![(Limit::OpenFiles, 77)];
        let (pid, handle) = spawn(&p).unwrap();
        drop(p);
        drop(write);
        let mut out = String::new();
        std::fs::File::from(read).read_to_string(&mut out).unwrap();
        // 0, 1, 2 and the one that ls itself opens; what the test runner lets us inherit is its own affair.
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("b c /usr "), "{out}");
        assert_eq!(lines[1], "77");
        assert_eq!(
            nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid as i32), None).unwrap(),
            nix::sys::wait::WaitStatus::Exited(nix::unistd::Pid::from_raw(pid as i32), 3)
        );
        assert!(handle.send(0).is_err());
    }

    #[test]
    fn a_worker_s_extras_are_set_in_the_child_alone() {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let word = AtomicU64::new(0);
        let script = "echo $LISTEN_PID $$ $(umask) $(nice) $(cat /proc/self/oom_score_adj) $(ulimit -t)";
        let mut p = program(&["sh", "-c", script]);
        p.fds = vec![(write.as_fd(), 1)];
        (p.listen_pid, p.pid_to) = (true, Some(&word));
        (p.umask, p.nice, p.oom_score_adj) = (Some(0o027), Some(5), Some(500));
        p.limits = vec![(Limit::CpuTime, 7)];
        let (pid, _handle) = spawn(&p).unwrap();
        assert_eq!(word.load(Ordering::Acquire), u64::from(pid));
        drop(p);
        drop(write);
        let mut out = String::new();
        std::fs::File::from(read).read_to_string(&mut out).unwrap();
        assert_eq!(out, format!("{pid} {pid} 0027 5 500 7\n"));
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid as i32), None).unwrap();
        assert_ne!(nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022)).bits(), 0o027);
    }

    #[test]
    fn the_failed_step_is_named() {
        let e = spawn(&program(&["no-such-program-anywhere"])).unwrap_err();
        assert!(e.to_string().contains("PATH"), "{e}");
        let mut p = program(&["true"]);
        p.cwd = Some("/no/such/folder".into());
        let e = spawn(&p).unwrap_err();
        assert!(e.to_string().contains("/no/such/folder"), "{e}");
        let e = spawn(&program(&["/etc/passwd"])).unwrap_err();
        assert_eq!(e.source.raw_os_error(), Some(libc::EACCES), "{e}");
    }
}
