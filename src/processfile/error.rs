//! What is wrong with a process file: every fault, with its place, sorted as the file is read.

use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::{Quoted, Shown};

/// Faults kept of one file; those beyond are counted. A file of 4 MiB has room for a million.
const KEPT: usize = 10_000;

/// One fault. Displayed as `FILE:LINE:COLUMN: KEY (pool "NAME"): MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The file as the caller named it.
    pub file: PathBuf,
    /// From 1; 0 where the fault is the file's as a whole.
    pub line: u32,
    /// From 1, in characters; 0 where the fault is the file's as a whole.
    pub column: u32,
    /// Path of the key, such as `pools[0].limits.memory`; empty for a fault of syntax.
    pub key: String,
    /// Name of the pool that the key belongs to, where there is one.
    pub pool: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}", self.key)?;
            if let Some(pool) = &self.pool {
                write!(f, " (pool {})", Quoted(pool))?;
            }
            f.write_str(":")?;
        }
        write!(f, " {}", self.message)
    }
}

/// All faults of a file, at least one, in the order of their places. Displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Where in the tree a check is: a path that lives on the stack and becomes text only in an error.
pub(super) enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
    /// Everything below belongs to the pool of this name.
    Pool(&'a At<'a>, &'a str),
}

impl At<'_> {
    fn pool(&self) -> Option<&str> {
        match self {
            At::Root => None,
            At::Pool(_, name) => Some(name),
            At::Key(parent, _) | At::Item(parent, _) => parent.pool(),
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Pool(parent, _) => parent.fmt(f),
            At::Item(parent, index) => write!(f, "{parent}[{index}]"),
            At::Key(At::Root, key) => Shown(key).fmt(f),
            At::Key(parent, key) => write!(f, "{parent}.{}", Shown(key)),
        }
    }
}

/// Collects the faults of one file.
pub(super) struct Report {
    file: PathBuf,
    errors: Vec<Error>,
    beyond: usize,
}

impl Report {
    pub fn new(file: &Path) -> Report {
        Report { file: file.to_owned(), errors: Vec::new(), beyond: 0 }
    }

    /// Adds a fault at (line, column). The message is only made where it is kept.
    pub fn add(&mut self, (line, column): (u32, u32), at: &At, message: impl FnOnce() -> String) {
        if self.errors.len() == KEPT {
            self.beyond += 1;
            return;
        }
        self.errors.push(Error {
            file: self.file.clone(),
            line,
            column,
            key: at.to_string(),
            pool: at.pool().map(str::to_owned),
            message: message(),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The faults by place; what is said of one place keeps its order.
    pub fn into_errors(mut self) -> Errors {
        self.errors.sort_by_key(|error| (error.line, error.column));
        if self.beyond > 0 {
            let message = format!("{} more errors are not shown", self.beyond);
            self.errors.push(Error { file: self.file, line: 0, column: 0, key: String::new(), pool: None, message });
        }
        Errors(self.errors)
    }
}

/// The one of `known` that `word` was most likely meant to be, or none if nothing is near: at
/// most one slip (a letter too many, missing, wrong, or two swapped) in three letters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and no name of ours is this long.
    if word.len() > 80 {
        return None;
    }
    let word = word.to_lowercase();
    let slips = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
