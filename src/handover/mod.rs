//! What one master hands to the next in an upgrade, beside what the keeper, the table and the journal have anyway.
//!
//! ```text
//! old master                    keeper                        new master
//!   │── UPGRADE path, fds ───────→│── starts ───────────────────→│
//!   │←──────────────────────────── PREPARED ─────────────────────│   until here everything is served
//!   │── FROZEN ──────────────────→│── all kept descriptors ─────→│ ┐
//!   │── STATE, descriptors ─────────────────────────────────────→│ │
//!   │←──────────────────────────── TAKEN ────────────────────────│ │ the pause
//!   │── COMMIT ──────────────────→│ (is it alive?)               │ │
//!   │←──────────────────── LEAVE ─│── GO ───────────────────────→│ ┘
//!   ╵                                                            │   answers the one who asked for it
//! ```
//!
//! Up to COMMIT the new one has changed nothing, so that the old one can carry on as if nothing had been asked: whatever
//! goes wrong, or takes too long, ends the new one. After it the keeper starts another one as after any crash.
//!
//! The state is a sealed file in memory: magic, version, length and checksum, then sections, each with a tag, a version and a length.
//! A section that is not known is skipped, and one that is missing is as if there were nothing of its kind: so N reads what N−1
//! and N+1 wrote. A field is never added to a section that has been released, but comes in a section of its own.

mod channel;
mod envelope;
mod state;
#[cfg(test)]
mod tests;

pub use channel::{Channel, Said, TakeError};
pub use envelope::{DecodeError, decode, encode};
pub use state::*;
