//! Programs that are started, with what they find, and the steps that fail.

use super::*;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

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
    let (read, _write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut p = program(&["true"]);
    p.fds = vec![(read.as_fd(), i32::MAX)];
    let e = spawn(&p).unwrap_err();
    assert!(e.stage.contains("descriptors") && e.source.raw_os_error() == Some(libc::EBADF), "{e}");
    let e = spawn(&program(&["/etc/passwd"])).unwrap_err();
    assert_eq!(e.source.raw_os_error(), Some(libc::EACCES), "{e}");
}

/// What a program says that is started in this cgroup.
fn output_in(folder: BorrowedFd<'_>, script: &str) -> String {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut p = program(&["sh", "-c", script]);
    (p.fds, p.cgroup) = (vec![(write.as_fd(), 1)], Some(folder));
    let (pid, handle) = spawn(&p).unwrap();
    drop(p);
    drop(write);
    let mut out = String::new();
    std::fs::File::from(read).read_to_string(&mut out).unwrap();
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid as i32), None).unwrap();
    assert!(handle.send(0).is_err(), "the handle is that of another process");
    out
}

#[test]
fn a_program_is_born_in_its_cgroup() {
    let name = format!("preforkd-born-{}", std::process::id());
    let groups = match crate::sys::cgroup::Cgroups::open(&name) {
        Ok(groups) => groups,
        Err(e) => return crate::sys::skipped("a_program_is_born_in_its_cgroup", &e.to_string()),
    };
    let group = groups.make("one").unwrap();
    let said = output_in(group.folder(), "grep ^0: /proc/self/cgroup; echo $A");
    let mut p = program(&["/etc/passwd"]);
    p.cgroup = Some(group.folder());
    let failed = spawn(&p).unwrap_err();
    // Whether by itself or by us, it is gone before the test ends.
    while !groups.remove("one") {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    groups.leave();
    assert!(said.ends_with(&format!("/{name}/one\nb c\n")), "{said}");
    assert_eq!(failed.source.raw_os_error(), Some(libc::EACCES), "{failed}");
}

#[test]
fn a_cgroup_that_cannot_be_entered_stops_nobody() {
    let no_cgroup = std::fs::File::open("/").unwrap();
    assert_eq!(output_in(no_cgroup.as_fd(), "echo $A"), "b c\n");
}
