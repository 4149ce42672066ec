//! What was asked of each run and what may have come of it: the model that the daemon is held to.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::job::{Plan, Then};

const SIGTERM: i64 = 15;
const SIGKILL: i64 = 9;
/// Until what was in memory only is on a disk that has room again: a master may be stopped meanwhile, for 1.5 s at most, and a busy
/// machine gives it its turn late.
const WRITTEN: Duration = Duration::from_secs(3);

/// Something that was done to the daemon, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    KeeperKilled,
    MasterKilled,
    ZygoteKilled,
    ZygoteStopped,
    ChildKilled,
    DiskFull,
    DiskFree,
    Reread,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Record {
    pub plan: Plan,
    pub asked_at: Instant,
    /// When it was known to run, or to have ended.
    pub known_at: Option<Instant>,
    /// Signals that a client has asked for.
    pub kills: Vec<i64>,
    /// The first final status that anybody was told, and when.
    pub last: Option<Value>,
    pub told_at: Option<Instant>,
    /// The daemon has refused it, every time.
    pub refused: bool,
    pub freed: bool,
    /// At a calm point.
    pub seen: bool,
    /// It was queued, and is not there any more: see [`Ledger::memory_lost`].
    pub vanished: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub runs: BTreeMap<String, Record>,
    pub incidents: Vec<(Instant, Incident)>,
    /// Children that were killed from outside.
    pub killed: HashSet<u64>,
}

/// A status without what is in no shared memory.
fn without_memory(status: &Value) -> Value {
    let mut status = status.clone();
    for key in ["result", "error", "stdout", "stderr"] {
        status[key] = Value::Null;
    }
    status
}

impl Ledger {
    pub fn asked(&mut self, id: &str, plan: &Plan) {
        let record = Record {
            plan: plan.clone(),
            asked_at: Instant::now(),
            known_at: None,
            kills: Vec::new(),
            last: None,
            told_at: None,
            refused: false,
            freed: false,
            seen: false,
            vanished: false,
        };
        self.runs.insert(id.to_owned(), record);
    }

    pub fn happened(&mut self, what: Incident) {
        self.incidents.push((Instant::now(), what));
    }

    /// Whether one of these happened between the two, or a little later.
    fn happened_within(&self, what: &[Incident], from: Instant, to: Instant) -> bool {
        let slack = Duration::from_millis(500);
        self.incidents.iter().any(|(at, it)| *at + slack >= from && *at <= to + slack && what.contains(it))
    }

    /// Whether a master was killed after `from` while the disk was full: what it was told meanwhile it had in memory only, which is
    /// what it says in its log. Results, errors, output and queued requests may be lost, and nothing else.
    pub fn memory_lost(&self, from: Instant) -> bool {
        let mut full: Option<(Instant, Option<Instant>)> = None;
        self.incidents.iter().any(|(at, what)| {
            match what {
                Incident::DiskFull => full = Some((*at, None)),
                Incident::DiskFree => full = full.map(|(since, _)| (since, Some(*at))),
                Incident::MasterKilled => {
                    return *at >= from
                        && full.is_some_and(|(_, until)| until.is_none_or(|until| *at <= until + WRITTEN));
                }
                _ => {}
            }
            false
        })
    }

    /// Whether a change of the list of apps, asked for and answered at these times, may be undone: it was made while the list
    /// could not be written, and the master was killed before it could.
    pub fn change_lost(&self, asked: Instant, answered: Instant) -> bool {
        // It is tried again after a second.
        let slack = Duration::from_secs(1) + WRITTEN;
        let full = self.incidents.iter().enumerate().filter(|(_, (_, what))| *what == Incident::DiskFull);
        full.into_iter().any(|(n, (since, _))| {
            let later = &self.incidents[n..];
            let until = later.iter().find(|(_, what)| *what == Incident::DiskFree).map(|(at, _)| *at + slack);
            let within = |at: Instant| until.is_none_or(|until| at <= until);
            let killed = |at: Instant| at >= *since && at >= asked && within(at);
            answered + slack >= *since
                && within(asked)
                && later.iter().any(|(at, what)| *what == Incident::MasterKilled && killed(*at))
        })
    }

    /// Whether the process file may have been read again since: then there are as many instances of each app as it says.
    pub fn reread_since(&self, at: Instant) -> bool {
        // A master that is killed leaves it to the next.
        let slack = Duration::from_secs(5);
        self.incidents.iter().any(|(when, what)| *what == Incident::Reread && *when + slack >= at)
    }

    /// The daemon does not know this run: whether that may be.
    pub fn absent(&mut self, id: &str) -> Result<(), String> {
        let lost = self.runs.get(id).is_some_and(|r| self.memory_lost(r.asked_at));
        match self.runs.get_mut(id) {
            Some(record) if lost && record.known_at.is_none() => {
                record.vanished = true;
                Ok(())
            }
            record => Err(format!("run {id} is not known any more: {record:?}")),
        }
    }

    /// A status that somebody was told: it has to agree with those before.
    pub fn told(&mut self, status: &Value) -> Result<(), String> {
        let id = status["id"].as_str().ok_or_else(|| format!("a status without an id: {status:.300}"))?;
        let lost = self.runs.get(id).is_some_and(|r| self.memory_lost(r.asked_at));
        let record =
            self.runs.get_mut(id).ok_or_else(|| format!("a status of a run that nobody asked for: {status:.300}"))?;
        let state = status["state"].as_str().unwrap_or_default();
        if !matches!(state, "queued" | "starting") {
            record.known_at.get_or_insert_with(Instant::now);
        }
        let is_final = matches!(state, "exited" | "failed" | "unknown");
        let mut plain = status.clone();
        if let Some(keys) = plain.as_object_mut() {
            keys.remove("duplicate");
        }
        match &record.last {
            None if is_final => {
                record.last = Some(plain);
                record.told_at = Some(Instant::now());
            }
            Some(last) if lost && without_memory(last) == without_memory(&plain) => record.last = Some(plain),
            Some(last) if *last != plain => return Err(format!("run {id}: told {last} at first, and {plain} later")),
            _ => {}
        }
        Ok(())
    }

    /// Whether this final status is true: what it counts as.
    pub fn judge(&self, id: &str, starts: u64) -> Result<&'static str, String> {
        let Some(record) = self.runs.get(id) else { return Err(format!("run {id} started, and nobody asked for it")) };
        let Some(status) = &record.last else {
            return match (record.refused, starts) {
                _ if record.vanished && starts == 0 => {
                    Ok("queued, and lost with a master that was killed while the disk was full")
                }
                (true, 0) => Ok("refused for as long as it was asked for"),
                _ => Err(format!("run {id} has no end, {starts} starts: {record:?}")),
            };
        };
        let wrong = |why: &str| {
            Err(format!(
                "run {id}: {why}; {starts} starts; asked: {:?}, killed by clients: {:?}; told: {status}",
                record.plan, record.kills
            ))
        };
        let until = record.known_at.unwrap_or_else(Instant::now);
        let happened = |what: &[Incident]| self.happened_within(what, record.asked_at, until);
        let class = status["error"]["class"].as_str();
        use Incident::{ChildKilled, MasterKilled, ZygoteKilled, ZygoteStopped};
        match status["state"].as_str() {
            Some("exited") => {}
            Some("failed") => {
                if starts != 0 {
                    return wrong("failed means that it never ran");
                }
                if class == Some("killed") && !record.kills.is_empty() {
                    return Ok("killed before it started");
                }
                if happened(&[MasterKilled, ZygoteKilled, ZygoteStopped, ChildKilled]) {
                    return Ok("failed to start, and said so");
                }
                return wrong("nothing was done that could have kept it from starting");
            }
            Some("unknown") => {
                if starts > 1 || status["error"]["message"].as_str().is_none_or(str::is_empty) {
                    return wrong("unknown needs a reason and at most one start");
                }
                if happened(&[MasterKilled, ZygoteKilled]) {
                    return Ok("unknown, and said why");
                }
                let told = record.told_at.unwrap_or_else(Instant::now);
                if self.happened_within(&[Incident::KeeperKilled], record.asked_at, told) {
                    return Ok("unknown: its keeper had died, and it said so");
                }
                return wrong("neither master nor zygote was killed while it started");
            }
            _ => return wrong("this is no end"),
        }
        let (code, signal) = (status["exit_code"].as_i64(), status["signal"].as_i64());
        if code.is_some() == signal.is_some() {
            return wrong("an exit has either a code or a signal");
        }
        let outside = status["pid"].as_u64().is_some_and(|pid| self.killed.contains(&pid)) && signal == Some(SIGKILL);
        let timed = status["timed_out"] == true;
        let by_client =
            signal.is_some_and(|s| record.kills.contains(&s) || (s == SIGKILL && record.kills.contains(&SIGTERM)));
        let by_time = record.plan.timeout_ms.is_some() && timed && matches!(signal, Some(SIGTERM | SIGKILL));
        if timed && record.plan.timeout_ms.is_none() {
            return wrong("it had no timeout");
        }
        if outside || by_client || by_time {
            if starts > 1 {
                return wrong("started twice");
            }
            return Ok(if by_time { "timed out" } else { "killed while it ran" });
        }
        if starts != 1 {
            return wrong("it has to have started once");
        }
        let as_asked = match record.plan.then {
            Then::Exit(n) => code == Some(n.into()),
            Then::Signal(n) => signal == Some(n.into()),
            Then::Result => code == Some(0) && status["result"]["id"] == id,
            Then::Error => code == Some(255) && status["error"]["message"].as_str().is_some_and(|m| m.contains(id)),
            Then::Hold => false,
        };
        if !as_asked && self.memory_lost(record.asked_at) && matches!(record.plan.then, Then::Result | Then::Error) {
            return Ok("ended, its result lost with a master that was killed while the disk was full");
        }
        let cut = self.happened_within(&[MasterKilled], record.asked_at, record.told_at.unwrap_or_else(Instant::now));
        let silent = status["result"].is_null() && status["error"].is_null();
        let code_as_asked = matches!((record.plan.then, code), (Then::Result, Some(0)) | (Then::Error, Some(255)));
        if !as_asked && cut && silent && code_as_asked {
            // What a child says is read once, and on the disk at the end of the same turn.
            return Ok("ended, its result lost with a master that was killed when it had just read it");
        }
        if !as_asked {
            return wrong("this is not what was asked for");
        }
        // What a master that was killed had read of a run's output is gone with it.
        if record.plan.lines > 0
            && !cut
            && !self.memory_lost(record.asked_at)
            && status["stdout"] != record.plan.output(id).as_str()
        {
            return wrong("its output is not what it printed");
        }
        Ok("ended as asked")
    }
}
