//! The zygote channel: `proto/ZYGOTE.md` in types. Both ends use this page, so that they cannot disagree.

pub use super::status::RunError as ErrorObject;

use super::json::present;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::BitOr;

/// The protocol's version.
pub const VERSION: u32 = 1;
/// The variable that holds a [`ZygoteConfig`].
pub const ENV: &str = "PREFORKD_ZYGOTE";
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
            BadMessage::Short(length) => write!(f, "a message of {length} bytes has no whole header"),
            BadMessage::UnknownType(number) => write!(f, "a message of the unknown type {number}"),
            BadMessage::WrongFlags { number, flags } => write!(f, "flags {flags:#x} beside type {number}"),
            BadMessage::WrongPayload { number, length } => {
                write!(f, "a payload of {length} bytes in a message of type {number}")
            }
        }
    }
}

impl std::error::Error for BadMessage {}

/// What a zygote finds in [`ENV`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteConfig {
    /// [`VERSION`]
    pub protocol: u32,
    /// The pool's name.
    pub pool: String,
    /// 1, 2, …
    pub generation: u32,
    /// The file to preload, absolute.
    pub preload: Option<String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// What may be run; `None`: what lies under `cwd`.
    pub entries: Option<Vec<String>>,
    /// How a child leaves.
    pub shutdown: Shutdown,
    /// Seconds of CPU a child may use.
    pub cpu_time: Option<u64>,
}

/// How a child leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shutdown {
    /// Flushed, shutdown functions run, then `_exit`.
    #[default]
    Fast,
    /// The runtime's own way.
    Full,
}

/// The payload of [`Order::Request`] and of [`Order::Fork`] without a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildRequest<'a> {
    /// The run's id.
    pub id: Cow<'a, str>,
    /// What to run.
    pub entry: Cow<'a, str>,
    /// Its one argument, spliced in as it came. Never beside `args`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub params: Option<Cow<'a, RawValue>>,
    /// A script's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Cow<'a, [String]>>,
    /// Added to the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// The payload of [`Reply::Ready`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyInfo {
    /// `PHP 8.2.29`
    pub runtime: String,
    /// How the kit reaches the system: `ffi`, `ctypes`.
    #[serde(default)]
    pub via: Option<String>,
    /// For people.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The payload of [`Reply::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For programs.
    pub code: RefusedCode,
    /// For people.
    pub message: String,
}

/// Why an entry was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedCode {
    /// It may not be run.
    Refused,
    /// There is no such entry.
    NotFound,
    /// Finding it failed.
    Error,
}

/// The payload of [`Reply::ForkFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkFailed {
    /// For people.
    pub message: String,
    /// The system's reason; `None`: the kit refused.
    pub errno: Option<i32>,
}

/// The payload of [`Reply::Forked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    /// 0: not known.
    pub pid: u32,
}

#[cfg(test)]
mod tests;
