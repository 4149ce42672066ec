//! Who does harm: kills and stops processes, and fills the disk.

use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::chance::{Chance, Step};
use crate::ledger::Incident;
use crate::processes::{self, Process};
use crate::world::World;

/// A process of the daemon, as it shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keeper,
    Master,
    Zygote,
    Idle,
    /// A run, or a worker that was forked from a pool.
    Run,
    /// A worker of its own program, or a process of one.
    Worker,
}

/// What a process of the daemon is. None: it has gone, or is about to become something.
pub fn kind(world: &World, pid: u32) -> Option<Kind> {
    let title = processes::title(pid);
    if title.contains(" serve ") && title.contains("app.json") {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        return match name.trim() {
            _ if pid == world.keeper() => Some(Kind::Keeper),
            // Until it has named itself, a master has the name of its program.
            "preforkd-master" | "preforkd" | "exe" => Some(Kind::Master),
            _ => None,
        };
    }
    match title.strip_prefix("preforkd: ") {
        Some("keeper") => (pid == world.keeper()).then_some(Kind::Keeper),
        Some("master") => Some(Kind::Master),
        Some(rest) if rest.contains(" zygote") => Some(Kind::Zygote),
        Some(rest) if rest.ends_with(" idle") => Some(Kind::Idle),
        Some(_) => Some(Kind::Run),
        None if title.starts_with("bash ") || title.starts_with("sleep ") => Some(Kind::Worker),
        None => None,
    }
}

/// Everything that the daemon has, but itself.
pub fn everybody(world: &World) -> Vec<(Process, Option<Kind>)> {
    let mut all: Vec<_> = processes::descendants(world.keeper()).into_iter().map(|p| (p, kind(world, p.pid))).collect();
    all.sort_by_key(|(process, _)| process.pid);
    all
}

struct Driver<'a> {
    world: &'a World,
    chance: Chance,
    /// Who goes on at which time.
    stopped: Vec<(Instant, Process)>,
    /// The disk is full until then.
    full_until: Option<Instant>,
}

pub fn act(world: &World, name: String) {
    let mut driver = Driver { world, chance: world.chance(name.clone()), stopped: Vec::new(), full_until: None };
    while !world.over() {
        let mut step = driver.chance.step();
        world.pause(step.between(5, 180));
        if let Err(why) = driver.harm(&mut step) {
            world.fault(&name, &why);
        }
        driver.mend(Instant::now());
    }
    driver.mend(Instant::now() + Duration::from_secs(3600));
}

impl Driver<'_> {
    fn harm(&mut self, step: &mut Step) -> Result<(), String> {
        let stop = step.percent(35);
        let what = step.weighted(&[
            (4, Some(Kind::Master)),
            (5, Some(Kind::Zygote)),
            (10, Some(Kind::Idle)),
            (14, Some(Kind::Run)),
            (10, Some(Kind::Worker)),
            (2, Some(Kind::Keeper)),
            (2, None),
        ]);
        let reread = step.percent(1);
        let (which, ms) = (step.between(0, 1 << 30), step.between(1, 1500));
        if reread {
            self.world.note(&self.chance, step, "the process file is to be read again");
            self.world.count("SIGHUP");
            self.world.happened(Incident::Reread);
            processes::send(self.world.keeper(), Signal::SIGHUP);
        }
        let Some(kind) = what else { return self.fill(step, ms) };
        if kind == Kind::Keeper {
            // It is never killed here, but between two storms.
            let keeper = processes::descendants(std::process::id()).into_iter().find(|p| p.pid == self.world.keeper());
            return self.stop(step, keeper, kind, ms.min(300));
        }
        let found: Vec<Process> =
            everybody(self.world).into_iter().filter(|(_, k)| *k == Some(kind)).map(|(p, _)| p).collect();
        let victim = found.get(which as usize % found.len().max(1)).copied();
        if stop { self.stop(step, victim, kind, ms) } else { self.kill(step, victim, kind) }
    }

    fn kill(&mut self, step: &Step, victim: Option<Process>, kind: Kind) -> Result<(), String> {
        let Some(victim) = victim else { return Ok(()) };
        self.world.note(&self.chance, step, &format!("kill {kind:?} {}", victim.pid));
        {
            let mut ledger = self.world.ledger();
            match kind {
                Kind::Master => ledger.happened(Incident::MasterKilled),
                Kind::Zygote => ledger.happened(Incident::ZygoteKilled),
                _ => ledger.happened(Incident::ChildKilled),
            }
            ledger.killed.insert(victim.pid.into());
        }
        victim.signal(Signal::SIGKILL);
        self.world.count(format!("killed: {kind:?}"));
        Ok(())
    }

    fn stop(&mut self, step: &Step, victim: Option<Process>, kind: Kind, ms: u64) -> Result<(), String> {
        let Some(victim) = victim else { return Ok(()) };
        self.world.note(&self.chance, step, &format!("stop {kind:?} {} for {ms} ms", victim.pid));
        if kind == Kind::Zygote {
            self.world.happened(Incident::ZygoteStopped);
        }
        victim.signal(Signal::SIGSTOP);
        self.stopped.push((Instant::now() + Duration::from_millis(ms), victim));
        self.world.count(format!("stopped for a while: {kind:?}"));
        Ok(())
    }

    fn fill(&mut self, step: &Step, ms: u64) -> Result<(), String> {
        if !self.world.house.small_disk || self.full_until.is_some() {
            return Ok(());
        }
        self.world.note(&self.chance, step, &format!("the disk is full for {ms} ms"));
        self.world.happened(Incident::DiskFull);
        let path = self.world.house.dir.join("filler");
        let mut file = std::fs::File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let block = vec![0; 1 << 16];
        // Until there is not even room for a page.
        for size in [block.len(), 4096, 1] {
            while file.write_all(&block[..size]).is_ok() {}
        }
        self.full_until = Some(Instant::now() + Duration::from_millis(ms));
        self.world.count("disks filled");
        Ok(())
    }

    /// What was to last until now.
    fn mend(&mut self, now: Instant) {
        self.stopped.retain(|(until, process)| {
            if *until <= now {
                process.signal(Signal::SIGCONT);
            }
            *until > now
        });
        if self.full_until.is_some_and(|until| until <= now) {
            self.full_until = None;
            self.world.happened(Incident::DiskFree);
            if let Err(e) = std::fs::remove_file(self.world.house.dir.join("filler")) {
                self.world.fault("driver", &format!("emptying the disk: {e}"));
            }
        }
    }
}
