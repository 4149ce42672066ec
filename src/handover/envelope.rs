//! The bytes of a state.
//!
//! | offset | size | head | | offset | size | section |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | `preforkU` | | 0 | 4 | tag |
//! | 8 | 4 | version of this table | | 4 | 4 | version |
//! | 12 | 4 | CRC-32 of all that follows | | 8 | 8 | length |
//! | 16 | 8 | length of all sections | | 16 | | the section, by bincode |
//!
//! Numbers are little-endian. Nothing is decoded before head, length and checksum have been found right.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::State;

const MAGIC: &[u8; 8] = b"preforkU";
const VERSION: u32 = 1;
const HEAD: usize = 24;
const SECTION: usize = 16;

/// Tags. One that has been used is never used for anything else.
mod tag {
    pub const DAEMON: u32 = 1;
    pub const CLIENTS: u32 = 2;
    pub const POOLS: u32 = 3;
    pub const RUNS: u32 = 4;
    pub const WAITING: u32 = 5;
    pub const OUTPUT: u32 = 6;
    pub const TREES: u32 = 7;
}

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DecodeError {
    /// Something else, or only a part of it.
    #[error("this is no state of preforkd")]
    Foreign,
    /// A later format.
    #[error("the state is of format {0}, this preforkd reads {VERSION}")]
    Version(u32),
    /// Bytes are missing, or are too many.
    #[error("the state is {got} bytes long, and should be {expected}")]
    Length {
        /// What the head says.
        expected: u64,
        /// What there is.
        got: u64,
    },
    /// It has been changed.
    #[error("the state's checksum is wrong")]
    Checksum,
    /// A section is cut off.
    #[error("section {0} of the state is cut off")]
    Cut(u32),
    /// A section of a later version.
    #[error("section {tag} of the state is of version {found}, this preforkd reads {known}")]
    Section {
        /// Which.
        tag: u32,
        /// Its version.
        found: u32,
        /// The latest one that is known.
        known: u32,
    },
    /// A section that does not hold what it should.
    #[error("section {tag} of the state cannot be read: {why}")]
    Content {
        /// Which.
        tag: u32,
        /// bincode's word.
        why: String,
    },
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard()
}

/// As bytes.
///
/// # Errors
/// What bincode cannot write; of these types there is nothing.
pub fn encode(state: &State) -> Result<Vec<u8>, String> {
    let mut out = vec![0; HEAD];
    put(&mut out, tag::DAEMON, &state.daemon)?;
    put(&mut out, tag::CLIENTS, &state.clients)?;
    put(&mut out, tag::POOLS, &state.pools)?;
    put(&mut out, tag::RUNS, &state.runs)?;
    put(&mut out, tag::WAITING, &state.waiting)?;
    put(&mut out, tag::OUTPUT, &state.output)?;
    put(&mut out, tag::TREES, &state.trees)?;
    seal(&mut out);
    Ok(out)
}

/// Writes the head of what is whole.
pub(super) fn seal(out: &mut [u8]) {
    let length = (out.len() - HEAD) as u64;
    out[16..HEAD].copy_from_slice(&length.to_le_bytes());
    let sum = crc32fast::hash(&out[16..]);
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&sum.to_le_bytes());
}

pub(super) fn put<T: Serialize>(out: &mut Vec<u8>, tag: u32, section: &T) -> Result<(), String> {
    let at = out.len();
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    bincode::serde::encode_into_std_write(section, out, config()).map_err(|e| e.to_string())?;
    let length = (out.len() - at - SECTION) as u64;
    out[at + 8..at + SECTION].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// From bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<State, DecodeError> {
    if bytes.len() < HEAD || &bytes[..8] != MAGIC {
        return Err(DecodeError::Foreign);
    }
    match word(bytes, 8) {
        VERSION => {}
        other => return Err(DecodeError::Version(other)),
    }
    let (expected, got) = (long(bytes, 16), (bytes.len() - HEAD) as u64);
    if expected != got {
        return Err(DecodeError::Length { expected, got });
    }
    if crc32fast::hash(&bytes[16..]) != word(bytes, 12) {
        return Err(DecodeError::Checksum);
    }
    let (mut state, mut rest) = (State::default(), &bytes[HEAD..]);
    while !rest.is_empty() {
        if rest.len() < SECTION {
            return Err(DecodeError::Cut(0));
        }
        let (tag, version, length) = (word(rest, 0), word(rest, 4), long(rest, 8));
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(SECTION));
        let end = end.filter(|end| *end <= rest.len()).ok_or(DecodeError::Cut(tag))?;
        let section = Section { tag, version, bytes: &rest[SECTION..end] };
        rest = &rest[end..];
        match tag {
            tag::DAEMON => state.daemon = section.read()?,
            tag::CLIENTS => state.clients = section.read()?,
            tag::POOLS => state.pools = section.read()?,
            tag::RUNS => state.runs = section.read()?,
            tag::WAITING => state.waiting = section.read()?,
            tag::OUTPUT => state.output = section.read()?,
            tag::TREES => state.trees = section.read()?,
            // Of a later version, which can do without.
            _ => {}
        }
    }
    Ok(state)
}

struct Section<'a> {
    tag: u32,
    version: u32,
    bytes: &'a [u8],
}

impl Section<'_> {
    /// All sections are of version 1 so far; the types of former versions are read here, once there are any.
    fn read<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        if self.version != 1 {
            return Err(DecodeError::Section { tag: self.tag, found: self.version, known: 1 });
        }
        let content = |why: String| DecodeError::Content { tag: self.tag, why };
        let (value, read) = bounded(self.bytes).map_err(|e| content(e.to_string()))?;
        if read != self.bytes.len() {
            return Err(content(format!("{} bytes are left over", self.bytes.len() - read)));
        }
        Ok(value)
    }
}

/// bincode takes the length of a text for true, and asks for so much memory before it reads on; unless it has a limit, which has to
/// be a constant. What it counts towards that is at most 8 for a byte: that of a `u64` that is small.
fn bounded<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    match bytes.len() {
        0..=0x1_0000 => limited::<T, 0x8_0000>(bytes),
        0x1_0001..=0x10_0000 => limited::<T, 0x80_0000>(bytes),
        0x10_0001..=0x100_0000 => limited::<T, 0x800_0000>(bytes),
        0x100_0001..=0x1000_0000 => limited::<T, 0x8000_0000>(bytes),
        _ => limited::<T, 0x8_0000_0000>(bytes),
    }
}

fn limited<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
