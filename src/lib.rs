//! preforkd: a preforking process supervisor for Linux.
//!
//! The binary is the supervisor. The library is for programs that want to be a
//! warm process themselves: see [`zygote`].
//!
//! Modules stand in import order: each may use those above it, never those below
//! (`scripts/check` holds us to it).

pub mod sys;
pub mod settings;
pub mod table;
pub mod wire;
pub mod processfile;
pub mod journal;
pub mod zygote;
pub mod pool;
pub mod keeper;
pub mod master;
pub mod cli;
