//! What has to be true when nothing is under way.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::APPS;
use crate::driver::{Kind, everybody};
use crate::link::{Answer, Link};
use crate::operator::Wanted;
use crate::processes;
use crate::world::{World, eventually, names};

/// A worker may have to wait for its turn, a pool for its pause.
const PATIENCE: Duration = Duration::from_secs(40);
/// By how much memory may have grown since any calm point, in kB: keeper, master.
const GROWTH: [u64; 2] = [256, 2048];

/// Sizes at a calm point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of the keeper, the master, and all zygotes.
    pub fds: [usize; 3],
    /// Of its own: pages of files come and go as the machine likes.
    pub memory: [u64; 2],
}

impl Sizes {
    /// The least of each.
    pub fn least(all: &[Sizes]) -> Option<Sizes> {
        let least = |one: Sizes, other: Sizes| Sizes {
            fds: std::array::from_fn(|i| one.fds[i].min(other.fds[i])),
            memory: std::array::from_fn(|i| one.memory[i].min(other.memory[i])),
        };
        all.iter().copied().reduce(least)
    }
}

/// Everything that is checked at a calm point, with what the apps are to be. `least`: the least of the sizes before.
pub fn calm(world: &World, wanted: &BTreeMap<String, Option<Wanted>>, least: Option<Sizes>) -> Result<Sizes, String> {
    let mut link = world.link();
    eventually(PATIENCE, || pools(world, &mut link))?;
    runs(world, &mut link)?;
    for (app, wanted) in wanted {
        if let Some(wanted) = wanted {
            eventually(PATIENCE, || workers(&mut link, app, *wanted))?;
        }
    }
    for (app, instances) in APPS {
        link.demand("apps.scale", &json!({"name": app, "to": instances.to_string()}))?;
        link.demand("apps.start", &json!({"target": app}))?;
        eventually(PATIENCE, || workers(&mut link, app, Wanted { up: true, instances }))?;
    }
    eventually(PATIENCE, || tree(world, &mut link))?;
    link.hang_up();
    // Clients that have just left are gone by then.
    std::thread::sleep(Duration::from_millis(500));
    eventually(PATIENCE, || sizes(world, least))
}

fn pools(world: &World, link: &mut Link) -> Result<(), String> {
    let answer = link.demand("pools", &json!({}))?;
    let pools = answer["pools"].as_array().cloned().unwrap_or_default();
    let ready =
        pools.iter().all(|pool| pool["state"] == "ready" && pool["zygote_pid"].is_u64() && pool["running"] == 0);
    if pools.len() == world.house.pools.len() && ready {
        Ok(())
    } else {
        Err(format!("pools that are not ready or not at rest: {answer}"))
    }
}

/// Each run has one true status; then it is freed, but for some that stay until the next calm point.
fn runs(world: &World, link: &mut Link) -> Result<(), String> {
    let marks = world.house.marks();
    let text = std::fs::read_to_string(&marks).map_err(|e| format!("{marks}: {e}"))?;
    let mut starts: HashMap<&str, u64> = HashMap::new();
    for line in text.lines() {
        *starts.entry(line).or_default() += 1;
    }
    let all: Vec<(String, bool, bool)> = {
        let ledger = world.ledger();
        if let Some(stranger) = starts.keys().find(|id| !ledger.runs.contains_key(**id)) {
            return Err(format!("run {stranger} started, and nobody asked for it"));
        }
        ledger.runs.iter().map(|(id, r)| (id.clone(), r.freed, r.last.is_none() && (r.refused || r.vanished))).collect()
    };
    let mut staying: Vec<String> = Vec::new();
    for (id, freed, refused) in &all {
        if !freed {
            match link.insist("status", &json!({"id": id}))? {
                Answer::Result(status) => world.ledger().told(&status)?,
                Answer::Refused { kind, .. } if kind == "run_not_found" && *refused => {}
                other => {
                    return Err(format!("status of {id}: {other:?}; last told: {:?}", world.ledger().runs.get(id)));
                }
            }
        }
        let verdict = world.ledger().judge(id, starts.get(id.as_str()).copied().unwrap_or_default())?;
        let seen = world.ledger().runs.get_mut(id).is_none_or(|run| std::mem::replace(&mut run.seen, true));
        if !freed && !refused && !seen && id.ends_with("7-0") {
            world.count("checked again later");
            staying.push(id.clone());
            continue;
        }
        world.count(format!("end: {verdict}"));
        if !freed && !refused {
            link.demand("free", &json!({"id": id}))?;
        }
    }
    let mut ledger = world.ledger();
    ledger.runs.retain(|id, _| staying.contains(id));
    // Those that stay have started once already.
    let left: String =
        ledger.runs.keys().filter(|id| starts.contains_key(id.as_str())).map(|id| format!("{id}\n")).collect();
    std::fs::write(&marks, left).map_err(|e| format!("{marks}: {e}"))?;
    let kept = ledger.runs.len();
    ledger.incidents.retain(|(at, _)| kept > 0 && at.elapsed() < Duration::from_secs(3600));
    drop(ledger);
    let info = link.demand("info", &json!({}))?;
    let counts = &info["counts"];
    let expected = [("queued", 0), ("starting", 0), ("running", 0), ("ended", kept)];
    let Some((key, expected)) = expected.into_iter().find(|(key, expected)| counts[*key] != *expected) else {
        return Ok(());
    };
    let mut there = Vec::new();
    for (id, freed, refused) in all.iter().filter(|(id, ..)| !world.ledger().runs.contains_key(id)) {
        if let Answer::Result(status) = link.insist("status", &json!({"id": id}))? {
            there.push(format!("(freed by a client: {freed}, refused: {refused}) {status}"));
        }
    }
    Err(format!("{key} should be {expected}: {counts}; freed, and there: {there:?}"))
}

fn app_workers(link: &mut Link, app: &str) -> Result<Vec<Value>, String> {
    let answer = link.demand("apps.list", &json!({"target": app}))?;
    answer["workers"].as_array().cloned().ok_or_else(|| format!("no workers: {answer}"))
}

fn workers(link: &mut Link, app: &str, wanted: Wanted) -> Result<(), String> {
    let workers = app_workers(link, app)?;
    let wrong = |why: &str| Err(format!("{app} is to be {wanted:?}: {why}: {workers:?}"));
    if workers.len() as u64 != wanted.instances {
        return wrong("so many instances there are not");
    }
    for worker in &workers {
        let (state, pid) = (worker["state"].as_str().unwrap_or_default(), worker["pid"].as_u64());
        let as_wanted = match (wanted.up, app) {
            (false, _) => state == "stopped" && pid.is_none(),
            (true, "serve") => state == "ready" && pid.is_some_and(|pid| processes::alive(pid as u32)),
            (true, "flaky") => matches!(state, "running" | "backoff" | "starting"),
            (true, _) => state == "running" && pid.is_some_and(|pid| processes::alive(pid as u32)),
        };
        if !as_wanted {
            return wrong("this is not as it should be");
        }
    }
    Ok(())
}

/// Nobody is there but the master, a zygote and its idle children a pool, and one process an instance.
fn tree(world: &World, link: &mut Link) -> Result<(), String> {
    let info = link.demand("info", &json!({}))?;
    let pools = link.demand("pools", &json!({}))?;
    let pools = pools["pools"].as_array().cloned().unwrap_or_default();
    let zygotes: Vec<u64> = pools.iter().filter_map(|p| p["zygote_pid"].as_u64()).collect();
    let idle: u64 = pools.iter().filter_map(|p| p["idle"].as_u64()).sum();
    let mut workers = Vec::new();
    for (app, _) in APPS {
        workers.extend(app_workers(link, app)?.iter().filter_map(|w| Some((app, w["pid"].as_u64()?))));
    }
    let (mut found_idle, mut strangers) = (0, Vec::new());
    for (process, kind) in everybody(world) {
        let pid = u64::from(process.pid);
        let parent = processes::parent(process.pid);
        let of_worker = |parent: Option<u32>| workers.iter().any(|(_, worker)| Some(*worker) == parent.map(u64::from));
        match kind {
            Some(Kind::Master) if info["master_pid"] == pid => {}
            Some(Kind::Zygote) if zygotes.contains(&pid) => {}
            Some(Kind::Idle) => found_idle += 1,
            Some(Kind::Run | Kind::Worker) if of_worker(Some(process.pid)) || of_worker(parent) => {}
            // Of one that comes and goes all the time.
            _ if !process.alive() => {}
            _ => strangers.push(process.describe()),
        }
    }
    if found_idle != idle || !strangers.is_empty() {
        return Err(format!(
            "{found_idle} idle children where {idle} are told, and nobody knows {strangers:?}; workers: {workers:?}"
        ));
    }
    Ok(())
}

fn sizes(world: &World, least: Option<Sizes>) -> Result<Sizes, String> {
    let all = everybody(world);
    let of = |wanted: Kind| all.iter().filter(move |(_, kind)| *kind == Some(wanted)).map(|(process, _)| process.pid);
    let both = [world.keeper(), of(Kind::Master).next().ok_or("there is no master")?];
    let fds = [processes::fds(both[0]).len().saturating_sub(inherited(both[0])), processes::fds(both[1]).len()];
    let now = Sizes {
        fds: [fds[0], fds[1], of(Kind::Zygote).map(|pid| processes::fds(pid).len()).sum()],
        memory: both.map(|pid| processes::status_number(pid, "RssAnon").unwrap_or_default()),
    };
    let Some(least) = least else { return Ok(now) };
    // One app comes and goes all the time, and both workers of the pool may be of former zygotes, whose channels are kept for them.
    // Of idle children that have rested the keeper has the channels, too, but not of those that an upgrade has handed over.
    let more = [4 + of(Kind::Idle).count(), 4, 4];
    let fds = (0..3).all(|i| now.fds[i] <= least.fds[i] + more[i]);
    let memory = (0..2).all(|i| now.memory[i] <= least.memory[i] + GROWTH[i]);
    if fds && memory {
        return Ok(now);
    }
    let [keeper, master] = both.map(descriptors);
    let unknown: Vec<String> = keeper
        .iter()
        .filter(|open| !master.contains(open))
        .map(|open| {
            let holders = all.iter().filter(|(process, _)| descriptors(process.pid).contains(open));
            format!("{open} {:?}", holders.map(|(process, _)| process.describe()).collect::<Vec<_>>())
        })
        .collect();
    Err(format!(
        "sizes have grown: {now:?}, at a calm point before {least:?}; with the keeper, and not with the master: {unknown:?}"
    ))
}

/// What a process has open.
fn descriptors(pid: u32) -> Vec<String> {
    let target = |fd: &u32| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    processes::fds(pid).iter().filter_map(|fd| Some(target(fd)?.display().to_string())).collect()
}

/// How many descriptors a keeper has only because we had them from whoever started us. One that was replaced in place has none.
fn inherited(keeper: u32) -> usize {
    let target = |pid: u32, fd: u32| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok();
    let ours = |fd: u32| target(std::process::id(), fd);
    let same = |fd: &&u32| **fd > 2 && target(keeper, **fd).is_some_and(|target| ours(**fd) == Some(target));
    processes::fds(keeper).iter().filter(same).count()
}

/// After the daemon's end.
pub fn nothing_left(world: &World, before: &[processes::Process]) -> Result<(), String> {
    let left: Vec<String> = before.iter().filter(|p| p.alive()).map(|p| p.describe()).collect();
    if !left.is_empty() {
        return Err(format!("processes are left after the shutdown: {left:?}"));
    }
    let files = names(&world.house.dir);
    let stray: Vec<&String> = files
        .iter()
        .filter(|name| {
            !matches!(name.as_str(), "apps.json" | "apps.json.before" | "journal" | "lock" | "logs" | "table")
                // What a master that was killed in the middle of a write had begun is kept for whoever wants to look.
                && name.strip_prefix("journal.torn-").is_none_or(|number| number.parse::<u64>().is_err())
        })
        .collect();
    if !stray.is_empty() {
        return Err(format!("files are left after the shutdown: {stray:?}"));
    }
    Ok(())
}
