//! FAULTS: what goes wrong around a daemon, with real processes. The number is the fault's in the list of faults it survives;
//! 7 is in `results`, 21 in `kill`, 23 in `output`, 26 in `php` and `python`.

mod clients;
mod clock;
mod descriptors;
mod directory;
mod disks;
mod ending;
mod exits;
mod hostile;
mod keepers;
mod kept;
mod limits;
pub mod masters;
mod pids;
mod replacing;
mod resting;
// Of a release there are no steps.
#[cfg(debug_assertions)]
mod received;
#[cfg(debug_assertions)]
mod renewal;
#[cfg(debug_assertions)]
mod steps;
mod trees;
mod upgrades;
mod watchdog;
mod zygotes;
