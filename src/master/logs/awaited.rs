//! Lines that somebody waits for: a worker that is ready when it has said so.

use regex::Regex;

use super::super::Master;
use super::StreamKey;

impl Master {
    /// From now on the first line of that stream that `pattern` is found in puts its key into [`Self::matched_streams`]; None:
    /// nobody waits any more.
    pub(in super::super) fn await_line(&mut self, key: &StreamKey, pattern: Option<Regex>) {
        let Some(&token) = self.logs.pipes.get(key) else { return };
        if let Some(pipe) = self.sources.log(token) {
            pipe.awaited = pattern.map(Box::new);
        }
        self.watch_stream(token);
    }

    /// The streams in which such a line has come since the last time.
    pub(in super::super) fn matched_streams(&mut self) -> Vec<StreamKey> {
        std::mem::take(&mut self.logs.matched)
    }
}
