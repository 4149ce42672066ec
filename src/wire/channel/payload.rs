//! What the messages of the channel carry.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a zygote finds in [`super::ENV`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteConfig {
    /// [`super::VERSION`]
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
    /// Whether what the preload has filled is put into huge pages. A master that does not say so has nothing against it.
    #[serde(default = "yes")]
    pub huge_pages: bool,
}

fn yes() -> bool {
    true
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

/// The payload of [`super::Order::Request`] and of [`super::Order::Fork`] without a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildRequest<'a> {
    /// The run's id.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// What to run.
    #[serde(borrow)]
    pub entry: Cow<'a, str>,
    /// Its one argument, spliced in as it came. Never beside `args`.
    #[serde(default, borrow, deserialize_with = "borrowed", skip_serializing_if = "Option::is_none")]
    pub params: Option<Cow<'a, RawValue>>,
    /// A script's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Cow<'a, [String]>>,
    /// Added to the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Cow<'a, BTreeMap<String, String>>>,
}

/// `null` is a value, too.
fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, RawValue>>, D::Error> {
    <&RawValue>::deserialize(from).map(|value| Some(Cow::Borrowed(value)))
}

/// The payload of [`super::Reply::Ready`].
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

/// The payload of [`super::Reply::Refused`].
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

/// The payload of [`super::Reply::ForkFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkFailed {
    /// For people.
    pub message: String,
    /// The system's reason; `None`: the kit refused.
    pub errno: Option<i32>,
}

/// The payload of [`super::Reply::Forked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    /// 0: not known.
    pub pid: u32,
}
