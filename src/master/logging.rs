//! The daemon's own log: on stderr, where whoever started it looks.

use slog::{Drain, Level, Logger, o};
use slog_async::AsyncGuard;

use crate::settings::{LogFormat, LogLevel, ServeOptions};

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
            let decorator = slog_term::TermDecorator::new().stderr().build();
            let drain = slog_term::FullFormat::new(decorator).use_utc_timestamp().build().ignore_res();
            slog_async::Async::new(drain.filter_level(level).ignore_res()).chan_size(4096).build_with_guard()
        }
        LogFormat::Json => {
            let drain = slog_json::Json::default(std::io::stderr()).ignore_res();
            slog_async::Async::new(drain.filter_level(level).ignore_res()).chan_size(4096).build_with_guard()
        }
    };
    (Logger::root(drain.filter_level(level).ignore_res(), o!()), guard)
}
