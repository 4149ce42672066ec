//! What a journal remembers, and its bytes.
//!
//! A record is a byte that says its kind, then its fields in order: numbers little-endian, text as
//! its length (8 bytes) and UTF-8, an optional field behind a byte 0 or 1. JSON stays as it is.

use serde_json::value::RawValue;

use crate::wire::status::RunError;

/// One thing that happened to a run.
#[derive(Debug, Clone)]
pub enum Record {
    /// A request was accepted.
    Queued {
        /// Index in the shared table.
        slot: u32,
        /// The run's id.
        id: String,
        /// The pool's name.
        pool: String,
        /// The request as the master wants it back.
        request: Box<RawValue>,
        /// Wall clock, nanoseconds since 1970.
        queued_at_ns: u64,
    },
    /// A run is over. Its exit status and times are in the shared table.
    Ended {
        /// Index in the shared table.
        slot: u32,
        /// The run's id.
        id: String,
        /// What the entry returned.
        result: Option<Box<RawValue>>,
        /// An uncaught error, or why it did not run.
        error: Option<RunError<'static>>,
        /// Captured output.
        stdout: Option<String>,
        /// Captured output.
        stderr: Option<String>,
        /// Whether it was stopped at its deadline.
        timed_out: bool,
    },
    /// A run, or a note, is forgotten.
    Freed {
        /// The run's id.
        id: String,
    },
    /// What a worker has come to, or how far a stream of output has; the latest is all that counts.
    Note {
        /// Its name here.
        id: String,
        /// As the master wants it back.
        state: Box<RawValue>,
    },
}

/// The same, borrowed: what is appended need not be copied first.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "as in Record")]
pub enum RecordRef<'a> {
    Queued {
        slot: u32,
        id: &'a str,
        pool: &'a str,
        request: &'a RawValue,
        queued_at_ns: u64,
    },
    Ended {
        slot: u32,
        id: &'a str,
        result: Option<&'a RawValue>,
        error: Option<&'a RunError<'a>>,
        stdout: Option<&'a str>,
        stderr: Option<&'a str>,
        timed_out: bool,
    },
    Freed {
        id: &'a str,
    },
    Note {
        id: &'a str,
        state: &'a RawValue,
    },
}

impl<'a> From<&'a Record> for RecordRef<'a> {
    fn from(record: &'a Record) -> RecordRef<'a> {
        match record {
            Record::Queued { slot, id, pool, request, queued_at_ns } => {
                RecordRef::Queued { slot: *slot, id, pool, request, queued_at_ns: *queued_at_ns }
            }
            Record::Ended { slot, id, result, error, stdout, stderr, timed_out } => RecordRef::Ended {
                slot: *slot,
                id,
                result: result.as_deref(),
                error: error.as_ref(),
                stdout: stdout.as_deref(),
                stderr: stderr.as_deref(),
                timed_out: *timed_out,
            },
            Record::Freed { id } => RecordRef::Freed { id },
            Record::Note { id, state } => RecordRef::Note { id, state },
        }
    }
}

/// Equal if they have the same bytes.
impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        let bytes = |record: &Record| {
            let mut bytes = Vec::new();
            RecordRef::from(record).encode(&mut bytes);
            bytes
        };
        bytes(self) == bytes(other)
    }
}

const QUEUED: u8 = 1;
const ENDED: u8 = 2;
const FREED: u8 = 3;
const NOTE: u8 = 4;

impl RecordRef<'_> {
    /// The run that the record is about.
    pub fn id(&self) -> &str {
        match self {
            RecordRef::Queued { id, .. }
            | RecordRef::Ended { id, .. }
            | RecordRef::Freed { id }
            | RecordRef::Note { id, .. } => id,
        }
    }

    /// Appends the record's bytes.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            RecordRef::Queued { slot, id, pool, request, queued_at_ns } => {
                to.push(QUEUED);
                to.extend(slot.to_le_bytes());
                text(to, id);
                text(to, pool);
                text(to, request.get());
                to.extend(queued_at_ns.to_le_bytes());
            }
            RecordRef::Ended { slot, id, result, error, stdout, stderr, timed_out } => {
                to.push(ENDED);
                to.extend(slot.to_le_bytes());
                text(to, id);
                optional(to, result.map(RawValue::get));
                to.push(error.is_some().into());
                if let Some(error) = error {
                    text(to, &error.class);
                    text(to, &error.message);
                    optional(to, error.trace.as_deref());
                }
                optional(to, stdout);
                optional(to, stderr);
                to.push(timed_out.into());
            }
            RecordRef::Freed { id } => {
                to.push(FREED);
                text(to, id);
            }
            RecordRef::Note { id, state } => {
                to.push(NOTE);
                text(to, id);
                text(to, state.get());
            }
        }
    }
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend(text.as_bytes());
}

fn optional(to: &mut Vec<u8>, value: Option<&str>) {
    to.push(value.is_some().into());
    if let Some(value) = value {
        text(to, value);
    }
}

impl Record {
    /// The record of exactly these bytes, None where they are not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
        let mut from = Fields(bytes);
        let record = match from.byte()? {
            QUEUED => Record::Queued {
                slot: from.u32()?,
                id: from.text()?,
                pool: from.text()?,
                request: json(from.text()?)?,
                queued_at_ns: from.u64()?,
            },
            ENDED => Record::Ended {
                slot: from.u32()?,
                id: from.text()?,
                result: match from.optional()? {
                    Some(text) => Some(json(text)?),
                    None => None,
                },
                error: match from.flag()? {
                    false => None,
                    true => Some(RunError {
                        class: from.text()?.into(),
                        message: from.text()?.into(),
                        trace: from.optional()?.map(Into::into),
                    }),
                },
                stdout: from.optional()?,
                stderr: from.optional()?,
                timed_out: from.flag()?,
            },
            FREED => Record::Freed { id: from.text()? },
            NOTE => Record::Note { id: from.text()?, state: json(from.text()?)? },
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }
}

fn json(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

/// What is left of a record's bytes; None past their end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u64()?).ok()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn optional(&mut self) -> Option<Option<String>> {
        match self.flag()? {
            false => Some(None),
            true => self.text().map(Some),
        }
    }
}
