//! The bytes of a journal around its records: a head, then frames.
//!
//! | offset | size | head | | offset | size | frame |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | `preforkd` | | 0 | 8 | length of the record |
//! | 8 | 4 | version | | 8 | 4 | CRC-32 of the checksum before, the length, the record |
//! | 12 | 4 | CRC-32 of the 12 bytes before | | 12 | | the record |
//!
//! Numbers are little-endian. Each checksum covers the one before it, the first frame's that of the
//! head: a frame that is missing, moved or left over from another file is found out, and so is a
//! run of zeros, which a file system may leave behind after a loss of power.

use std::io::{self, Read};

use super::record::{Record, RecordRef};

/// Version of the format. Another one is refused, never guessed at.
pub(super) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"preforkd";

/// Size of the head in bytes.
pub(super) const HEAD: usize = 16;

const FRAME_HEAD: usize = 12;

/// The head of a journal of this version.
pub(super) fn head() -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let sum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    Good,
    /// Empty, or begun and not finished: nothing was written behind it.
    Unfinished,
    Version(u32),
    Foreign,
}

/// Looks at the first bytes of a file, all of them if they are fewer than a head.
pub(super) fn look_at_head(bytes: &[u8]) -> Head {
    let good = head();
    if bytes.len() < HEAD {
        return if good.starts_with(bytes) { Head::Unfinished } else { Head::Foreign };
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if &bytes[..8] != MAGIC || word(12) != crc32fast::hash(&bytes[..12]) {
        return Head::Foreign;
    }
    if word(8) == VERSION { Head::Good } else { Head::Version(word(8)) }
}

/// The checksum of the last frame written or read, which the next one goes on from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain(u32);

impl Chain {
    /// Behind the head.
    pub fn new() -> Chain {
        let [.., s0, s1, s2, s3] = head();
        Chain(u32::from_le_bytes([s0, s1, s2, s3]))
    }

    fn next(self, length: &[u8], record: &[u8]) -> Chain {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(length);
        hasher.update(record);
        Chain(hasher.finalize())
    }
}

/// Appends a record in its frame and says how many bytes that are.
pub(super) fn encode(record: RecordRef, to: &mut Vec<u8>, chain: &mut Chain) -> u64 {
    let start = to.len();
    to.extend([0; FRAME_HEAD]);
    record.encode(to);
    let length = (to.len() - start - FRAME_HEAD) as u64;
    let length_bytes = length.to_le_bytes();
    *chain = chain.next(&length_bytes, &to[start + FRAME_HEAD..]);
    to[start..start + 8].copy_from_slice(&length_bytes);
    to[start + 8..start + FRAME_HEAD].copy_from_slice(&chain.0.to_le_bytes());
    length + FRAME_HEAD as u64
}

/// What comes next in a journal.
pub(super) enum Next {
    /// A record and the bytes it takes up.
    Record(Record, u64),
    End,
    /// Not a whole and true frame, and why.
    Torn(&'static str),
}

/// Reads one frame. `left` is how many bytes the file has from here on: no length is believed
/// beyond that.
pub(super) fn next(from: &mut impl Read, left: u64, chain: &mut Chain) -> io::Result<Next> {
    if left == 0 {
        return Ok(Next::End);
    }
    if left < FRAME_HEAD as u64 {
        return Ok(Next::Torn("a record is cut off"));
    }
    let mut head = [0; FRAME_HEAD];
    from.read_exact(&mut head)?;
    let [length @ .., s0, s1, s2, s3] = head;
    let sum = u32::from_le_bytes([s0, s1, s2, s3]);
    let size = u64::from_le_bytes(length);
    let room = left - FRAME_HEAD as u64;
    let Some(bytes) = usize::try_from(size).ok().filter(|_| size <= room) else {
        return Ok(Next::Torn("a record is cut off, or its length is wrong"));
    };
    let mut record = vec![0; bytes];
    from.read_exact(&mut record)?;
    let link = chain.next(&length, &record);
    if link.0 != sum {
        return Ok(Next::Torn("a record's checksum is wrong"));
    }
    Ok(match Record::decode(&record) {
        None => Next::Torn("a record cannot be understood"),
        Some(record) => {
            *chain = link;
            Next::Record(record, size + FRAME_HEAD as u64)
        }
    })
}
