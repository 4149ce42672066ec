//! One pipe's worth of output: from what is read to what is written.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::date::Date;
use super::file::{FileConfig, LogFile, Part};
use super::files::Files;
use super::json::Object;
use super::lines::{End, Lines};
use super::recent::Recent;
use crate::processfile::Format;
use crate::sys::clock::wall_ns;
use crate::sys::stage::Write;
use crate::wire::status::Timestamp;

/// Which of the two streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Kind {
    /// The word of the protocol and of JSON logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Out => "out",
            Kind::Err => "err",
        }
    }
}

/// What is to become of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Of the app or pool.
    pub name: Rc<str>,
    /// The app's; None for a pool.
    pub namespace: Option<Rc<str>>,
    /// The worker's id; None for a pool.
    pub worker: Option<u32>,
    /// Which of the two.
    pub kind: Kind,
    /// How lines are written.
    pub format: Format,
    /// A strftime(3) pattern before each line.
    pub date: Option<String>,
    /// Where they go; none: nowhere.
    pub files: Vec<FileConfig>,
    /// Its last lines are kept in memory.
    pub recent: bool,
}

/// What is known of a stream beside its configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The beginning of a line that is not in the files yet.
    pub held: Vec<u8>,
    /// What was written last did not end its line.
    pub mid_line: bool,
    /// Bytes that could not be written.
    pub lost: u64,
    /// The last lines.
    pub recent: Vec<u8>,
    /// The beginning of a line, for those who want lines.
    pub watched: Vec<u8>,
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// Of the app or pool.
    pub name: Rc<str>,
    /// The app's.
    pub namespace: Option<Rc<str>>,
    /// The worker's id.
    pub worker: Option<u32>,
    /// Which of the two.
    pub kind: Kind,
    format: Format,
    date: Option<Box<Date>>,
    files: Box<[Rc<RefCell<LogFile>>]>,
    keeps_recent: bool,
    recent: Option<Box<Recent>>,
    lines: Lines,
    /// The latest that was written did not end its line.
    mid_line: bool,
    watched: Option<Box<Lines>>,
    lost: u64,
    /// What of the next step a former master had written already.
    skip: Option<Box<Part>>,
}

/// What has to be known of a stream should this master be killed: how its output goes on in the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Begun {
    /// The beginning of a line that is not in the files yet.
    #[serde(with = "text_or_bytes")]
    pub held: Vec<u8>,
    /// What was written last did not end its line.
    pub mid_line: bool,
}

impl Stream {
    /// Opens what `config` names.
    pub fn open(config: &StreamConfig, files: &mut Files) -> io::Result<Stream> {
        let mut stream = Stream {
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            worker: config.worker,
            kind: config.kind,
            format: config.format,
            date: None,
            files: Box::default(),
            keeps_recent: config.recent,
            recent: None,
            lines: Lines::default(),
            mid_line: false,
            watched: None,
            lost: 0,
            skip: None,
        };
        stream.configure(config, files)?;
        Ok(stream)
    }

    /// Another form, or other files, from now on. After an error all is as before.
    pub fn configure(&mut self, config: &StreamConfig, files: &mut Files) -> io::Result<()> {
        // In one piece from the beginning: it stays for as long as the process's output.
        let mut opened = Vec::with_capacity(config.files.len());
        for file in &config.files {
            opened.push(files.open(file.clone())?);
        }
        self.flush(wall_ns(), &mut Vec::new());
        self.files = opened.into();
        self.namespace = config.namespace.clone();
        (self.worker, self.format, self.keeps_recent) = (config.worker, config.format, config.recent);
        if self.date.as_deref().map(Date::pattern) != config.date.as_deref() {
            self.date = config.date.as_deref().map(|pattern| Box::new(Date::new(pattern)));
        }
        Ok(())
    }

    /// Takes what was read at `wall` (ns since 1970). `scratch` is empty before and after.
    pub fn push(&mut self, bytes: &[u8], wall: u64, scratch: &mut Vec<u8>) {
        if self.keeps_recent {
            self.recent.get_or_insert_default().push(bytes);
        }
        if self.files.is_empty() || bytes.is_empty() {
            self.skip = None;
            return;
        }
        let continues = self.mid_line;
        if self.is_held() {
            let mut lines = std::mem::take(&mut self.lines);
            lines.push(bytes, |piece, end| self.piece(piece, end, wall, scratch));
            self.lines = lines;
        } else if self.date.is_some() {
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(line) => self.piece(line, End::Newline, wall, scratch),
                    None => self.piece(line, End::Open, wall, scratch),
                }
            }
        } else {
            self.mid_line = bytes.last() != Some(&b'\n');
            return self.write(bytes, continues);
        }
        self.write(scratch, continues);
        scratch.clear();
    }

    /// Writes down a line that has begun and does not end.
    pub fn flush(&mut self, wall: u64, scratch: &mut Vec<u8>) {
        let continues = self.mid_line;
        let mut lines = std::mem::take(&mut self.lines);
        lines.flush(|piece, end| self.piece(piece, end, wall, scratch));
        self.write(scratch, continues);
        scratch.clear();
    }

    /// Whoever wrote there has ended: what comes next begins a new line.
    pub fn end(&mut self, wall: u64, scratch: &mut Vec<u8>) {
        self.flush(wall, scratch);
        self.mid_line = false;
    }

    /// Whether a line has begun that is not in the files yet.
    pub fn holds(&self) -> bool {
        self.lines.is_open()
    }

    /// Somebody wants its lines from now on, or does not any more.
    pub fn watch(&mut self, wanted: bool) {
        match (&self.watched, wanted) {
            (None, true) => self.watched = Some(Box::default()),
            (Some(_), false) => self.watched = None,
            _ => {}
        }
    }

    /// If somebody wants them: gives the lines in what was read. The longest have several pieces.
    pub fn watched(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        if let Some(lines) = &mut self.watched {
            lines.push(bytes, |piece, _| each(piece));
        }
    }

    /// The same, for a line that does not end.
    pub fn watched_end(&mut self, mut each: impl FnMut(&[u8])) {
        if let Some(lines) = &mut self.watched {
            lines.flush(|piece, _| each(piece));
        }
    }

    /// The last lines, if they are kept.
    pub fn recent(&self) -> Vec<String> {
        self.recent.as_ref().map(|recent| recent.lines()).unwrap_or_default()
    }

    /// Bytes of its output that could not be written. With several files, that of the one where it was most.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The files.
    pub fn files(&self) -> &[Rc<RefCell<LogFile>>] {
        &self.files
    }

    /// What the next master has to know of it.
    pub fn carried(&self) -> Carried {
        Carried {
            held: self.lines.held().to_vec(),
            mid_line: self.mid_line,
            lost: self.lost,
            recent: self.recent.as_ref().map(|recent| recent.text()).unwrap_or_default(),
            watched: self.watched.as_ref().map(|lines| lines.held().to_vec()).unwrap_or_default(),
        }
    }

    /// What the next master has to know of it if this one is killed; None: nothing.
    pub fn begun(&self) -> Option<Begun> {
        // Without a date what comes next is appended in any case.
        let mid_line = self.mid_line && self.date.is_some();
        (mid_line || self.holds()).then(|| Begun { held: self.lines.held().to_vec(), mid_line })
    }

    /// Goes on from there.
    pub fn go_on(&mut self, from: Begun) {
        (self.lines, self.mid_line) = (Lines::from_held(from.held), from.mid_line);
    }

    /// The next step is one that a former master had begun, with that as its latest write.
    pub fn skip(&mut self, write: &Write, all: bool) {
        let file = usize::try_from(write.file).unwrap_or(usize::MAX);
        let done = self.files.get(file).map_or(0, |file| file.borrow().has_of(write));
        let offset = usize::try_from(write.offset.saturating_add(done)).unwrap_or(usize::MAX);
        self.skip = Some(Box::new(if all { Part { file: usize::MAX, offset: 0 } } else { Part { file, offset } }));
    }

    /// Goes on from where a former master was.
    pub fn resume(&mut self, from: Carried) {
        self.lines = Lines::from_held(from.held);
        (self.mid_line, self.lost) = (from.mid_line, from.lost);
        if self.keeps_recent && !from.recent.is_empty() {
            self.recent.get_or_insert_default().push(&from.recent);
        }
        if let Some(watched) = &mut self.watched {
            **watched = Lines::from_held(from.watched);
        }
    }

    /// Lines wait for their end where others write to the same file, or the form needs all of them.
    fn is_held(&self) -> bool {
        self.format == Format::Json || self.lines.is_open() || self.files.iter().any(|file| Rc::strong_count(file) > 1)
    }

    fn piece(&mut self, piece: &[u8], end: End, wall: u64, out: &mut Vec<u8>) {
        if self.format == Format::Json {
            let timestamp = match &mut self.date {
                Some(date) => date.at(wall).into(),
                None => Timestamp(wall).to_string().into(),
            };
            let (kind, process_id, partial) = (self.kind.as_str(), self.worker, end == End::Open);
            let message = String::from_utf8_lossy(piece);
            Object { timestamp, kind, app_name: &self.name, process_id, message, partial }.write(out);
            return;
        }
        if let Some(date) = self.date.as_mut().filter(|_| !self.mid_line) {
            out.extend_from_slice(date.at(wall).as_bytes());
            out.extend_from_slice(b": ");
        }
        out.extend_from_slice(piece);
        self.mid_line = end == End::Open;
        if end == End::Newline {
            out.push(b'\n');
        }
    }

    fn write(&mut self, bytes: &[u8], continues: bool) {
        let skip = self.skip.take().map_or(Part::default(), |skip| *skip);
        if bytes.is_empty() {
            return;
        }
        let mut lost = 0;
        for (i, file) in self.files.iter().enumerate().skip(skip.file) {
            let offset = if i == skip.file { skip.offset.min(bytes.len()) } else { 0 };
            let continues = if offset == 0 { continues } else { bytes[offset - 1] != b'\n' };
            lost = lost.max(file.borrow_mut().write(&bytes[offset..], continues, Part { file: i, offset }));
        }
        self.lost += lost;
    }
}

/// Bytes in JSON: as text where they are UTF-8, which is short, else as numbers.
mod text_or_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form<'a> {
        Text(std::borrow::Cow<'a, str>),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        std::str::from_utf8(bytes)
            .map_or_else(|_| Form::Bytes(bytes.to_vec()), |text| Form::Text(text.into()))
            .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Form::deserialize(from)? {
            Form::Text(text) => text.into_owned().into_bytes(),
            Form::Bytes(bytes) => bytes,
        })
    }
}

#[cfg(test)]
mod tests;
