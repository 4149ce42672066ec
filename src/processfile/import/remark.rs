//! What an import has to say beside its result: what had no equivalent, and what differs.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

use super::super::tree::Shown;

/// A line of a file.
#[derive(Clone)]
pub(super) struct Origin {
    pub file: Rc<Path>,
    /// From 1; 0 is the file as a whole.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown(&self.file.to_string_lossy()))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// One thing to say, of one place.
pub(super) struct Remark {
    pub origin: Origin,
    /// The section or app that it is about, and the key; may be empty.
    pub about: String,
    pub message: String,
}

/// Everything there is to say, in the order in which it was found.
#[derive(Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    pub fn add(&mut self, origin: Origin, about: impl Into<String>, message: impl Into<String>) {
        self.0.push(Remark { origin, about: about.into(), message: message.into() });
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What was said since there were so many, as comments beside the app.
    pub fn since(&self, count: usize) -> impl Iterator<Item = String> {
        self.0[count..].iter().map(|remark| {
            // The section is beside it already.
            let key = remark.about.rsplit("] ").next().unwrap_or_default();
            let key = if key.starts_with('[') { "" } else { key };
            if key.is_empty() { remark.message.clone() } else { format!("{key}: {}", remark.message) }
        })
    }

    /// `FILE:LINE: [SECTION] KEY: MESSAGE`
    pub fn lines(&self) -> Vec<String> {
        let line = |remark: &Remark| {
            let Remark { origin, about, message } = remark;
            if about.is_empty() { format!("{origin}: {message}") } else { format!("{origin}: {about}: {message}") }
        };
        self.0.iter().map(line).collect()
    }
}
