//! What can go wrong between a terminal and a daemon. `main.rs` makes exit codes of it.

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::wire::client::AnswerError;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line cannot mean anything.
    #[error("{0}")]
    Usage(String),
    /// Nobody listens on the socket.
    #[error(
        "no daemon on {}: {source}. Start one with `preforkd serve FILE`, \
         or point --dir (PREFORKD_DIR) to the folder of one that runs",
        socket.display()
    )]
    NoDaemon {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon answered with an error.
    #[error("{}", .0.message)]
    Refused(AnswerError),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
    /// Already reported where it happened, in full; only the exit code is left.
    #[error("")]
    Reported,
    /// Ctrl-C while waiting for a run, which goes on.
    #[error("stopped waiting; the run goes on\n  see it:  preforkd status {0}\n  end it:  preforkd kill {0}")]
    Interrupted(String),
    /// Whoever read our output is gone (`| head`): nobody is left to tell.
    #[error("")]
    ReaderGone,
}

/// JSON-RPC's "invalid params": the daemon understood the method and not what it was given.
const INVALID_PARAMS: i32 = -32602;

impl Error {
    /// Whether the command line is to blame, be it found here or by the daemon.
    pub fn is_usage(&self) -> bool {
        match self {
            Error::Usage(_) => true,
            Error::Refused(refusal) => refusal.code == INVALID_PARAMS,
            _ => false,
        }
    }

    /// The one JSON document that `--json` prints in place of a result; `None`
    /// where the result was printed or nobody reads it.
    pub fn to_json(&self) -> Option<String> {
        #[derive(Serialize)]
        struct Document<'a> {
            error: Object<'a>,
        }
        #[derive(Serialize)]
        struct Object<'a> {
            code: Option<i32>,
            kind: &'a str,
            message: String,
        }
        let (code, kind) = match self {
            Error::Usage(_) => (None, "usage"),
            Error::NoDaemon { .. } => (None, "no_daemon"),
            Error::Failed(_) => (None, "failed"),
            Error::Interrupted(_) => (None, "interrupted"),
            Error::Refused(refusal) => (Some(refusal.code), refusal.kind()),
            Error::Reported | Error::ReaderGone => return None,
        };
        serde_json::to_string(&Document { error: Object { code, kind, message: self.to_string() } }).ok()
    }
}

/// Trouble with our own output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Error::ReaderGone,
            _ => Error::Failed(format!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Error {
        Error::Refused(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_refusal_keeps_code_and_kind_for_programs() {
        let error = refusal(r#"{"code":-32002,"message":"no run x","data":{"kind":"run_not_found"}}"#);
        assert_eq!(
            error.to_json().unwrap(),
            r#"{"error":{"code":-32002,"kind":"run_not_found","message":"no run x"}}"#
        );
        assert!(!error.is_usage());
    }

    #[test]
    fn invalid_params_are_wrong_usage() {
        assert!(refusal(r#"{"code":-32602,"message":"entry: empty"}"#).is_usage());
        assert!(Error::Usage("x".into()).is_usage());
        assert!(!Error::Failed("x".into()).is_usage());
    }

    #[test]
    fn no_daemon_says_which_socket_and_what_to_do() {
        let error =
            Error::NoDaemon { socket: "/d/preforkd.sock".into(), source: io::Error::from(io::ErrorKind::NotFound) };
        let text = error.to_string();
        assert!(text.contains("/d/preforkd.sock") && text.contains("preforkd serve"), "{text}");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        assert!(matches!(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)), Error::ReaderGone));
        assert!(matches!(Error::from(io::Error::other("disk full")), Error::Failed(_)));
    }
}
