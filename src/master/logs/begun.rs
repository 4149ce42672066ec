//! Output that a killed master had read and not written, or not all of it: the next one goes on where it was.
//!
//! What is read lies in the keeper's memory until it is in the files ([`crate::sys::stage`]). The beginning of a line that waits
//! for its end is noted in the journal, with the number of the step that it came with: a step that is noted is over.

use std::collections::HashMap;

use mio::Token;
use serde::{Deserialize, Serialize};

use super::super::Master;
use super::super::sources::Source;
use super::super::starting::JOURNAL_WAITING;
use super::StreamKey;
use crate::journal::{Record, RecordRef};
use crate::logs::{Begun, Stream};
use crate::sys::clock::wall_ns;
use crate::sys::fault;
use crate::sys::stage::{Kind, Left};

/// A line that has begun, as the journal has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LineNote {
    /// Of the step.
    number: u64,
    begun: Begun,
}

/// What is to be finished.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// By their pipes' names in the keeper's store.
    lines: HashMap<String, LineNote>,
    left: Option<Left>,
}

/// Whether a note of the journal's is about a stream, and no worker's.
pub fn is_line(id: &str) -> bool {
    StreamKey::stored(id).is_some()
}

impl Master {
    /// The journal knows from now on which line has begun there, or that none has.
    pub(super) fn note_line(&mut self, token: Token, number: u64) {
        let Some(pipe) = self.sources.log(token) else { return };
        let begun = pipe.stream.as_ref().and_then(Stream::begun);
        let name = pipe.key.store_name();
        match begun.map(|begun| serde_json::value::to_raw_value(&LineNote { number, begun })) {
            // What a full disk holds up must not fill the memory: then a killed master costs the beginning of a line.
            Some(Ok(_)) if self.journal_failed && self.journal.buffered() > JOURNAL_WAITING => return,
            Some(Ok(state)) => {
                pipe.noted = true;
                self.journal.append(RecordRef::Note { id: &name, state: &state });
            }
            _ if pipe.noted => {
                pipe.noted = false;
                self.journal.append(RecordRef::Freed { id: &name });
            }
            _ => return,
        }
        self.flush_journal();
        fault::point("output-noted");
    }

    /// All lines that have begun, for a journal that is written anew.
    pub(in super::super) fn line_notes(&self) -> Vec<Record> {
        let number = self.logs.stage.as_ref().map_or(0, |stage| stage.number());
        let mut notes = Vec::new();
        for token in self.logs.pipes.values() {
            let Some(Source::Log(pipe)) = self.sources.peek(*token) else { continue };
            let Some((key, begun)) = pipe.key_and_stream().and_then(|(key, stream)| Some((key, stream.begun()?)))
            else {
                continue;
            };
            if let Ok(state) = serde_json::value::to_raw_value(&LineNote { number, begun }) {
                notes.push(Record::Note { id: key.store_name(), state });
            }
        }
        notes
    }

    /// What has begun there is written as it is. `end`: what comes next begins a new line.
    pub(super) fn flush_stream(&mut self, token: Token, end: bool) {
        let Some(pipe) = self.sources.log(token) else { return };
        let Some(stream) = &mut pipe.stream else { return };
        let Some(mut stage) = self.logs.stage.take() else { return };
        let wall = wall_ns();
        stage.begin_without(if end { Kind::End } else { Kind::Flush }, &pipe.key.store_name(), wall);
        if end {
            stream.end(wall, &mut self.logs.scratch);
        } else {
            stream.flush(wall, &mut self.logs.scratch);
        }
        stage.marks().written();
        self.note_line(token, stage.number());
        stage.done();
        self.logs.stage = Some(stage);
    }

    /// What a former master has left, with the journal's `notes`. `handed`: it has handed over its streams itself.
    pub(in super::super) fn unfinished_output(&mut self, notes: HashMap<String, LineNote>, handed: bool) {
        let left = self.logs.stage.as_ref().and_then(|stage| stage.left()).filter(|_| !handed);
        self.logs.unfinished = Some(Box::new(Unfinished { lines: notes, left }));
    }

    /// If the former master was killed when it had read what a run says: that.
    pub(in super::super) fn left_of_run(&mut self) -> Option<Left> {
        self.logs.unfinished.as_mut()?.left.take_if(|left| StreamKey::stored(&left.name).is_none())
    }

    /// Before anything is read of that stream: what had been read before it, of any, is written.
    pub(super) fn finish_before(&mut self, token: Token) {
        let Some(unfinished) = &self.logs.unfinished else { return };
        let left = unfinished.left.as_ref().and_then(|left| StreamKey::stored(&left.name));
        if let Some(&first) = left.and_then(|key| self.logs.pipes.get(&key)) {
            self.finish(first);
        }
        self.finish(token);
    }

    fn finish(&mut self, token: Token) {
        let (Some(unfinished), Some(pipe)) = (&mut self.logs.unfinished, self.sources.log(token)) else { return };
        let name = pipe.key.store_name();
        let note = unfinished.lines.remove(&name);
        let left = unfinished.left.take_if(|left| left.name == name);
        pipe.noted |= note.is_some();
        let Some(stream) = &mut pipe.stream else { return self.note_line(token, 0) };
        let noted = note.as_ref().map(|note| note.number);
        if let Some(note) = note {
            stream.go_on(note.begun);
        }
        if let Some(left) = left.filter(|left| noted != Some(left.number)) {
            stream.skip(&left.write, left.written);
            match left.kind {
                Kind::Push => self.take_output(token, &left.bytes, left.wall, left.number),
                Kind::Flush => {
                    stream.flush(left.wall, &mut self.logs.scratch);
                    self.note_line(token, left.number);
                }
                Kind::End => {
                    stream.end(left.wall, &mut self.logs.scratch);
                    self.note_line(token, left.number);
                }
            }
        }
        if self.sources.log(token).and_then(|pipe| pipe.stream.as_ref()).is_some_and(Stream::holds) {
            self.list_open_line(token);
        }
    }

    /// All streams are there again: what is nobody's now is forgotten. `handed` as above.
    pub(in super::super) fn finish_output(&mut self, handed: bool) {
        let tokens: Vec<Token> = self.logs.pipes.values().copied().collect();
        for token in tokens {
            if handed {
                // It has come with everything else, and is noted under this master's numbers.
                self.note_line(token, 0);
            } else {
                self.finish(token);
            }
        }
        let Some(unfinished) = self.logs.unfinished.take() else { return };
        for name in unfinished.lines.keys() {
            let there = StreamKey::stored(name).and_then(|key| self.logs.pipes.get(&key).copied());
            let noted = there.and_then(|token| self.sources.log(token)).is_some_and(|pipe| pipe.noted);
            if !noted {
                self.journal.append(RecordRef::Freed { id: name });
            }
        }
        if let Some(stage) = &mut self.logs.stage {
            stage.done();
        }
        self.tell_notices();
    }
}
