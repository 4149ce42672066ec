//! Doing something to files as somebody else would, for a moment, on one thread.
//!
//! The kernel keeps credentials per task, and uses the file system ids (credentials(7)) and the supplementary groups for
//! every look at a path. glibc's `setgroups` and its relatives tell all threads of the process, as POSIX asks; the raw
//! system calls change the calling thread alone, so that nobody else notices.

use std::io;

use super::users::Identity;

/// Changes nothing, and tells what holds: no user or group has this number.
const NOBODY: u32 = u32::MAX;

/// Runs `act` with the file system rights of `identity`. An error if they cannot be had; `act` is not run then.
/// If ours cannot be had back, the process ends: everything after would be done as somebody else.
pub fn acting_as<T>(identity: &Identity, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (uid, gid) = (set_user(NOBODY), set_group(NOBODY));
    let groups = nix::unistd::getgroups()?;
    let ours: Vec<u32> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
    let restore = Restore { uid, gid, groups: ours };
    set_groups(&identity.groups)?;
    set_group(identity.gid);
    set_user(identity.uid);
    // Neither of the two reports a failure but by what holds afterwards.
    let taken = set_user(NOBODY) == identity.uid && set_group(NOBODY) == identity.gid;
    let done = if taken {
        act()
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("cannot take the rights of uid {}, gid {}: only root can", identity.uid, identity.gid),
        ))
    };
    drop(restore);
    done
}

/// Gives our rights back however `act` ends.
struct Restore {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Drop for Restore {
    fn drop(&mut self) {
        set_user(self.uid);
        set_group(self.gid);
        let groups = set_groups(&self.groups);
        if groups.is_err() || set_user(NOBODY) != self.uid || set_group(NOBODY) != self.gid {
            std::process::abort();
        }
    }
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length of one live slice of gid_t. The raw call changes this thread's groups alone, which is
    // what is wanted: another thread that opens a file meanwhile does so with its own rights.
    let r = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_user(uid: u32) -> u32 {
    // SAFETY: an integer. It concerns this thread alone, and only its access to files (setfsuid(2)); from 0 to another
    // one the kernel drops this thread's capabilities over files too, and gives them back with 0 (capabilities(7)).
    unsafe { libc::syscall(libc::SYS_setfsuid, uid) as u32 }
}

fn set_group(gid: u32) -> u32 {
    // SAFETY: as above, setfsgid(2).
    unsafe { libc::syscall(libc::SYS_setfsgid, gid) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::users::resolve;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn files_are_the_others_and_ours_again_afterwards() {
        if !nix::unistd::geteuid().is_root() {
            return crate::sys::skipped("files_are_the_others_and_ours_again_afterwards", "needs root");
        }
        let nobody = resolve(Some("nobody"), None).unwrap().unwrap();
        let tmp = tempfile::tempdir().unwrap();
        fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let secret = tmp.path().join("secret");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let made = tmp.path().join("made");
        let groups = nix::unistd::getgroups().unwrap();
        let refused = acting_as(&nobody, || {
            fs::write(&made, "x")?;
            Ok(fs::read(&secret))
        })
        .unwrap();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::metadata(&made).unwrap().uid(), nobody.uid);
        fs::read(&secret).unwrap();
        assert_eq!(nix::unistd::getgroups().unwrap(), groups);
        assert!(acting_as(&nobody, || Err::<(), _>(io::Error::other("no"))).is_err());
        fs::read(&secret).unwrap();
    }

    #[test]
    fn a_thread_that_runs_already_is_not_touched() {
        if !nix::unistd::geteuid().is_root() {
            return crate::sys::skipped("a_thread_that_runs_already_is_not_touched", "needs root");
        }
        let nobody = resolve(Some("nobody"), None).unwrap().unwrap();
        let tmp = tempfile::tempdir().unwrap();
        let secret = tmp.path().join("secret");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            asked.recv().unwrap();
            tell.send(fs::read(secret).is_ok()).unwrap();
        });
        let could = acting_as(&nobody, || {
            ask.send(()).unwrap();
            Ok(told.recv().unwrap())
        });
        assert!(could.unwrap());
        other.join().unwrap();
    }
}
