//! What keeper and master say to each other: one SEQPACKET message each, a letter and a text.
//!
//! Both are the same binary most of the time, but not during an upgrade: letters are never reused.

/// Master → keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToKeeper {
    /// Keep the descriptor that comes with this under this name, replacing one of that name.
    Store(String),
    /// Close what is kept under this name.
    Drop(String),
    /// Serving. Until a master has said so for the first time, its end is the end of the keeper.
    Ready,
    /// There is room in the exit ring again.
    Drained,
    /// Shutting down, though no signal has asked for it: see that it comes to an end.
    Stopping,
    /// Everything has been shut down; end with this exit code after me.
    Quit(u8),
}

/// Keeper → master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// A kept descriptor, which comes with this.
    Stored(String),
    /// That was all that is kept: begin. The text is empty for the first master of this keeper, `restart` for a later one.
    Begin(String),
    /// Shut down.
    Terminate,
    /// Shut down without waiting for anybody: asked for a second time.
    Kill,
    /// Read the process file again.
    Reload,
    /// Open the log files anew by their names: somebody has renamed them.
    Reopen,
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
            _ => return None,
        })
    }
}

/// The longest message: a letter and a name.
pub const MAX: usize = 512;
/// Under this number a master finds its end of the channel.
pub const MASTER_FD: i32 = 3;
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
        ];
        for m in to_master {
            assert_eq!(ToMaster::decode(&m.encode()), Some(m));
        }
        assert_eq!(ToKeeper::decode(b""), None);
        assert_eq!(ToKeeper::decode(b"Q"), None);
        assert_eq!(ToMaster::decode(b"F\xff"), None);
    }
}
