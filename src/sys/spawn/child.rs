//! The child between clone and exec. It is on its parent's memory, which waits: it only makes system calls, and writes where it
//! was told to.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Identity, Program};

pub(super) const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// Room for the longest pid, and a NUL.
pub(super) const PID_DIGITS: usize = 11;

/// A step of the child's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Session,
    Descriptors,
    Limits,
    Niceness,
    OomScore,
    Groups,
    Group,
    User,
    Folder,
    Exec,
}

impl Stage {
    /// What was being done, as people are told.
    pub fn doing(self, program: &Program<'_>, exe: &Path) -> String {
        let text = match self {
            Stage::Session => "setsid",
            Stage::Descriptors => "passing its descriptors",
            Stage::Limits => "setrlimit",
            Stage::Niceness => "setting its niceness",
            Stage::OomScore => "setting its oom_score_adj",
            Stage::Groups => "setgroups",
            Stage::Group => "setgid",
            Stage::User => "setuid",
            Stage::Folder => {
                return format!("changing to directory {}", program.cwd.as_deref().unwrap_or(Path::new("?")).display());
            }
            Stage::Exec => return format!("executing {}", exe.display()),
        };
        text.to_owned()
    }
}

/// Everything the child touches, made before the clone: between clone and exec nothing allocates or locks.
pub(super) struct Plan {
    pub exe: CString,
    pub argv: Vec<*const libc::c_char>,
    pub envp: Vec<*const libc::c_char>,
    pub cwd: Option<CString>,
    pub fds: Vec<(i32, i32)>,
    pub scratch: Vec<i32>,
    pub identity: Option<Identity>,
    pub limits: Vec<(u32, u64)>,
    pub umask: Option<u32>,
    pub nice: Option<i32>,
    /// As text.
    pub oom_score_adj: Option<Vec<u8>>,
    /// `LISTEN_PID=` and room for the number; `envp` points to it.
    pub listen_pid: Vec<u8>,
    /// The folder of its cgroup, which it is not in yet; −1: none.
    pub cgroup: i32,
    pub pid_to: *const AtomicU64,
    /// The step that failed, and its errno.
    pub failed: Option<(Stage, i32)>,
}

pub(super) fn child(plan: &mut Plan) -> ! {
    plan.failed = Some(prepare(plan));
    // The parent reaps 127; it has read `failed` by then or does not care.
    crate::sys::clone::exit_now(127)
}

/// Returns only on failure.
fn prepare(plan: &mut Plan) -> (Stage, i32) {
    // SAFETY: raw, since what glibc remembers is our own number, not the child's.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) } as u64;
    // SAFETY: null, or it points to a live atomic: the parent waits for us.
    if let Some(word) = unsafe { plan.pid_to.as_ref() } {
        word.store(pid, Ordering::Release);
    }
    write_number(&mut plan.listen_pid[LISTEN_PID.len()..], pid);
    crate::sys::signals::reset_all();
    // A program is not to be interrupted as often as whoever started it; one that is works all the same.
    let _ = crate::sys::slice::reset();
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: raw system calls with integers and with pointers into Plan, which lives. Raw ones for the ids, because glibc's
    // wrappers would broadcast the change to the threads of the process whose memory we share.
    unsafe {
        if libc::setsid() < 0 {
            return (Stage::Session, errno());
        }
        if plan.cgroup >= 0 {
            // Its members are found by other ways, too; a tree that has no cgroup is no reason not to run.
            let flags = libc::O_WRONLY | libc::O_CLOEXEC;
            let entrance = libc::openat(plan.cgroup, c"cgroup.procs".as_ptr(), flags);
            libc::write(entrance, c"0".as_ptr().cast(), 1);
        }
        // Out of the way first: a descriptor may sit on a number that another one is to have.
        for (i, (from, _)) in plan.fds.iter().enumerate() {
            let high = libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, 64);
            if high < 0 {
                return (Stage::Descriptors, errno());
            }
            plan.scratch[i] = high;
        }
        for (i, (_, to)) in plan.fds.iter().enumerate() {
            if libc::dup2(plan.scratch[i], *to) < 0 {
                return (Stage::Descriptors, errno());
            }
        }
        for (which, value) in &plan.limits {
            let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
            let none = std::ptr::null_mut::<libc::rlimit>();
            if libc::syscall(libc::SYS_prlimit64, 0, *which, &limit, none) < 0 {
                return (Stage::Limits, errno());
            }
        }
        if let Some(nice) = plan.nice
            && libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) < 0
        {
            return (Stage::Niceness, errno());
        }
        if let Some(score) = &plan.oom_score_adj {
            let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if fd < 0 || libc::write(fd, score.as_ptr().cast(), score.len()) < 0 {
                return (Stage::OomScore, errno());
            }
        }
        if let Some(umask) = plan.umask {
            libc::umask(umask);
        }
        if let Some(id) = &plan.identity {
            if libc::syscall(libc::SYS_setgroups, id.groups.len(), id.groups.as_ptr()) < 0 {
                return (Stage::Groups, errno());
            }
            if libc::syscall(libc::SYS_setresgid, id.gid, id.gid, id.gid) < 0 {
                return (Stage::Group, errno());
            }
            if libc::syscall(libc::SYS_setresuid, id.uid, id.uid, id.uid) < 0 {
                return (Stage::User, errno());
            }
        }
        if let Some(cwd) = &plan.cwd
            && libc::chdir(cwd.as_ptr()) < 0
        {
            return (Stage::Folder, errno());
        }
        libc::execve(plan.exe.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        (Stage::Exec, errno())
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
