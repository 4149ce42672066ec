//! The keeper's own upgrade: another program takes our place by exec, so that our pid, our children and their zombies stay.
//!
//! ```text
//! master                         keeper                          the new program
//!   │── REPLACE path, stderr ────→│── as a process of its own ──────→│ can it read what we leave?
//!   │                             │←─────────────── its name, exit 0 ╵
//!   │                             ╪ exec, under the same pid
//!   │←─────────── KEEPER ─────────│
//! ```
//!
//! What we leave is a sealed file in memory, as JSON: a key that is not known is skipped, one that is missing has its default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::store::Store;
use super::{Keeper, Master, SIGKILL};
use crate::settings::ServeOptions;
use crate::sys::clock::monotonic_ns;
use crate::sys::eventfd::EventFd;
use crate::sys::pidfd::PidFd;
use crate::sys::reap::{Exit, How};
use crate::sys::spawn::{Program, spawn};
use crate::sys::{exec, fault, memfd, process};
use crate::wire::control::{self, ToMaster};

/// How long the new program may take to say that it can.
const PATIENCE: Duration = Duration::from_secs(5);
/// Raised when an older keeper could not make sense of what is left.
const FORMAT: u32 = 1;
/// What a program says that can take our place; its version follows.
const NAME: &str = "preforkd keeper ";
/// Most of what is read, in bytes.
const MOST: usize = 1 << 20;
/// The errand of a program that is only asked.
const CHECK: &str = "check";

/// What a keeper leaves to the one that takes its place. Descriptors are numbers.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Left {
    format: u32,
    version: String,
    store: BTreeMap<String, i32>,
    master: u32,
    control: Option<i32>,
    started_at: u64,
    fostered: bool,
    binary: Option<String>,
    strangers: bool,
    short_lives: u32,
    reload_due: bool,
}

/// Who is asked whether it could take our place, or is about to.
pub struct Candidate {
    pub pid: u32,
    handle: PidFd,
    binary: OsString,
    check: bool,
    said: File,
    /// Killed at this time, ns monotonic.
    pub by: u64,
}

/// What has been inherited by a program that takes a keeper's place.
pub struct Inherited {
    left: Left,
    store: Store,
    control: Option<OwnedFd>,
}

/// What a former keeper wants of us.
pub enum Errand {
    /// Nothing: there is none.
    None,
    /// To know whether we could take its place; it has been told.
    Answered,
    /// To take its place.
    Take(Box<Inherited>),
}

/// Looks for a former keeper's errand in the environment.
pub fn errand() -> io::Result<Errand> {
    let Some(errand) = std::env::var_os(control::KEEPER_ENV) else { return Ok(Errand::None) };
    let check = errand == CHECK;
    let number = if check { Some(control::MASTER_FD) } else { errand.to_str().and_then(|text| text.parse().ok()) };
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is {errand:?}", control::KEEPER_ENV));
    let left = memfd::read_whole(process::inherited(number.ok_or_else(foreign)?)?, MOST)?;
    let left: Left = serde_json::from_slice(&left)?;
    if left.format > FORMAT {
        let why =
            format!("what preforkd {} leaves is of format {}, this one reads {FORMAT}", left.version, left.format);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    if check {
        println!("{NAME}{}", env!("CARGO_PKG_VERSION"));
        return Ok(Errand::Answered);
    }
    let mut store = Store::default();
    for (name, fd) in &left.store {
        store.put(name.clone(), process::inherited(*fd)?);
    }
    let control = left.control.map(process::inherited).transpose()?;
    Ok(Errand::Take(Box::new(Inherited { left, store, control })))
}

impl<'a> Keeper<'a> {
    /// Goes on where the former keeper was.
    pub(super) fn go_on(options: &'a ServeOptions, inherited: Inherited) -> Result<Self, super::KeeperError> {
        fault::point("keeper-begun");
        let Inherited { left, store, control } = inherited;
        let system = |source| super::KeeperError::System { doing: "taking the former keeper's place".into(), source };
        let wake = store.get("wake").ok_or_else(|| system(io::ErrorKind::NotFound.into()))?;
        let wake = EventFd::from(wake.try_clone_to_owned().map_err(system)?);
        let mut keeper = Keeper::new(options, false, wake, store)?;
        let handle = PidFd::open(left.master).map_err(system)?;
        let Left { master: pid, started_at, fostered, .. } = left;
        keeper.master = Some(Master { pid, handle, control, started_at, quit: None, fostered });
        keeper.binary = left.binary.map(OsString::from);
        (keeper.strangers, keeper.short_lives, keeper.served) = (left.strangers, left.short_lives, true);
        keeper.reload_due = left.reload_due;
        // Whoever has died meanwhile.
        keeper.reaper.sweep_at = Some(0);
        keeper.tell(&ToMaster::Keeper(format!("{} {}", left.version, env!("CARGO_PKG_VERSION"))));
        Ok(keeper)
    }

    /// The master wants this program in our place, or to know whether it could be.
    pub(super) fn ask(&mut self, binary: OsString, check: bool, fds: &[OwnedFd]) {
        let asked = self.start_candidate(binary, check, fds);
        if let Err(why) = asked {
            self.tell(&ToMaster::NoSuccessor(why));
        }
    }

    fn start_candidate(&mut self, binary: OsString, check: bool, fds: &[OwnedFd]) -> Result<(), String> {
        let [stderr] = fds else { return Err("its stderr did not come along".to_owned()) };
        if self.candidate.is_some() || self.successor.is_some() {
            return Err("another upgrade is under way".to_owned());
        }
        let left = self.leave().map_err(|e| format!("leaving it what we have: {e}"))?;
        let said = memfd::growing("preforkd-answer").map_err(|e| format!("asking it: {e}"))?;
        let mut argv: Vec<OsString> = std::env::args_os().collect();
        argv.splice(..1, [binary.clone()]);
        let env = environment(CHECK);
        let fds = vec![(left.as_fd(), control::MASTER_FD), (said.as_fd(), 1), (stderr.as_fd(), 2)];
        let (pid, handle) = spawn(&Program { argv, env, fds, ..Program::default() }).map_err(|e| e.to_string())?;
        let by = monotonic_ns() + PATIENCE.as_nanos() as u64;
        self.candidate = Some(Candidate { pid, handle, binary, check, said, by });
        Ok(())
    }

    /// Who was asked has ended. Returns only if it does not take our place.
    pub(super) fn candidate_done(&mut self, exit: &Exit) -> bool {
        let Some(candidate) = self.candidate.take_if(|candidate| candidate.pid == exit.pid) else { return false };
        let said = File::try_clone(&candidate.said).and_then(|file| memfd::read_whole(file.into(), MOST));
        let said = said.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default();
        let outcome = match (exit.how, said.strip_prefix(NAME)) {
            (How::Exited(0), Some(version)) if candidate.check => Ok(version.to_owned()),
            (How::Exited(0), Some(_)) => Err(self.replace(candidate.binary)),
            (How::Exited(0), None) => Err("it does not know how to be a keeper".to_owned()),
            (how, _) => Err(format!("it has ended ({how}) instead of saying that it can be the keeper")),
        };
        self.tell(&match outcome {
            Ok(version) => ToMaster::Keeper(format!("{} {version}", env!("CARGO_PKG_VERSION"))),
            Err(why) => ToMaster::NoSuccessor(why),
        });
        true
    }

    /// Who was asked and does not answer.
    pub(super) fn end_late_candidate(&mut self, now: u64) {
        if let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.by <= now) {
            candidate.by = now + PATIENCE.as_nanos() as u64;
            let _ = candidate.handle.send(SIGKILL); // dead already is as good
        }
    }

    /// Returns only why not.
    fn replace(&mut self, binary: OsString) -> String {
        if self.stop_by.is_some() {
            return "the daemon is shutting down".to_owned();
        }
        if self.successor.is_some() || self.leaving.is_some() || self.master.is_none() {
            return "masters are being replaced just now; try again".to_owned();
        }
        // Masters are of the new program, too, if they were of that one.
        let binary_of_masters = self.binary.take_if(|masters| *masters == binary);
        let left = match self.leave() {
            Ok(left) => left,
            Err(e) => return format!("leaving it what we have: {e}"),
        };
        let mut argv: Vec<OsString> = std::env::args_os().collect();
        argv.splice(..1, [binary.clone()]);
        let env = environment(&left.as_raw_fd().to_string());
        let pairs = env.into_iter().map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            key
        });
        let control = self.master.as_ref().and_then(|master| master.control.as_ref()).map(AsFd::as_fd);
        let keep: Vec<BorrowedFd<'_>> =
            self.store.all().map(|(_, fd)| fd).chain(control).chain([left.as_fd()]).collect();
        fault::point("keeper-leaving");
        let why = exec::exec(binary, argv, pairs.collect(), &keep);
        self.binary = self.binary.take().or(binary_of_masters);
        format!("it cannot be executed: {why}")
    }

    fn leave(&self) -> io::Result<OwnedFd> {
        let master = self.master.as_ref();
        let binary = self.binary.as_ref().and_then(|binary| binary.to_str());
        let left = Left {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.store.all().map(|(name, fd)| (name.to_owned(), fd.as_raw_fd())).collect(),
            master: master.map_or(0, |master| master.pid),
            control: master.and_then(|master| master.control.as_ref()).map(AsRawFd::as_raw_fd),
            started_at: master.map_or(0, |master| master.started_at),
            fostered: master.is_some_and(|master| master.fostered),
            binary: binary.map(str::to_owned),
            strangers: self.strangers,
            short_lives: self.short_lives,
            reload_due: self.reload_due,
        };
        memfd::sealed("preforkd-keeper", &serde_json::to_vec(&left)?)
    }
}

/// Ours, with the errand.
fn environment(errand: &str) -> Vec<(OsString, OsString)> {
    let others = std::env::vars_os().filter(|(key, _)| key != control::KEEPER_ENV);
    others.chain([(control::KEEPER_ENV.into(), errand.into())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_by_other_versions_is_read() {
        let left: Left =
            serde_json::from_str(r#"{"version": "9.9.9", "master": 7, "of_the_future": [1], "store": {"wake": 5}}"#)
                .unwrap();
        assert_eq!((left.master, left.store["wake"], left.strangers, left.control), (7, 5, false, None));
    }
    fn of_0_1_0() -> Left {
        Left {
            format: 1,
            version: "0.1.0".into(),
            store: BTreeMap::from([("wake".into(), 5), ("tcp/0".into(), 6)]),
            master: 7,
            control: Some(8),
            started_at: 9,
            fostered: true,
            binary: Some("/usr/bin/preforkd".into()),
            strangers: true,
            short_lives: 2,
            reload_due: true,
        }
    }

    fn released(version: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released").join(version).join("keeper.json")
    }

    #[test]
    fn what_a_keeper_of_0_1_0_leaves_is_read_for_ever() {
        let left: Left = serde_json::from_slice(&std::fs::read(released("0.1.0")).unwrap()).unwrap();
        assert_eq!(left, of_0_1_0());
    }

    #[test]
    #[ignore = "writes what a keeper of this version leaves; once a release"]
    fn write_the_legacy_of_a_keeper_of_this_version() {
        std::fs::write(released(env!("CARGO_PKG_VERSION")), serde_json::to_vec(&of_0_1_0()).unwrap()).unwrap();
    }

    #[test]
    fn what_is_left_and_mutated_is_read_or_refused() {
        crate::mutation::walk(2000, &[serde_json::to_vec(&of_0_1_0()).unwrap()], |_, bytes| {
            if let Ok(left) = serde_json::from_slice::<Left>(bytes) {
                assert_eq!(serde_json::from_slice::<Left>(&serde_json::to_vec(&left).unwrap()).unwrap(), left);
            }
        });
    }
}
