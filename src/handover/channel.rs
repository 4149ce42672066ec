//! The channel between two masters: SEQPACKET, a letter first, and the state with its descriptors in messages of many each.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::envelope::{self, DecodeError};
use super::state::State;
use crate::sys::{fault, memfd, scm, seqpacket};
use crate::wire::cut;

/// The largest state, in bytes.
const STATE_MAX: usize = 4 << 30;
/// The most descriptors: more than a process may have.
const FDS_MAX: u32 = 1 << 22;
/// The longest message: a letter and a reason.
const MESSAGE: usize = 2048;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What the new master says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// It could begin.
    Prepared,
    /// It has everything, and could go on from it.
    Taken,
    /// It cannot, for this reason.
    Refused(String),
    /// Nothing yet.
    Nothing,
    /// It has gone.
    Gone,
}

/// Why nothing could be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The channel failed.
    #[error("receiving the state: {0}")]
    Io(#[from] io::Error),
    /// What came is no state.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Channel {
    /// The old master's end, and the new one's. No message may take longer than `patience`.
    pub fn pair(patience: Duration) -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = seqpacket::pair()?;
        // From now on the end of the other side is told from an empty message.
        seqpacket::vouch(ours.as_fd())?;
        seqpacket::set_send_timeout(ours.as_fd(), patience)?;
        Ok((Channel(ours), theirs))
    }

    /// The new master's end.
    pub fn inherited(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    /// Old master: hands over. Waits for room where there is none.
    pub fn give(&self, state: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let file = memfd::sealed("preforkd-state", state).map_err(|e| {
            let what = format!("its {} bytes cannot be written to a file in memory: {e}", state.len());
            io::Error::new(e.kind(), what)
        })?;
        let count = (fds.len() as u32).to_le_bytes();
        seqpacket::send(self.as_fd(), &[IoSlice::new(b"S"), IoSlice::new(&count)], &[file.as_fd()], true)?;
        fault::point("old-half-given");
        for some in fds.chunks(scm::MOST) {
            scm::send(self.as_fd(), b"F", some)?;
        }
        Ok(())
    }

    /// New master: takes over. Waits for everything.
    ///
    /// # Errors
    /// What came is not what was sent: nothing of it may be used.
    pub fn take(&self) -> Result<(State, Vec<OwnedFd>), TakeError> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut buffer = [0; 16];
        let (len, mut extra) = seqpacket::receive(self.as_fd(), &mut buffer)?;
        let (b'S', 5, Some(file)) = (buffer[0], len, extra.fds.pop()) else {
            return Err(wrong("the former master said something else").into());
        };
        let count = u32::from_le_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]);
        if count > FDS_MAX {
            return Err(wrong("too many descriptors were announced").into());
        }
        fault::point("new-half-taken");
        let mut fds = Vec::new();
        while fds.len() < count as usize {
            let (len, some) = scm::receive(self.as_fd(), &mut buffer)?;
            if (buffer[0], len) != (b'F', 1) || some.is_empty() {
                return Err(wrong(&format!("{} of {count} descriptors came", fds.len())).into());
            }
            fds.extend(some);
        }
        if fds.len() != count as usize {
            return Err(wrong("more descriptors came than were announced").into());
        }
        let bytes = memfd::read_whole(file, STATE_MAX)?;
        Ok((envelope::decode(&bytes)?, fds))
    }

    /// New master.
    pub fn say(&self, what: &Said) -> io::Result<()> {
        let (letter, text) = match what {
            Said::Prepared => (b"P", ""),
            Said::Taken => (b"T", ""),
            Said::Refused(why) => (b"X", cut(why, MESSAGE - 1)),
            Said::Nothing | Said::Gone => return Ok(()),
        };
        seqpacket::send(self.as_fd(), &[IoSlice::new(letter), IoSlice::new(text.as_bytes())], &[], true)
    }

    /// Old master: what the new one has said, without waiting.
    pub fn heard(&self) -> io::Result<Said> {
        let mut batch = seqpacket::Batch::new(1, MESSAGE);
        let received = batch.receive(self.as_fd())?;
        if received.messages == 0 {
            return Ok(if received.closed { Said::Gone } else { Said::Nothing });
        }
        let (bytes, _) = batch.message(0);
        Ok(match bytes.split_first() {
            Some((b'P', _)) => Said::Prepared,
            Some((b'T', _)) => Said::Taken,
            Some((b'X', why)) => Said::Refused(String::from_utf8_lossy(why).into_owned()),
            _ => Said::Refused("it said something that is not known".into()),
        })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
