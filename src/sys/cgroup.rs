//! Control groups (cgroups(7)), version 2: a tree of processes that none of them can leave by a fork or a new session.
//!
//! No controller is needed, only the folders: one for the daemon below the cgroup it runs in, one in it for each tree.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// The folder below which a daemon has a cgroup for each tree.
#[derive(Debug)]
pub struct Cgroups {
    /// Where we are ourselves.
    own: PathBuf,
    folder: PathBuf,
}

/// One tree's cgroup.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    folder: File,
}

impl Cgroups {
    /// Makes the folder `name`, or takes the one that a former daemon of that name has left.
    pub fn open(name: &str) -> io::Result<Cgroups> {
        let text = |path: &str| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let own = locate(&text("/proc/self/mountinfo")?, &text("/proc/self/cgroup")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 tree is mounted that we are in"))?;
        Cgroups::below(own, name)
    }

    fn below(own: PathBuf, name: &str) -> io::Result<Cgroups> {
        // Moving a process takes the right to write to the cgroup that both places have in common.
        let common = own.join("cgroup.procs");
        access(&common, AccessFlags::W_OK).map_err(|e| named(&common, e.into()))?;
        let folder = own.join(name);
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(named(&folder, e)),
            _ => {}
        }
        let kill = folder.join("cgroup.kill");
        // Linux 5.14.
        if let Err(e) = access(&kill, AccessFlags::W_OK) {
            let _ = fs::remove_dir(&folder); // of no use to anybody, and no harm
            return Err(named(&kill, e.into()));
        }
        Ok(Cgroups { own, folder })
    }

    /// Makes a tree's cgroup.
    pub fn make(&self, name: &str) -> io::Result<Cgroup> {
        let path = self.folder.join(name);
        fs::create_dir(&path).map_err(|e| named(&path, e))?;
        match File::open(&path) {
            Ok(folder) => Ok(Cgroup { path, folder }),
            Err(e) => {
                let _ = fs::remove_dir(&path); // the error that is told is the first one
                Err(named(&path, e))
            }
        }
    }

    /// The names of those that are there.
    pub fn names(&self) -> Vec<String> {
        folders(&self.folder).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    /// The processes in a tree's cgroup and in those that it has made itself. None: there is no such cgroup.
    pub fn members(&self, name: &str) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        members(&self.folder.join(name), &mut found).then_some(found)
    }

    /// Sends SIGKILL to all of a tree at once, whatever it forks meanwhile.
    pub fn kill(&self, name: &str) -> io::Result<()> {
        fs::write(self.folder.join(name).join("cgroup.kill"), "1")
    }

    /// Removes a tree's cgroup if nobody lives in it; whether it is gone.
    pub fn remove(&self, name: &str) -> bool {
        remove(&self.folder.join(name))
    }

    /// Lets everybody in it go back to where we are, and removes it.
    pub fn release(&self, name: &str) -> bool {
        for pid in self.members(name).unwrap_or_default() {
            // One that has gone meanwhile needs no place.
            let _ = fs::write(self.own.join("cgroup.procs"), pid.to_string());
        }
        self.remove(name)
    }

    /// Removes the daemon's folder, if no tree is left in it.
    pub fn leave(&self) {
        let _ = fs::remove_dir(&self.folder); // the next daemon clears up what is left
    }
}

impl Cgroup {
    /// Its folder, which a process can be started in.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Brings a process in. That the number still is its own is the caller's to make sure, before and after.
    pub fn bring(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).map_err(|e| named(&self.path, e))
    }
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn members(path: &Path, found: &mut Vec<u32>) -> bool {
    let Ok(text) = fs::read_to_string(path.join("cgroup.procs")) else { return false };
    found.extend(text.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    for below in folders(path) {
        members(&below, found);
    }
    true
}

fn remove(path: &Path) -> bool {
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::NotFound => true,
        // Somebody lives in it, or it has cgroups of its own.
        Err(_) => {
            let below = folders(path);
            !below.is_empty() && below.iter().all(|path| remove(path)) && fs::remove_dir(path).is_ok()
        }
    }
}

/// The folder of our cgroup: the mount of version 2 (alone, or beside those of version 1), and below it the path of the line
/// `0::` as far as the mount shows it.
fn locate(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    mountinfo.lines().find_map(|line| {
        // 41 31 0:38 ROOT PLACE OPTIONS [FIELD…] - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5))
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (unescape(fields.next()?), unescape(fields.next()?));
        let below = Path::new(path).strip_prefix(&root).ok()?;
        // A process outside of its namespace's root has a path that leads up.
        (!path.contains("/..")).then(|| Path::new(&place).join(below))
    })
}

/// Blanks and the like are written as `\040` there.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::Command;

    const V1: &str = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n";

    #[test]
    fn the_mount_is_found_alone_beside_version_1_and_in_a_container() {
        let find = |mount: &str, cgroup: &str| locate(&format!("{V1}{mount}"), cgroup);
        let path = |text: &str| Some(PathBuf::from(text));
        let alone = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(find(alone, "0::/system.slice/p.service\n"), path("/sys/fs/cgroup/system.slice/p.service"));
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(find(hybrid, "9:name=systemd:/x\n0::/\n"), path("/sys/fs/cgroup/unified/"));
        let bound = "41 31 0:38 /docker/7 /sys/fs/cg\\040roup rw - cgroup2 cgroup2 rw";
        assert_eq!(find(bound, "0::/docker/7/p\n"), path("/sys/fs/cg roup/p"));
        assert_eq!(find(bound, "0::/elsewhere\n"), None);
        assert_eq!(find(alone, "0::/../outside\n"), None);
        assert_eq!(find("", "0::/\n"), None);
        assert_eq!(find(alone, "4:memory:/\n"), None);
    }

    #[test]
    fn a_tree_cannot_leave_and_is_killed_as_a_whole() {
        let name = format!("preforkd-test-{}", std::process::id());
        let groups = match Cgroups::open(&name) {
            Ok(groups) => groups,
            Err(e) => {
                return crate::sys::skipped("a_tree_cannot_leave_and_is_killed_as_a_whole", &e.to_string());
            }
        };
        let group = groups.make("one").unwrap();
        assert!(groups.make("one").is_err(), "a name is one tree's");
        let mut child = Command::new("sh")
            .args(["-c", "read line; setsid sleep 100 & wait"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        group.bring(child.id()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let members = || groups.members("one").unwrap();
        while members().len() < 2 {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        fs::create_dir(groups.folder.join("one/below")).unwrap();
        fs::write(groups.folder.join("one/below/cgroup.procs"), members().last().unwrap().to_string()).unwrap();
        assert_eq!(members().len(), 2);
        assert!(!groups.remove("one"));
        groups.kill("one").unwrap();
        child.wait().unwrap();
        while !groups.remove("one") {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!((groups.members("one"), groups.names()), (None, Vec::new()));
        groups.leave();
        assert!(!groups.folder.exists());
    }
}
