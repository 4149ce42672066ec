//! Pipes: made, taken over from a former master, closed.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::warn;

use super::super::Master;
use super::super::keeping::keep;
use super::super::sources::Source;
use super::{LogPipe, StreamKey};
use crate::logs::{Carried, Stream, StreamConfig};
use crate::sys::logfile;
use crate::sys::seqpacket::set_nonblocking;
use crate::wire::control::ToKeeper;

impl Master {
    /// A writing end for a process whose output is that stream. The pipe is made, taken over from a former master, or
    /// the same as before; what `config` says holds from now on. `owner` may open it by the name of a standard stream.
    pub(in super::super) fn open_stream(
        &mut self,
        key: &StreamKey,
        config: &StreamConfig,
        owner: Option<u32>,
    ) -> io::Result<OwnedFd> {
        let there = self.logs.pipes.get(key).copied();
        if let Some(pipe) = there.and_then(|token| self.sources.log(token)) {
            pipe.closing = false;
        }
        if let Some(token) = there {
            // Where another process follows, the one before may have ended when no master served, and not its line.
            if key.instance.is_some() {
                self.read_log(token, true);
            }
            self.flush_stream(token, key.instance.is_some());
        }
        if let Some(pipe) = there.and_then(|token| self.sources.log(token)) {
            match &mut pipe.stream {
                Some(stream) => stream.configure(config, &mut self.logs.files)?,
                None => pipe.stream = Some(Stream::open(config, &mut self.logs.files)?),
            }
            if let Some(uid) = owner {
                logfile::give_to(pipe.reading.as_fd(), uid)?;
            }
            let writing = logfile::writing_end(pipe.reading.as_fd())?;
            there.into_iter().for_each(|token| self.watch_stream(token));
            return Ok(writing);
        }
        let stream = Stream::open(config, &mut self.logs.files)?;
        let reading = match self.logs.former.remove(key) {
            Some(fd) => PipeReader::from(fd),
            None => {
                let (reading, _) = io::pipe()?;
                set_nonblocking(reading.as_fd())?;
                let message = ToKeeper::Store(key.store_name());
                keep(&self.keeper, &message, Some(reading.as_fd()), &self.log);
                reading
            }
        };
        if let Some(uid) = owner {
            logfile::give_to(reading.as_fd(), uid)?;
        }
        let writing = logfile::writing_end(reading.as_fd())?;
        let token = self.watch_pipe(key, reading, Some(stream))?;
        self.watch_stream(token);
        Ok(writing)
    }

    fn watch_pipe(&mut self, key: &StreamKey, reading: PipeReader, stream: Option<Stream>) -> io::Result<Token> {
        let fd = reading.as_raw_fd();
        let closing = stream.is_none();
        let pipe = LogPipe { key: key.clone(), reading, stream, closing, open_line: None, awaited: None, noted: false };
        let token = self.sources.add(Source::Log(Box::new(pipe)));
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            self.sources.remove(token);
            return Err(e);
        }
        self.logs.pipes.insert(key.clone(), token);
        Ok(token)
    }

    /// Nobody is to write there any more; the pipe goes when whoever still does has ended.
    pub(in super::super) fn close_stream(&mut self, key: &StreamKey) {
        let Some(&token) = self.logs.pipes.get(key) else { return };
        if let Some(pipe) = self.sources.log(token) {
            pipe.closing = true;
            self.read_log(token, true);
        }
    }

    /// That stream goes on from where a former master was.
    pub(in super::super) fn resume_stream(&mut self, key: &StreamKey, from: Carried) {
        let Some(&token) = self.logs.pipes.get(key) else { return };
        let Some(stream) = self.sources.log(token).and_then(|pipe| pipe.stream.as_mut()) else { return };
        stream.resume(from);
        if stream.holds() {
            self.list_open_line(token);
        }
    }

    /// A pipe out of the keeper's store.
    pub(in super::super) fn adopt_log(&mut self, name: &str, fd: OwnedFd) {
        match StreamKey::stored(name) {
            Some(key) => drop(self.logs.former.insert(key, fd)),
            None => self.tell_keeper(&ToKeeper::Drop(name.to_owned()), None),
        }
    }

    /// What a former master left and nobody has asked for: read to the end, so that no writer hangs, and dropped.
    pub(in super::super) fn drop_former_logs(&mut self) {
        for (key, fd) in std::mem::take(&mut self.logs.former) {
            if let Err(e) = self.watch_pipe(&key, fd.into(), None) {
                warn!(self.log, "a former pipe cannot be read"; "name" => key.store_name(), "error" => %e);
                self.tell_keeper(&ToKeeper::Drop(key.store_name()), None);
            }
        }
    }
}
