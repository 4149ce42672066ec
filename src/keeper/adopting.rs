//! `serve --adopt`: a master whose keeper has died is given us instead, and has a successor that is our own child.

use std::io;
use std::os::fd::AsFd;

use super::{Keeper, KeeperError, Master};
use crate::settings::ServeOptions;
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::{files, peer, seqpacket};

/// The master that holds the directory, if its keeper has died and we are to take over. `holder`: who has locked it at first.
pub(super) fn find(options: &ServeOptions, holder: Option<u32>) -> Result<Master, KeeperError> {
    let dir = options.dirs.runtime.display().to_string();
    let socket = options.dirs.adopt();
    if !options.adopt && socket.exists() {
        return Err(KeeperError::Orphaned { dir });
    }
    let control = match seqpacket::connect(&socket) {
        Ok(control) if options.adopt => control,
        _ => return Err(KeeperError::AlreadyRunning { dir, pid: holder }),
    };
    let found = || -> io::Result<Master> {
        let pid = peer::unix_pid(control.as_fd())?;
        let handle = PidFd::open(pid)?;
        Ok(Master { pid, handle, control: Some(control), started_at: monotonic_ns(), quit: None, fostered: true })
    };
    found().map_err(|source| KeeperError::System { doing: "taking over from the keeper that has died".into(), source })
}

impl Keeper<'_> {
    /// It gives us everything that is to be kept, and then is ready.
    pub(super) fn foster(&mut self, master: Master) -> io::Result<()> {
        self.say(&format!("taking over: the master is {}, whose keeper has died", master.pid));
        self.strangers = true;
        self.master = Some(master);
        // Who asks for the holder of the directory is told of us.
        files::write_pid(&self.options.dirs.lock(), std::process::id())
    }

    /// A master that is not our child has gone: nobody tells us so but its channel.
    pub(super) fn lost_foster(&mut self, pid: u32) {
        if self.master.take_if(|master| master.pid == pid).is_none() {
            return;
        }
        self.end_master_at = None;
        self.say(&format!("the master (pid {pid}) has died; starting another"));
        self.restart_at = Some(monotonic_ns());
    }
}
