//! `apps.logs`, `apps.flush`, `apps.reopen`.

use super::super::Master;
use super::super::runs::Asker;
use super::super::subscriptions::Followed;
use crate::logs::Kind;
use crate::wire::apps::{LogFiles, Logs};
use crate::wire::request::{LogStream, LogsWanted, Targets};
use crate::wire::rpc::RpcError;

/// The last lines; with `follow` those that come from now on too, and no line twice or left out in between.
pub(super) fn obey(master: &mut Master, asker: Asker, wanted: LogsWanted) {
    let kind = wanted.stream.map(|stream| match stream {
        LogStream::Out => Kind::Out,
        LogStream::Err => Kind::Err,
    });
    let followed = Followed { targets: wanted.targets, kind };
    let lines = master.log_streams_of(&followed).and_then(|tokens| {
        let lines = master.last_lines(&tokens, wanted.lines as usize);
        lines.map_err(|e| RpcError::internal(format!("reading the logs: {e}")))
    });
    match lines {
        Err(e) => master.refuse(asker, &e),
        Ok(lines) => {
            let connection = asker.connection;
            master.answer(asker, &Logs { lines });
            if wanted.follow {
                master.follow(connection, followed);
            }
        }
    }
}

/// The files become empty.
pub(super) fn flush(master: &mut Master, asker: Asker, targets: Option<Targets>) {
    let files = master.log_streams_of(&Followed { targets, kind: None }).and_then(|tokens| {
        master.flush_logs(tokens).map_err(|e| RpcError::internal(format!("emptying the log files: {e}")))
    });
    match files {
        Err(e) => master.refuse(asker, &e),
        Ok(files) => master.answer(asker, &LogFiles { files }),
    }
}

/// The files are opened anew by their names.
pub(super) fn reopen(master: &mut Master, asker: Asker) {
    let files = master.reopen_logs();
    master.answer(asker, &LogFiles { files });
}
