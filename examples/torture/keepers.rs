//! The keeper dies, alone or with its master: what is alive goes on, and `serve --adopt` takes it over.

use std::process::Child;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::chance::Step;
use crate::daemon::{self, APPS};
use crate::driver::{Kind, everybody};
use crate::job::{Plan, Then};
use crate::ledger::Incident;
use crate::link::{Answer, Link};
use crate::processes;
use crate::world::{World, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// Kills the keeper while runs are alive, brings another one, and looks what has become of everything.
pub fn change(world: &World, child: &mut Child, log_level: &str, round: u32) -> Result<(), String> {
    let name = format!("r{round}keeper");
    let mut chance = world.chance(name.clone());
    let mut step = chance.step();
    let mut link = world.link();
    let ids = begin(world, &mut link, &mut step, &name)?;
    let before = processes::descendants(world.keeper());
    let with_master = step.percent(30);
    world.note(&chance, &step, if with_master { "kill keeper and master" } else { "kill keeper" });
    let outcome = kill(world, &mut link, &mut step, child, with_master)
        .and_then(|()| daemon::start(&world.house, log_level, true))
        .and_then(|(next, address)| {
            *child = next;
            world.moved(child.id(), address);
            world.count(if with_master { "keepers killed with their masters" } else { "keepers killed" });
            settle(world, &ids)
        })
        .and_then(|()| {
            // Zygotes and idle children have left, runs have ended, workers have been started again.
            eventually(PATIENCE, || match before.iter().find(|p| p.alive()) {
                Some(left) => Err(format!("of the former keeper's processes there is left: {}", left.describe())),
                None => Ok(()),
            })
        });
    if outcome.is_err() {
        before.iter().filter(|p| p.alive()).for_each(|p| p.signal(Signal::SIGKILL));
    }
    outcome
}

/// Some runs that end by themselves while there is no keeper, or are killed when there is one again.
fn begin(world: &World, link: &mut Link, step: &mut Step, name: &str) -> Result<Vec<(String, bool)>, String> {
    let mut ids = Vec::new();
    for pool in &world.house.pools {
        for n in 0..3 {
            let holds = step.percent(40);
            let then = if holds { Then::Hold } else { Then::Exit(step.between(0, 255) as u8) };
            let plan = Plan { pool: (*pool).to_owned(), ms: step.between(1, 1500), lines: 0, then, timeout_ms: None };
            let id = format!("{name}-{pool}-{n}");
            world.ledger().asked(&id, &plan);
            let status = link.demand("run", &plan.request(&id, &world.house.marks(), false))?;
            world.ledger().told(&status)?;
            ids.push((id, holds));
        }
    }
    Ok(ids)
}

fn kill(world: &World, link: &mut Link, step: &mut Step, child: &mut Child, with_master: bool) -> Result<(), String> {
    let keeper = world.keeper();
    world.happened(Incident::KeeperKilled);
    if with_master {
        // So that neither sees the other's end.
        processes::send(keeper, Signal::SIGSTOP);
        world.happened(Incident::MasterKilled);
        let masters = everybody(world).into_iter().filter(|(_, kind)| *kind == Some(Kind::Master));
        masters.for_each(|(master, _)| master.signal(Signal::SIGKILL));
    }
    processes::send(keeper, Signal::SIGKILL);
    daemon::ended(child)?;
    let wait = Duration::from_millis(step.between(0, 1000));
    if !with_master {
        eventually(PATIENCE, || {
            let info = link.demand("info", &json!({}))?;
            if info["keeper_pid"] == 0 { Ok(()) } else { Err(format!("the keeper has died, and: {info}")) }
        })?;
        let pool = world.house.pools[0];
        let refused = link.insist("run", &json!({"pool": pool, "entry": "job", "id": "none"}))?;
        if !matches!(&refused, Answer::Refused { kind, .. } if kind == "pool_unavailable") {
            return Err(format!("without a keeper a run was answered with {refused:?}"));
        }
    }
    std::thread::sleep(wait);
    Ok(())
}

/// All runs end, and all workers are the new keeper's own.
fn settle(world: &World, ids: &[(String, bool)]) -> Result<(), String> {
    let mut link = world.link();
    for (id, holds) in ids {
        if *holds {
            if let Some(record) = world.ledger().runs.get_mut(id) {
                record.kills.push(15);
            }
            let answer = link.insist("kill", &json!({"id": id, "signal": "TERM"}))?;
            if !matches!(&answer, Answer::Result(_))
                && !matches!(&answer, Answer::Refused { kind, .. } if kind == "already_ended")
            {
                return Err(format!("killing {id}, which had outlived its keeper: {answer:?}"));
            }
        }
        let status = link.demand("wait", &json!({"id": id, "timeout": "30s"}))?;
        if status["ended_at"].is_null() {
            return Err(format!("a run that had outlived its keeper does not end: {status}"));
        }
        world.ledger().told(&status)?;
    }
    for (app, _) in APPS {
        link.demand("apps.restart", &json!({"target": app}))?;
    }
    Ok(())
}
