//! preforkd: a preforking process supervisor for Linux.
//!
//! The binary is the supervisor. The library is for programs that want to be a
//! warm process themselves: see [`zygote`].
//!
//! Imports run one way, and `scripts/check` holds us to it:
//! `cli → {master, keeper} → {pool, workers, logs, handover, journal} → processfile → table → {wire, settings} → sys`;
//! `zygote` uses `wire` and `sys` alone.

pub mod cli;
pub mod handover;
pub mod journal;
pub mod keeper;
pub mod logs;
pub mod master;
pub mod pool;
pub mod processfile;
pub mod settings;
pub mod sys;
pub mod table;
pub mod wire;
pub mod workers;
pub mod zygote;

#[cfg(test)]
mod mutation;
