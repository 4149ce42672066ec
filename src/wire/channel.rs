//! The zygote channel: `proto/ZYGOTE.md` in types. Both ends use this page, so that they cannot disagree.

mod payload;

pub use super::status::RunError as ErrorObject;
pub use payload::*;

use std::fmt;
use std::ops::BitOr;

/// The protocol's version.
pub const VERSION: u32 = 1;
/// The variable that holds a [`ZygoteConfig`].
pub const ENV: &str = "PREFORKD_ZYGOTE";
/// The variable that marks all processes that descend from a run's or a worker's: its nonce in 16 hexadecimal digits.
pub const TREE_ENV: &str = "PREFORKD_TREE";
/// What a zygote finds in it. It is the last variable of its environment, so that children can write theirs over it in place.
pub const NO_TREE: &str = "0000000000000000";
/// The largest payload that travels in the message itself, in bytes.
pub const INLINE_MAX: usize = 65_536;
/// The header's length, in bytes.
pub const HEADER_LEN: usize = 16;
/// The most that a message can be long, in bytes.
pub const MESSAGE_MAX: usize = HEADER_LEN + INLINE_MAX;
/// The most fds that a message can carry.
pub const MAX_FDS: usize = 5;
/// The largest result of a run, in bytes.
pub const RESULT_MAX: usize = 1024 * 1024;

/// What a message's type can be, on one direction of the channel.
pub trait Kind: Copy + fmt::Debug + PartialEq {
    /// The number on the wire.
    fn number(self) -> u16;
    /// The kind of that number.
    fn from_number(number: u16) -> Option<Self>;
    /// The flags that may stand beside it.
    fn allowed(self) -> Flags;
}

/// Master → zygote, and [`Order::Request`] to an idle child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Order {
    /// Fork one child.
    Fork = 1,
    /// Which pid was forked for this slot and nonce?
    Whois = 2,
    /// Leave; live children go on.
    Retire = 3,
    /// To an idle child: what to run.
    Request = 4,
}

impl Kind for Order {
    fn number(self) -> u16 {
        self as u16
    }
    fn from_number(number: u16) -> Option<Self> {
        [Order::Fork, Order::Whois, Order::Retire, Order::Request].into_iter().find(|kind| kind.number() == number)
    }
    fn allowed(self) -> Flags {
        match self {
            Order::Fork => Flags::CHANNEL | Flags::STDIO | Flags::MEMFD,
            Order::Request => Flags::STDIO | Flags::MEMFD,
            Order::Whois | Order::Retire => Flags::NONE,
        }
    }
}

/// Zygote or child → master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Reply {
    /// The preload is done: [`ReadyInfo`].
    Ready = 16,
    /// It is not: [`ErrorObject`].
    PreloadFailed = 17,
    /// No child: [`ForkFailed`].
    ForkFailed = 18,
    /// The answer to [`Order::Whois`]: [`Forked`].
    Forked = 19,
    /// The entry is about to run.
    Started = 20,
    /// It will not: [`Refused`].
    Refused = 21,
    /// Any JSON.
    Progress = 22,
    /// What the entry returned, any JSON.
    Result = 23,
    /// An uncaught error: [`ErrorObject`].
    Error = 24,
}

impl Kind for Reply {
    fn number(self) -> u16 {
        self as u16
    }
    fn from_number(number: u16) -> Option<Self> {
        use Reply::{Error, ForkFailed, Forked, PreloadFailed, Progress, Ready, Refused, Result, Started};
        [Ready, PreloadFailed, ForkFailed, Forked, Started, Refused, Progress, Result, Error]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
    fn allowed(self) -> Flags {
        if self == Reply::Started { Flags::NONE } else { Flags::MEMFD }
    }
}

/// Which fds a message carries, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// No fds.
    pub const NONE: Flags = Flags(0);
    /// One: an idle child's request channel.
    pub const CHANNEL: Flags = Flags(1);
    /// Three: the child's stdio.
    pub const STDIO: Flags = Flags(2);
    /// One: the payload, a sealed memfd.
    pub const MEMFD: Flags = Flags(4);

    /// The bits on the wire.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` are set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// How many fds must come with the message; anything else is refused and closed.
    pub fn fd_count(self) -> usize {
        let one = |flag| usize::from(self.contains(flag));
        one(Flags::CHANNEL) + 3 * one(Flags::STDIO) + one(Flags::MEMFD)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// A message's header: 16 bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<K> {
    /// What the message is.
    pub kind: K,
    /// Which fds it carries.
    pub flags: Flags,
    /// The run's index in the shared table, or the idle child's number.
    pub slot: u32,
    /// Proves that the sender was told of the slot.
    pub nonce: u64,
}

impl<K: Kind> Header<K> {
    /// The header as it is sent before the payload.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..2].copy_from_slice(&self.kind.number().to_le_bytes());
        bytes[2..4].copy_from_slice(&self.flags.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.slot.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// A message's header and payload.
    ///
    /// # Errors
    /// A message that nobody who keeps to the protocol sends; to be dropped, its fds closed.
    pub fn decode(message: &[u8]) -> Result<(Header<K>, &[u8]), BadMessage> {
        let Some((head, payload)) = message.split_first_chunk::<HEADER_LEN>() else {
            return Err(BadMessage::Short(message.len()));
        };
        let [k0, k1, f0, f1, s0, s1, s2, s3, nonce @ ..] = *head;
        let number = u16::from_le_bytes([k0, k1]);
        let kind = K::from_number(number).ok_or(BadMessage::UnknownType(number))?;
        let flags = Flags(u16::from_le_bytes([f0, f1]));
        if !kind.allowed().contains(flags) {
            return Err(BadMessage::WrongFlags { number, flags: flags.0 });
        }
        if payload.len() > INLINE_MAX || (flags.contains(Flags::MEMFD) && !payload.is_empty()) {
            return Err(BadMessage::WrongPayload { number, length: payload.len() });
        }
        let header =
            Header { kind, flags, slot: u32::from_le_bytes([s0, s1, s2, s3]), nonce: u64::from_le_bytes(nonce) };
        Ok((header, payload))
    }
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "told by the text")]
pub enum BadMessage {
    Short(usize),
    UnknownType(u16),
    WrongFlags { number: u16, flags: u16 },
    WrongPayload { number: u16, length: usize },
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadMessage::Short(length) => {
                write!(f, "a message of {length} bytes has no whole header")
            }
            BadMessage::UnknownType(number) => write!(f, "a message of the unknown type {number}"),
            BadMessage::WrongFlags { number, flags } => {
                write!(f, "flags {flags:#x} beside type {number}")
            }
            BadMessage::WrongPayload { number, length } => {
                write!(f, "a payload of {length} bytes in a message of type {number}")
            }
        }
    }
}

impl std::error::Error for BadMessage {}

#[cfg(test)]
mod tests;
