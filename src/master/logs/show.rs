//! What is shown of the logs, and to whom.

use std::collections::HashSet;
use std::io;

use mio::Token;

use super::super::Master;
use super::super::sources::Source;
use super::super::subscriptions::Followed;
use super::{LogPipe, StreamKey};
use crate::logs::{Stream, last_lines};
use crate::wire::apps::LogLine;
use crate::wire::request::Targets;
use crate::wire::rpc::RpcError;

/// What one answer tells at most, in bytes of text.
const MOST: usize = 8 << 20;

impl LogPipe {
    /// What becomes of it; None: nothing.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }
}

impl Master {
    /// The streams of a target; all of them without one. An error if there are none of that name.
    pub(in super::super) fn log_streams_of(&mut self, followed: &Followed) -> Result<Vec<Token>, RpcError> {
        let tokens: Vec<Token> = self.logs.pipes.values().copied().collect();
        let any_kind = Followed { targets: followed.targets.clone(), kind: None };
        let mut known = self.knows(followed.targets.as_ref());
        let mut found = Vec::new();
        for token in tokens {
            let Some(stream) = self.sources.log(token).and_then(|pipe| pipe.stream()) else { continue };
            known |= any_kind.has(stream);
            if followed.has(stream) {
                found.push(token);
            }
        }
        match &followed.targets {
            Some(targets) if !known => Err(RpcError::pool_not_found(format!(
                "there is no app or pool {targets}; `preforkd list` shows what there is"
            ))),
            _ => Ok(found),
        }
    }

    /// Whether there is something of that name, though it may have no output of its own.
    fn knows(&self, targets: Option<&Targets>) -> bool {
        let Some(targets) = targets else { return true };
        let apps = self.apps.workers.iter().any(|(id, worker)| {
            let namespace = self.apps.entries.get(&*worker.app).map(|entry| &*entry.app.namespace);
            targets.matches(&worker.app, namespace, Some(*id))
        });
        apps || self.pool_names.keys().any(|name| targets.matches(name, None, None))
    }

    /// Streams give lines to those who follow them, and nobody else pays for it.
    pub(in super::super) fn watch_streams(&mut self) {
        let tokens: Vec<Token> = self.logs.pipes.values().copied().collect();
        tokens.into_iter().for_each(|token| self.watch_stream(token));
    }

    /// The same for one of them.
    pub(super) fn watch_stream(&mut self, token: Token) {
        let Some(pipe) = self.sources.log(token) else { return };
        if let Some(stream) = &mut pipe.stream {
            let wanted = pipe.awaited.is_some() || self.subscriptions.follow(stream);
            stream.watch(wanted);
        }
    }

    /// The last lines of these streams.
    pub(in super::super) fn last_lines(&mut self, tokens: &[Token], count: usize) -> io::Result<Vec<LogLine<'static>>> {
        let (mut seen, mut all, mut room) = (HashSet::new(), Vec::new(), MOST);
        for &token in tokens {
            let Some(stream) = self.sources.log(token).and_then(|pipe| pipe.stream()) else { continue };
            let lines: Vec<String> = match stream.files().first() {
                Some(file) => {
                    let file = file.borrow();
                    if !seen.insert(file.path().to_owned()) {
                        continue;
                    }
                    let lines = last_lines(file.path(), file.config().identity.as_deref(), count)?;
                    lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
                }
                None => stream.recent(),
            };
            let mut from = lines.len();
            while from > lines.len().saturating_sub(count) && lines[from - 1].len() <= room {
                from -= 1;
                room -= lines[from].len();
            }
            let (name, kind) = (stream.name.to_string(), stream.kind.as_str());
            all.extend(lines.into_iter().skip(from).map(|text| LogLine {
                name: name.clone().into(),
                worker: stream.worker,
                stream: kind.into(),
                at: None,
                text: text.into(),
            }));
        }
        Ok(all)
    }

    /// Empties the files of these streams. Returns how many there are.
    pub(in super::super) fn flush_logs(&mut self, tokens: Vec<Token>) -> io::Result<usize> {
        let files = self.stream_files(tokens);
        for file in &files {
            let mut file = file.borrow_mut();
            file.flush().map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.path().display())))?;
        }
        Ok(files.len())
    }

    /// Bytes of that stream's output that could not be written.
    pub(in super::super) fn log_lost_of(&self, key: &StreamKey) -> u64 {
        self.stream_of(key).map_or(0, Stream::lost)
    }

    /// The last lines of a stream that keeps them in memory.
    pub(in super::super) fn recent_lines(&self, key: &StreamKey) -> Vec<String> {
        self.stream_of(key).map(Stream::recent).unwrap_or_default()
    }

    fn stream_of(&self, key: &StreamKey) -> Option<&Stream> {
        let token = *self.logs.pipes.get(key)?;
        match self.sources.peek(token)? {
            Source::Log(pipe) => pipe.stream(),
            _ => None,
        }
    }
}
