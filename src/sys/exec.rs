//! Becoming another program (`execve(2)`): the pid, the children and their zombies, and the mask of signals stay.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Becomes `program`, which finds the descriptors of `keep` under the numbers that they have. Returns only why it could not be;
/// then everything is as before. Only for a process with one thread: execve ends the others.
pub fn exec(program: OsString, argv: Vec<OsString>, env: Vec<OsString>, keep: &[BorrowedFd<'_>]) -> io::Error {
    let strings =
        |all: Vec<OsString>| all.into_iter().map(|s| CString::new(s.into_vec())).collect::<Result<Vec<_>, _>>();
    let (Ok(program), Ok(argv), Ok(env)) = (CString::new(program.into_vec()), strings(argv), strings(env)) else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "a NUL byte in the program's path, arguments or environment",
        );
    };
    let mark = |flag: FdFlag| keep.iter().try_for_each(|fd| fcntl(fd, FcntlArg::F_SETFD(flag)).map(drop));
    let why = match mark(FdFlag::empty()) {
        Ok(()) => match nix::unistd::execve(&program, &argv, &env) {
            Ok(never) => match never {},
            Err(e) => e,
        },
        Err(e) => e,
    };
    // They are open: the first call has shown it.
    let _ = mark(FdFlag::FD_CLOEXEC);
    why.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn one_that_cannot_be_leaves_everything_as_it_was() {
        let file = tempfile::tempfile().unwrap();
        let why = exec("/nowhere/at/all".into(), vec!["x".into()], Vec::new(), &[file.as_fd()]);
        assert_eq!(why.kind(), io::ErrorKind::NotFound);
        let flags = FdFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        assert_eq!(exec("/a\0b".into(), Vec::new(), Vec::new(), &[]).kind(), io::ErrorKind::InvalidInput);
    }
}
