//! A client with runs: it asks for them, again and again with the same id, waits, looks, kills and frees.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chance::{Chance, Step};
use crate::job::{Plan, Then};
use crate::link::{Address, Answer, Link};
use crate::world::World;

/// Runs that a client lets live at a time.
const ALIVE: usize = 10;
/// How long a run may be refused for want of a warm process.
const REFUSED: Duration = Duration::from_secs(60);

pub struct Runner<'a> {
    world: &'a World,
    chance: Chance,
    link: Link,
    alive: Vec<String>,
    ended: Vec<String>,
}

/// Runs until it is calm; then everything that it started has ended.
pub fn act(world: &World, name: String) {
    let number = name.bytes().last().unwrap_or_default();
    let address = if number.is_multiple_of(2) { world.tcp() } else { Address::Unix(world.house.socket()) };
    let chance = world.chance(name.clone());
    let mut runner = Runner { world, chance, link: Link::new(address), alive: Vec::new(), ended: Vec::new() };
    let outcome = runner.storm().and_then(|()| runner.finish());
    world.add("connections cut", runner.link.cuts);
    if let Err(why) = outcome {
        world.fault(&name, &why);
    }
}

#[derive(Clone, Copy)]
enum Act {
    Run,
    Several,
    HangUp,
    Again,
    Wait,
    Status,
    Kill,
    Free,
    List,
    Pause,
}

const ACTS: [(u64, Act); 10] = [
    (34, Act::Run),
    (8, Act::Several),
    (5, Act::HangUp),
    (8, Act::Again),
    (10, Act::Wait),
    (8, Act::Status),
    (10, Act::Kill),
    (8, Act::Free),
    (2, Act::List),
    (7, Act::Pause),
];

impl Runner<'_> {
    fn storm(&mut self) -> Result<(), String> {
        while !self.world.over() {
            let mut step = self.chance.step();
            match step.weighted(&ACTS) {
                Act::Run if self.alive.len() < ALIVE => self.run(&mut step)?,
                Act::Several if self.alive.len() < ALIVE => self.several(&mut step)?,
                Act::Run | Act::Several => self.wait(&mut step)?,
                Act::HangUp => self.hang_up(&mut step)?,
                Act::Again => self.again(&mut step)?,
                Act::Wait => self.wait(&mut step)?,
                Act::Status => self.status(&mut step)?,
                Act::Kill => self.kill(&mut step)?,
                Act::Free => self.free(&mut step)?,
                Act::List => drop(self.link.insist("runs", &json!({"limit": 20}))?),
                Act::Pause => self.world.pause(step.between(1, 150)),
            }
        }
        Ok(())
    }

    /// A plan and an id of its own for it.
    fn plan(&mut self, step: &mut Step, number: u64) -> (String, Plan, bool) {
        let plan = Plan::choose(step, &self.world.house.pools);
        let id = format!("{}-{}-{number}", self.chance.actor(), step.number);
        let wait = step.percent(40) && (plan.then != Then::Hold || plan.timeout_ms.is_some());
        self.world.note(&self.chance, step, &format!("run {id}, wait {wait}: {plan:?}"));
        self.world.ledger().asked(&id, &plan);
        self.world.count("runs asked for");
        (id, plan, wait)
    }

    fn run(&mut self, step: &mut Step) -> Result<(), String> {
        let (id, plan, wait) = self.plan(step, 0);
        let request = plan.request(&id, &self.world.house.marks(), wait);
        let answer = self.link.call("run", &request)?;
        self.settle(&id, &request, answer)
    }

    /// Pipelined.
    fn several(&mut self, step: &mut Step) -> Result<(), String> {
        let mut sent = Vec::new();
        for number in 0..step.between(2, 6) {
            let (id, plan, wait) = self.plan(step, number);
            let request = plan.request(&id, &self.world.house.marks(), wait);
            let call = self.link.send("run", &request)?;
            sent.push((id, request, call));
        }
        let mut answers = Vec::new();
        for (_, _, call) in &sent {
            answers.push(self.link.receive(*call)?);
        }
        for ((id, request, _), answer) in sent.into_iter().zip(answers) {
            self.settle(&id, &request, answer)?;
        }
        Ok(())
    }

    /// Goes away in the middle, and asks again.
    fn hang_up(&mut self, step: &mut Step) -> Result<(), String> {
        let (id, plan, wait) = self.plan(step, 0);
        let request = plan.request(&id, &self.world.house.marks(), wait);
        self.link.send("run", &request)?;
        self.world.pause(*step.one(&[0, 0, 1, 5, 20]));
        self.link.hang_up();
        self.world.count("clients that hung up");
        self.settle(&id, &request, Answer::Cut)
    }

    /// Asks with the same id until the daemon has taken the run, or has refused it for too long.
    fn settle(&mut self, id: &str, request: &Value, mut answer: Answer) -> Result<(), String> {
        let deadline = Instant::now() + REFUSED;
        loop {
            match answer {
                Answer::Result(status) => return self.taken(id, &status),
                Answer::Cut => self.world.count("the same run again after a cut"),
                Answer::Refused { kind, message } => {
                    self.world.count(format!("run refused: {kind}"));
                    match kind.as_str() {
                        "pool_unavailable" | "queue_full" => self.world.pause(50),
                        // It is there, as failed.
                        "start_failed" => {
                            let status = self.link.demand("status", &json!({"id": id}))?;
                            return self.taken(id, &status);
                        }
                        _ => return Err(format!("run {id} was refused: {kind}: {message}")),
                    }
                }
            }
            if Instant::now() > deadline {
                if let Some(record) = self.world.ledger().runs.get_mut(id) {
                    record.refused = true;
                }
                return Ok(());
            }
            if self.world.over() {
                // Nobody disturbs any more: nobody is refused for long.
                std::thread::sleep(Duration::from_millis(20));
            }
            answer = self.link.call("run", request)?;
        }
    }

    fn taken(&mut self, id: &str, status: &Value) -> Result<(), String> {
        self.told(status)?;
        if !self.alive.iter().any(|i| i == id) && status["ended_at"].is_null() {
            self.alive.push(id.to_owned());
        }
        Ok(())
    }

    fn told(&mut self, status: &Value) -> Result<(), String> {
        self.world.ledger().told(status)?;
        if !status["ended_at"].is_null()
            && let Some(id) = status["id"].as_str()
        {
            self.alive.retain(|i| i != id);
            if !self.ended.iter().any(|i| i == id) {
                self.ended.push(id.to_owned());
            }
        }
        Ok(())
    }

    fn again(&mut self, step: &mut Step) -> Result<(), String> {
        let Some(id) = choose(step, &self.alive, &self.ended) else { return Ok(()) };
        self.world.note(&self.chance, step, &format!("run {id} again"));
        let other = Plan { pool: "native".into(), ms: 0, lines: 0, then: Then::Exit(99), timeout_ms: None };
        let status = self.link.demand("run", &other.request(&id, &self.world.house.marks(), false))?;
        if status["duplicate"] != true {
            // The first one may have been lost; then this is another.
            let mut ledger = self.world.ledger();
            ledger.absent(&id)?;
            ledger.asked(&id, &other);
            self.world.count("lost, and asked for again");
        }
        self.world.count("the same id again");
        self.told(&status)
    }

    fn wait(&mut self, step: &mut Step) -> Result<(), String> {
        let Some(id) = choose(step, &self.alive, &self.ended) else { return Ok(()) };
        let ms = step.between(1, 800);
        self.world.note(&self.chance, step, &format!("wait {id} for {ms} ms"));
        self.world.count("waits");
        self.look("wait", json!({"id": id, "timeout": ms})).map(drop)
    }

    fn status(&mut self, step: &mut Step) -> Result<(), String> {
        let Some(id) = choose(step, &self.alive, &self.ended) else { return Ok(()) };
        self.world.count("statuses");
        self.look("status", json!({"id": id})).map(drop)
    }

    /// A call that is answered with a status. False: the run is not there, and that may be.
    fn look(&mut self, method: &str, params: Value) -> Result<bool, String> {
        match self.link.insist(method, &params)? {
            Answer::Result(status) => self.told(&status).map(|()| true),
            Answer::Refused { kind, .. } if kind == "already_ended" => Ok(true),
            Answer::Refused { kind, .. } if kind == "run_not_found" => {
                let id = params["id"].as_str().unwrap_or_default();
                self.world.ledger().absent(id)?;
                self.alive.retain(|i| i != id);
                Ok(false)
            }
            other => Err(format!("{method} {params}: {other:?}")),
        }
    }

    fn kill(&mut self, step: &mut Step) -> Result<(), String> {
        let Some(id) = choose(step, &self.alive, &[]) else { return Ok(()) };
        let (name, number) = *step.one(&[("TERM", 15), ("TERM", 15), ("KILL", 9), ("USR1", 10), ("HUP", 1)]);
        self.world.note(&self.chance, step, &format!("kill {id} with {name}"));
        self.kill_with(&id, name, number)
    }

    fn kill_with(&mut self, id: &str, name: &str, number: i64) -> Result<(), String> {
        if let Some(record) = self.world.ledger().runs.get_mut(id) {
            record.kills.push(number);
        }
        self.world.count(format!("kills with {name}"));
        self.look("kill", json!({"id": id, "signal": name})).map(drop)
    }

    fn free(&mut self, step: &mut Step) -> Result<(), String> {
        let Some(id) = choose(step, &[], &self.ended) else { return Ok(()) };
        self.world.note(&self.chance, step, &format!("free {id}"));
        if let Some(record) = self.world.ledger().runs.get_mut(&id) {
            record.freed = true;
        }
        self.ended.retain(|i| *i != id);
        let cuts = self.link.cuts;
        match self.link.insist("free", &json!({"id": id}))? {
            Answer::Result(_) => {}
            // Obeyed, and the answer was cut.
            Answer::Refused { kind, .. } if kind == "run_not_found" && self.link.cuts > cuts => {}
            other => return Err(format!("free {id}: {other:?}")),
        }
        self.world.count("runs freed");
        match self.link.insist("status", &json!({"id": id}))? {
            Answer::Refused { kind, .. } if kind == "run_not_found" => Ok(()),
            other => Err(format!("status of {id}, which was freed: {other:?}")),
        }
    }

    /// Everything comes to its end: what does not by itself is killed.
    fn finish(&mut self) -> Result<(), String> {
        for id in self.alive.clone() {
            let endless = {
                let ledger = self.world.ledger();
                ledger.runs.get(&id).is_some_and(|r| r.plan.then == Then::Hold && r.plan.timeout_ms.is_none())
            };
            if endless {
                self.kill_with(&id, "TERM", 15)?;
            }
            if self.look("wait", json!({"id": id, "timeout": "60s"}))? && self.alive.contains(&id) {
                return Err(format!("run {id} has not ended after 60 s"));
            }
        }
        Ok(())
    }
}

fn choose(step: &mut Step, some: &[String], others: &[String]) -> Option<String> {
    let all: Vec<&String> = some.iter().chain(others).collect();
    (!all.is_empty()).then(|| (*step.one(&all)).clone())
}
