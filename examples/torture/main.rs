//! Torture: a daemon whose master, zygotes, children and workers are killed, stopped and upgraded at random while clients
//! use it, held to a model of what it promised. `scripts/torture` runs it; `--help` says what it takes.

mod chance;
mod checks;
mod daemon;
mod driver;
mod job;
mod keepers;
mod ledger;
mod link;
mod operator;
#[path = "../../tests/all/house/processes.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod processes;
mod runner;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use nix::sys::signal::Signal;

use crate::checks::Sizes;
use crate::daemon::APPS;
use crate::operator::Wanted;
use crate::world::World;

/// How long harm is done between two calm points.
const STORM: Duration = Duration::from_secs(8);
const CLIENTS: u32 = 6;
/// Before every so many storms the keeper is killed.
const KEEPER_EVERY: u32 = 3;

/// A daemon under torture, held to a model.
#[derive(Debug, Parser)]
struct Options {
    /// How long
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What is done, and in which order, follows from it [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// The daemon's program [default: the one that was built with this]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Of the daemon's log
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Be the warm process of a pool
    #[arg(long, hide = true)]
    zygote: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.zygote {
        return match job::zygote() {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("torture, as a zygote: {e}");
                ExitCode::FAILURE
            }
        };
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64);
    let seed = options.seed.unwrap_or(clock);
    println!("torture: seed {seed}, {} min", options.minutes);
    match torture(&options, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("torture: {why}");
            ExitCode::FAILURE
        }
    }
}

/// True: no fault was found. An error: it could not begin, or could not remove what is its own.
fn torture(options: &Options, seed: u64) -> Result<bool, String> {
    let beside = std::env::current_exe().map_err(|e| format!("finding our own program: {e}"))?;
    let built = beside.parent().and_then(|p| p.parent()).map(|p| p.join("preforkd")).unwrap_or_default();
    let binary = options.binary.clone().unwrap_or(built);
    let binary = binary.canonicalize().map_err(|e| format!("{}: {e}; `cargo build` makes it", binary.display()))?;
    let root = tempfile::Builder::new().prefix("preforkd-torture-").tempdir().map_err(|e| format!("a folder: {e}"))?;
    let house = daemon::prepare(root.path(), &binary)?;
    let (mut child, tcp) = daemon::start(&house, &options.log_level, false)?;
    let world = World::new(seed, house, tcp, child.id());
    let sizes = rounds(&world, &mut child, options);
    if world.found().is_none() {
        shut_down(&world, &mut child);
    }
    tell(&world, &sizes);
    let Some(fault) = world.found() else {
        println!("torture: seed {seed}: no fault");
        daemon::unmount(&world.house)?;
        root.close().map_err(|e| format!("removing our folder: {e}"))?;
        return Ok(true);
    };
    println!("\nthe last steps:");
    world.history().iter().for_each(|line| println!("  {line}"));
    println!("\ntorture: seed {seed}: FAULT: {fault}");
    daemon::end(&mut child);
    let kept = root.keep();
    // The disk goes with us: what could tell more is copied out of it.
    for name in ["journal", "apps.json"] {
        let (from, to) = (world.house.dir.join(name), kept.join(name));
        if let Err(e) = std::fs::copy(&from, &to) {
            println!("torture: keeping {}: {e}", from.display());
        }
    }
    println!("torture: the daemon's log is {}", kept.join("log").display());
    Ok(false)
}

/// Storm and calm in turns, until the time is over. The sizes at the first and at the last calm point.
fn rounds(world: &World, child: &mut Child, options: &Options) -> Vec<Sizes> {
    let end = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut sizes: Vec<Sizes> = Vec::new();
    let mut round = 0;
    while Instant::now() < end && world.found().is_none() {
        round += 1;
        if round % KEEPER_EVERY == 0
            && let Err(why) = keepers::change(world, child, &options.log_level, round)
        {
            world.fault(&format!("r{round}keeper"), &why);
            break;
        }
        let wanted = storm(world, round);
        if world.found().is_some() {
            break;
        }
        match checks::calm(world, &wanted, Sizes::least(&sizes)) {
            Ok(now) => {
                world.say(&format!("calm point {round}: {now:?}"));
                sizes.push(now);
            }
            Err(why) => world.fault(&format!("calm point {round}"), &why),
        }
        world.count("calm points");
    }
    sizes
}

fn storm(world: &World, round: u32) -> BTreeMap<String, Option<Wanted>> {
    world.calm.store(false, Ordering::Relaxed);
    let until = Instant::now() + STORM;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || runner::act(world, format!("r{round}c{client}")));
        }
        scope.spawn(move || operator::upgrade(world, format!("r{round}upgrade")));
        let harm = scope.spawn(move || driver::act(world, format!("r{round}harm")));
        let operators: Vec<_> = [&APPS[..2], &APPS[2..]]
            .into_iter()
            .enumerate()
            .map(|(n, apps)| scope.spawn(move || operator::act(world, format!("r{round}o{n}"), apps)))
            .collect();
        while Instant::now() < until && world.found().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        world.calm.store(true, Ordering::Relaxed);
        // A panic would have ended the program. What the last harm may have undone is known only afterwards.
        drop(harm.join());
        operators.into_iter().filter_map(|o| o.join().ok()).flat_map(|changes| changes.wanted(world)).collect()
    })
}

/// The end: everybody leaves, and leaves nothing behind.
fn shut_down(world: &World, child: &mut Child) {
    let before: Vec<_> = processes::descendants(world.keeper()).into_iter().collect();
    processes::send(world.keeper(), Signal::SIGTERM);
    let outcome = daemon::ended(child).and_then(|status| {
        if !status.success() {
            return Err(format!("the daemon ended with {status}"));
        }
        checks::nothing_left(world, &before)
    });
    if let Err(why) = outcome {
        world.fault("shutdown", &why);
    }
}

fn tell(world: &World, sizes: &[Sizes]) {
    println!("\n{:>8}  what was done, and what came of it", "times");
    for (what, times) in world.counts() {
        println!("{times:>8}  {what}");
    }
    if let (Some(first), Some(last)) = (sizes.first(), sizes.last()) {
        println!();
        for (when, sizes) in [("first", first), ("last", last)] {
            let ([keeper, master, zygotes], memory) = (sizes.fds, sizes.memory);
            println!("at the {when} calm point: descriptors: keeper {keeper}, master {master}, zygotes {zygotes}");
            println!("at the {when} calm point: memory, kB: keeper {}, master {}", memory[0], memory[1]);
        }
    }
}
