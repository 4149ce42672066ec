//! The daemon's own log: on stderr, where whoever started it looks.

use std::io::{BufWriter, IsTerminal, LineWriter, Stderr, stderr};

use slog::{Drain, Level, Logger, Never, o};
use slog_async::{Async, AsyncGuard};
use slog_term::{Decorator, FullFormat, PlainDecorator, TermDecorator};

use crate::settings::{LogFormat, LogLevel, ServeOptions};

/// Records that wait for being written, at most. They take about 100 bytes each, whether there are any or not.
const RECORDS: usize = 1024;

/// A logger, and the guard that writes out what is left when it is dropped. Records that cannot be written in time are
/// dropped and counted by the logger, never waited for.
pub fn start(options: &ServeOptions) -> (Logger, AsyncGuard) {
    let level = match options.log_level {
        LogLevel::Error => Level::Error,
        LogLevel::Warning => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    };
    let (drain, guard) = match options.log_format {
        LogFormat::Text => {
            // Colours are for people.
            if stderr().is_terminal() {
                text(TermDecorator::new().stderr().build(), level)
            } else {
                // The form writes its newline apart, which would be a second write(2) of a LineWriter, and then flushes.
                text(PlainDecorator::new(BufWriter::with_capacity(1024, stderr())), level)
            }
        }
        LogFormat::Json => apart(slog_json::Json::default(lines()).ignore_res(), level),
    };
    (Logger::root(drain.filter_level(level).ignore_res(), o!()), guard)
}

fn text(decorator: impl Decorator + Send + 'static, level: Level) -> (Async, AsyncGuard) {
    apart(FullFormat::new(decorator).use_utc_timestamp().build().ignore_res(), level)
}

/// On a thread of its own.
fn apart(drain: impl Drain<Ok = (), Err = Never> + Send + 'static, level: Level) -> (Async, AsyncGuard) {
    Async::new(drain.filter_level(level).ignore_res()).chan_size(RECORDS).build_with_guard()
}

/// A record is one write(2), not one for each of its words.
fn lines() -> LineWriter<Stderr> {
    LineWriter::new(stderr())
}
