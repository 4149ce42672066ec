//! An administrator: starts, stops, restarts, reloads and scales apps, reloads pools, and upgrades the daemon.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::chance::{Chance, Step};
use crate::link::{Answer, Link};
use crate::world::World;

/// What an app is to be; None: an answer was not what it should be, and the next calm point sets it right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub up: bool,
    pub instances: u64,
}

/// What became of the apps of one operator.
pub struct Changes {
    wanted: BTreeMap<String, Option<Wanted>>,
    /// When it was last asked and answered of each app how many there are to be, or whether it is to be up.
    changed: BTreeMap<(String, bool), (Instant, Instant)>,
}

impl Changes {
    /// What the apps are to be, now that nobody does any harm.
    pub fn wanted(self, world: &World) -> BTreeMap<String, Option<Wanted>> {
        let ledger = world.ledger();
        // What was changed while the disk was full was in the memory of a master that was killed: the list is an older one.
        let lost = |app: &str| {
            let of_app = self.changed.iter().filter(|((name, _), _)| name == app);
            of_app.into_iter().any(|((_, scaled), (asked, answered))| {
                ledger.change_lost(*asked, *answered) || (*scaled && ledger.reread_since(*asked))
            })
        };
        self.wanted.iter().map(|(app, wanted)| (app.clone(), wanted.filter(|_| !lost(app)))).collect()
    }
}

/// Changes these apps, which no other operator touches.
pub fn act(world: &World, name: String, apps: &[(&str, u64)]) -> Changes {
    let up = |&(app, instances): &(&str, u64)| (app.to_owned(), Some(Wanted { up: true, instances }));
    let mut operator = Operator {
        world,
        chance: world.chance(name.clone()),
        link: world.link(),
        changes: Changes { wanted: apps.iter().map(up).collect(), changed: BTreeMap::new() },
    };
    if let Err(why) = operator.storm(apps) {
        world.fault(&name, &why);
    }
    world.add("connections cut", operator.link.cuts);
    operator.changes
}

struct Operator<'a> {
    world: &'a World,
    chance: Chance,
    link: Link,
    changes: Changes,
}

impl Operator<'_> {
    fn storm(&mut self, apps: &[(&str, u64)]) -> Result<(), String> {
        while !self.world.over() {
            let mut step = self.chance.step();
            let (app, _) = *step.one(apps);
            let kind = step.weighted(&[
                (3, "start"),
                (3, "stop"),
                (3, "restart"),
                (3, "reload"),
                (3, "scale"),
                (1, "signal"),
                (1, "logs"),
                (1, "pool"),
            ]);
            let to = step.between(1, 3);
            let pool = *step.one(&self.world.house.pools);
            self.world.note(&self.chance, &step, &format!("{kind} {app} (to {to})"));
            self.obey(&mut step, kind, app, to, pool)?;
            self.world.pause(step.between(0, 300));
        }
        Ok(())
    }

    fn obey(&mut self, step: &mut Step, kind: &str, app: &str, to: u64, pool: &str) -> Result<(), String> {
        let target = json!({"target": app});
        let (method, params) = match kind {
            "scale" => ("apps.scale".to_owned(), json!({"name": app, "to": to.to_string()})),
            "signal" => ("apps.signal".to_owned(), json!({"target": app, "signal": step.one(&["USR1", "KILL"])})),
            "logs" => ("apps.logs".to_owned(), target),
            "pool" => ("reload".to_owned(), json!({"name": pool})),
            other => (format!("apps.{other}"), target),
        };
        let was = self.changes.wanted.get(app).copied().flatten();
        let cuts = self.link.cuts;
        let asked = Instant::now();
        let answer = self.link.insist(&method, &params)?;
        if matches!(kind, "start" | "stop" | "restart" | "reload" | "scale") {
            self.changes.changed.insert((app.to_owned(), kind == "scale"), (asked, Instant::now()));
        }
        let cuts = self.link.cuts - cuts;
        self.world.note(&self.chance, step, &format!("{kind} {app}, cut {cuts} times: {}", brief(&answer)));
        let name = if kind == "pool" { "pools reloaded".to_owned() } else { format!("apps: {kind}") };
        match answer {
            Answer::Result(answer) => {
                self.world.count(name);
                let wanted = was.and_then(|was| match kind {
                    "start" | "restart" | "reload" => Some(Wanted { up: true, ..was }),
                    "stop" => Some(Wanted { up: false, ..was }),
                    // New instances are started, and those that were stopped stay so.
                    "scale" if !was.up && to > was.instances => None,
                    "scale" => Some(Wanted { instances: to, ..was }),
                    _ => Some(was),
                });
                self.changes.wanted.insert(app.to_owned(), wanted);
                self.agrees(kind, &answer)
            }
            Answer::Refused { kind: refusal, message } => {
                self.world.count(format!("{name}, refused: {refusal}"));
                if !matches!(refusal.as_str(), "reload_failed" | "pool_unavailable") {
                    return Err(format!("{method} {params} was refused: {refusal}: {message}"));
                }
                if kind == "reload" {
                    self.changes.wanted.insert(app.to_owned(), None);
                }
                Ok(())
            }
            Answer::Cut => Err(format!("{method} {params} has no answer")),
        }
    }

    /// A stopped worker has no process, and says so.
    fn agrees(&self, kind: &str, answer: &Value) -> Result<(), String> {
        let workers = answer["workers"].as_array().cloned().unwrap_or_default();
        if kind == "stop" && workers.iter().any(|w| w["state"] != "stopped" || !w["pid"].is_null()) {
            return Err(format!("stopped, and not: {answer}"));
        }
        Ok(())
    }
}

/// Upgrades, again and again, now and then to something that cannot be a successor.
pub fn upgrade(world: &World, name: String) {
    let mut chance = world.chance(name.clone());
    let mut link = world.link();
    while !world.over() {
        let mut step = chance.step();
        world.pause(step.between(50, 1500));
        let kind = step.weighted(&[(6, "upgrade"), (2, "keeper"), (2, "check"), (1, "false"), (1, "missing")]);
        let binary = match kind {
            "false" => json!("/bin/false"),
            "missing" => json!("/nonexistent/preforkd"),
            _ => json!(world.house.binary),
        };
        world.note(&chance, &step, kind);
        let answer =
            link.call("upgrade", &json!({"binary": binary, "check": kind == "check", "keeper": kind == "keeper"}));
        let fault = match answer {
            Err(why) => Some(why),
            Ok(Answer::Cut) => {
                world.count(format!("{kind}: cut"));
                None
            }
            Ok(Answer::Refused { kind: refusal, message }) => {
                world.count(format!("{kind}: {}", reason(&message)));
                (refusal != "upgrade_failed").then(|| format!("{kind}: {refusal}: {message}"))
            }
            Ok(Answer::Result(done)) => {
                world.count(format!("{kind}: done"));
                matches!(kind, "false" | "missing").then(|| format!("an upgrade to {binary} went well: {done}"))
            }
        };
        if let Some(why) = fault {
            return world.fault(&name, &why);
        }
    }
    world.add("connections cut", link.cuts);
}

/// What is told of the workers, and no more.
fn brief(answer: &Answer) -> String {
    let Answer::Result(value) = answer else { return format!("{answer:?}") };
    let worker = |w: &Value| format!("{}/{} {} {}", w["name"], w["instance"], w["state"], w["pid"]);
    value["workers"].as_array().map(|all| all.iter().map(worker).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

/// A message without what is different each time.
fn reason(message: &str) -> String {
    let text = message.split_once(": ").map_or(message, |(_, rest)| rest);
    let text: String =
        text.split(". The daemon").next().unwrap_or(text).chars().filter(|c| !c.is_ascii_digit()).collect();
    text.chars().take(90).collect()
}
