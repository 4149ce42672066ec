//! Output of workers and pools: from pipes to files that rotate, with bounded memory. The master's loop reads the pipes;
//! what takes long (gzip) happens on a thread of its own.
//!
//! A [`Stream`] is one pipe's worth of output: what is read of it goes, as it came or line by line with a date or as
//! JSON, into one or more [`LogFile`]s. [`Files`] has the files that are open; streams that write to the same path
//! share one.
//!
//! Nothing in here waits for anybody: a disk that is full, or a pipe that nobody reads, costs output, which is counted.

mod chain;
mod compress;
mod date;
mod file;
mod files;
mod json;
mod lines;
mod opening;
mod places;
mod recent;
mod stream;
mod tail;

pub use file::{FileConfig, LogFile, Notice};
pub use files::Files;
pub use places::{of_app, of_pool};
pub use stream::{Begun, Carried, Kind, Stream, StreamConfig};
pub use tail::last_lines;

/// The longest piece of a line that is held, and the longest that is told, in bytes. Longer lines come in several.
pub const PIECE: usize = 16 * 1024;
