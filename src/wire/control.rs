//! What keeper and master say to each other: one SEQPACKET message each, a letter and a text.
//!
//! Both are the same binary most of the time, but not during an upgrade: letters are never reused.

/// What the names of idle children's channels begin with. A successor is handed them by its predecessor, so that the keeper hands them only to a master that follows one that has died.
pub const IDLE: &str = "idle/";

/// Master → keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToKeeper {
    /// Keep the descriptor that comes with this under this name, replacing one of that name.
    Store(String),
    /// Close what is kept under this name, or under all that begin with it if it ends with a slash.
    Drop(String),
    /// Serving. Until a master has said so for the first time, its end is the end of the keeper.
    Ready,
    /// There is room in the exit ring again.
    Drained,
    /// Shutting down, though no signal has asked for it: see that it comes to an end.
    Stopping,
    /// Everything has been shut down; end with this exit code after me.
    Quit(u8),
    /// Start the program of this path as my successor. Its end of the channel between us, and what it has for stderr, come
    /// with this.
    Upgrade(String),
    /// Nothing will change at the keeper any more: hand everything that is kept to the successor.
    Frozen,
    /// The successor has taken everything over: it is the master from now on.
    Commit,
    /// No upgrade after all: end the successor.
    Abandon,
    /// Let the program of this path take your place. What it has for stderr comes with this.
    Replace(String),
    /// Only ask it whether it could.
    CheckKeeper(String),
    /// Some of those who are looked after are not your children: later masters have to know.
    Strangers,
    /// What was to be done because of [`ToMaster::Reload`] has been done, or cannot be.
    Reloaded,
    /// A turn of the loop has begun, and nobody looks whether it ends: look.
    Busy,
}

/// Keeper → master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// A kept descriptor, which comes with this.
    Stored(String),
    /// That was all that is kept: begin. The text is empty for the first master of this keeper, `restart` for a later one, and
    /// `upgrade` for a successor, which has to wait for `Go`; with ` strangers` behind it if some processes are not the keeper's
    /// children.
    Begin(String),
    /// Shut down.
    Terminate,
    /// Shut down without waiting for anybody: asked for a second time.
    Kill,
    /// Read the process file again.
    Reload,
    /// Open the log files anew by their names: somebody has renamed them.
    Reopen,
    /// Find a successor: somebody has asked the keeper for an upgrade.
    Upgrade,
    /// To a successor: serve.
    Go,
    /// The successor serves: leave.
    Leave,
    /// There is no successor, or none any more.
    NoSuccessor(String),
    /// The keeper has been replaced, or could be: the version it had, a blank, and the new one.
    Keeper(String),
}

impl ToKeeper {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ToKeeper::Store(name) => message(b'S', name),
            ToKeeper::Drop(name) => message(b'D', name),
            ToKeeper::Ready => message(b'R', ""),
            ToKeeper::Drained => message(b'W', ""),
            ToKeeper::Stopping => message(b'X', ""),
            ToKeeper::Quit(code) => vec![b'Q', *code],
            ToKeeper::Upgrade(path) => message(b'U', path),
            ToKeeper::Frozen => message(b'F', ""),
            ToKeeper::Commit => message(b'C', ""),
            ToKeeper::Abandon => message(b'A', ""),
            ToKeeper::Strangers => message(b'O', ""),
            ToKeeper::Reloaded => message(b'H', ""),
            ToKeeper::Busy => message(b'B', ""),
            ToKeeper::Replace(path) => message(b'P', path),
            ToKeeper::CheckKeeper(path) => message(b'K', path),
        }
    }

    /// From bytes; None for what this version does not know.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&letter, rest) = bytes.split_first()?;
        Some(match letter {
            b'S' => ToKeeper::Store(text(rest)?),
            b'D' => ToKeeper::Drop(text(rest)?),
            b'R' => ToKeeper::Ready,
            b'W' => ToKeeper::Drained,
            b'X' => ToKeeper::Stopping,
            b'Q' => ToKeeper::Quit(*rest.first()?),
            b'U' => ToKeeper::Upgrade(text(rest)?),
            b'F' => ToKeeper::Frozen,
            b'C' => ToKeeper::Commit,
            b'A' => ToKeeper::Abandon,
            b'O' => ToKeeper::Strangers,
            b'H' => ToKeeper::Reloaded,
            b'B' => ToKeeper::Busy,
            b'P' => ToKeeper::Replace(text(rest)?),
            b'K' => ToKeeper::CheckKeeper(text(rest)?),
            _ => return None,
        })
    }
}

impl ToMaster {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ToMaster::Stored(name) => message(b'F', name),
            ToMaster::Begin(why) => message(b'B', why),
            ToMaster::Terminate => message(b'T', ""),
            ToMaster::Kill => message(b'K', ""),
            ToMaster::Reload => message(b'H', ""),
            ToMaster::Reopen => message(b'L', ""),
            ToMaster::Upgrade => message(b'U', ""),
            ToMaster::Go => message(b'G', ""),
            ToMaster::Leave => message(b'V', ""),
            ToMaster::NoSuccessor(why) => message(b'N', super::cut(why, MAX - 1)),
            ToMaster::Keeper(versions) => message(b'E', versions),
        }
    }

    /// From bytes; None for what this version does not know.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&letter, rest) = bytes.split_first()?;
        Some(match letter {
            b'F' => ToMaster::Stored(text(rest)?),
            b'B' => ToMaster::Begin(text(rest)?),
            b'T' => ToMaster::Terminate,
            b'K' => ToMaster::Kill,
            b'H' => ToMaster::Reload,
            b'L' => ToMaster::Reopen,
            b'U' => ToMaster::Upgrade,
            b'G' => ToMaster::Go,
            b'V' => ToMaster::Leave,
            b'N' => ToMaster::NoSuccessor(text(rest)?),
            b'E' => ToMaster::Keeper(text(rest)?),
            _ => return None,
        })
    }
}

/// The longest message: a letter and a name, or a path (PATH_MAX of linux/limits.h).
pub const MAX: usize = 1 + 4096;
/// Under this number a master finds its end of the channel.
pub const MASTER_FD: i32 = 3;
/// Under this number a successor finds its end of the channel between the two masters.
pub const HANDOVER_FD: i32 = 4;
/// Under this number a successor finds the daemon's stderr; its own is read by its predecessor until it serves.
pub const STDERR_FD: i32 = 5;
/// In the environment of a program that takes a keeper's place, or is asked whether it could.
pub const KEEPER_ENV: &str = "PREFORKD_KEEPER";
/// In the environment of a successor.
pub const SUCCESSOR_ENV: &str = "PREFORKD_SUCCESSOR";
/// Names that number in the environment; its presence says that a `serve` is to be the master.
pub const MASTER_ENV: &str = "PREFORKD_MASTER_FD";

fn message(letter: u8, rest: &str) -> Vec<u8> {
    [&[letter], rest.as_bytes()].concat()
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for m in [
            ToKeeper::Store("a/b".into()),
            ToKeeper::Drop("x".into()),
            ToKeeper::Ready,
            ToKeeper::Drained,
            ToKeeper::Quit(7),
            ToKeeper::Upgrade("/usr/bin/preforkd".into()),
            ToKeeper::Replace("/usr/bin/preforkd".into()),
            ToKeeper::CheckKeeper("/usr/bin/preforkd".into()),
            ToKeeper::Frozen,
            ToKeeper::Commit,
            ToKeeper::Abandon,
            ToKeeper::Strangers,
            ToKeeper::Reloaded,
            ToKeeper::Busy,
        ] {
            assert_eq!(ToKeeper::decode(&m.encode()), Some(m));
        }
        let to_master = [
            ToMaster::Stored("n".into()),
            ToMaster::Begin("restart".into()),
            ToMaster::Terminate,
            ToMaster::Kill,
            ToMaster::Reload,
            ToMaster::Reopen,
            ToMaster::Upgrade,
            ToMaster::Keeper("0.1.0 0.2.0".into()),
            ToMaster::Go,
            ToMaster::Leave,
            ToMaster::NoSuccessor("it ended with exit code 1".into()),
        ];
        for m in to_master {
            assert_eq!(ToMaster::decode(&m.encode()), Some(m));
        }
        assert_eq!(ToKeeper::decode(b""), None);
        assert_eq!(ToKeeper::decode(b"Q"), None);
        assert_eq!(ToMaster::decode(b"F\xff"), None);
    }
}
