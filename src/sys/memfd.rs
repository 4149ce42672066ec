//! Sealed memory files: payloads too large for a message (`memfd_create(2)`, `F_ADD_SEALS`).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A memfd that holds `bytes` and that nobody can change any more.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    fill(File::from(fd), bytes)
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<OwnedFd> {
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// A memfd that whoever has it may write to.
pub fn growing(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Makes a new file (an empty one) `len` bytes long. One of another length was written by a version that had it otherwise: an error.
pub fn of_length(file: &File, len: usize) -> io::Result<()> {
    match file.metadata()?.len() {
        0 => file.set_len(len as u64),
        there if there == len as u64 => Ok(()),
        there => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{there} bytes, expected {len}"))),
    }
}

/// Reads a file in memory whole (a memfd, or a file on tmpfs for those who cannot make one). Whatever else its sender
/// may have chosen (a pipe, a file on a file system that never answers), or more than `max` bytes, is refused.
/// That it is sealed does not matter: it is copied, and a file that shrinks meanwhile is an error of the read.
pub fn read_whole(fd: OwnedFd, max: usize) -> io::Result<Vec<u8>> {
    // Only files in memory know seals at all: anything else is EINVAL (fcntl(2), F_GET_SEALS).
    fcntl(&fd, FcntlArg::F_GET_SEALS)?;
    let file = File::from(fd);
    let len = file.metadata()?.len();
    if len > max as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes, at most {max} are allowed")));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_12_a_file_without_room_is_an_error() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(fill(full, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn round_trip_and_refusals() {
        let fd = sealed("t", b"hello").unwrap();
        assert!(File::from(fd.try_clone().unwrap()).write_all(b"x").is_err());
        assert_eq!(read_whole(fd.try_clone().unwrap(), 5).unwrap(), b"hello");
        assert!(read_whole(fd, 4).is_err());
        let (pipe, _other) = nix::unistd::pipe().unwrap();
        assert!(read_whole(pipe, 4).is_err());
        assert!(read_whole(File::open("/etc/passwd").unwrap().into(), 1 << 20).is_err());
    }
}
