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
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Reads a sealed memfd whole. Anything that is not one (a pipe, a file, a memfd that its
/// sender could still change or shrink under us) or is longer than `max` bytes is refused.
pub fn read_sealed(fd: OwnedFd, max: usize) -> io::Result<Vec<u8>> {
    let needed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_WRITE;
    let seals = fcntl(&fd, FcntlArg::F_GET_SEALS)?;
    if !SealFlag::from_bits_truncate(seals).contains(needed) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the memfd is not sealed against shrinking and writing",
        ));
    }
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
    fn round_trip_and_refusals() {
        let fd = sealed("t", b"hello").unwrap();
        assert!(File::from(fd.try_clone().unwrap()).write_all(b"x").is_err());
        assert_eq!(read_sealed(fd.try_clone().unwrap(), 5).unwrap(), b"hello");
        assert!(read_sealed(fd, 4).is_err());
        let (pipe, _other) = nix::unistd::pipe().unwrap();
        assert!(read_sealed(pipe, 4).is_err());
        let open = memfd_create("t", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        assert!(read_sealed(open, 4).is_err());
    }
}
