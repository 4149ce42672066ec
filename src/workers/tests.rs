//! A life on a virtual clock.

mod model;

use std::time::Duration;

use super::{Event, Life, Policy, Step};
use crate::sys::reap::How;
use crate::wire::apps::WorkerState as S;

const MS: u64 = 1_000_000;

fn policy() -> Policy {
    Policy {
        autorestart: true,
        stop_exit_codes: Vec::new(),
        min_uptime: Duration::from_secs(1),
        max_restarts: 16,
        restart_delay: None,
        exp_backoff: None,
        needs_ready: false,
        ready_timeout: Duration::from_secs(3),
    }
}

/// A worker whose processes live for so long each; the starts within `hours`, and what became of it.
fn loop_of(policy: &Policy, lives_ms: u64, hours: u64) -> (u64, Life) {
    let (mut life, mut now, mut starts) = (Life::new(), 0, 0);
    let mut step = life.on(Event::Start, now, policy, || 0.5);
    while now < hours * 3_600_000 * MS {
        match step {
            Step::Spawn => {
                starts += 1;
                assert_eq!(life.on(Event::Spawned, now, policy, || 0.5), Step::Nothing);
                now += lives_ms * MS;
                step = life.on(Event::Exited(How::Exited(1)), now, policy, || 0.5);
            }
            Step::Stop => panic!("nobody asked it to stop"),
            Step::Nothing => {
                let Some(at) = life.wake_at() else { break };
                now = at.max(now);
                step = life.on(Event::Due, now, policy, || 0.5);
            }
        }
    }
    (starts, life)
}

#[test]
fn fault_25_a_crash_loop_at_10_ms_ends_at_the_limit() {
    let (starts, life) = loop_of(&policy(), 10, 1);
    assert_eq!((starts, life.state(), life.unstable()), (16, S::Fatal, 16));
    assert!(life.reason().unwrap().contains("max_restarts"), "{:?}", life.reason());
}

#[test]
fn fault_25_just_over_min_uptime_the_pauses_hold_for_ever() {
    let (starts, life) = loop_of(&policy(), 1001, 1);
    // One each 1 s up and 15 s of pause, but for the first few.
    assert!((225..250).contains(&starts), "{starts}");
    assert_ne!(life.state(), S::Fatal);
}

#[test]
fn pauses_grow_are_bounded_and_begin_anew_after_a_long_time_up() {
    let policy = policy();
    let mut life = Life::new();
    let mut now = 0;
    let mut pauses = Vec::new();
    assert_eq!(life.on(Event::Start, now, &policy, || 0.5), Step::Spawn);
    for lived in [2000; 18].into_iter().chain([31_000]) {
        assert_eq!(life.on(Event::Spawned, now, &policy, || 0.5), Step::Nothing);
        now += lived * MS;
        let step = life.on(Event::Exited(How::Killed(11)), now, &policy, || 0.5);
        pauses.push(life.wake_at().map_or(0, |at| (at - now) / MS));
        if step == Step::Nothing {
            now = life.wake_at().unwrap();
            assert_eq!(life.on(Event::Due, now, &policy, || 0.5), Step::Spawn);
        }
    }
    assert_eq!(pauses[..5], [0, 100, 150, 225, 337]);
    assert_eq!((pauses[17], pauses[18]), (15_000, 0));
    assert_eq!(life.restarts(), 19);
}

#[test]
fn delays_of_the_app_s_own() {
    let fixed = Policy { restart_delay: Some(Duration::from_millis(70)), ..policy() };
    let growing = Policy { exp_backoff: Some(Duration::from_millis(100)), ..policy() };
    for (policy, expected) in [(fixed, [70, 70, 70]), (growing, [100, 150, 225])] {
        let (mut life, mut now) = (Life::new(), 0);
        assert_eq!(life.on(Event::Start, now, &policy, || 0.0), Step::Spawn);
        for pause in expected {
            assert_eq!(life.on(Event::Spawned, now, &policy, || 0.0), Step::Nothing);
            assert_eq!(life.on(Event::Exited(How::Exited(0)), now, &policy, || 0.0), Step::Nothing);
            assert_eq!((life.state(), life.wake_at()), (S::Backoff, Some(now + pause * MS)));
            now += pause * MS;
            assert_eq!(life.on(Event::Due, now, &policy, || 0.0), Step::Spawn);
        }
    }
}

#[test]
fn exits_after_which_it_is_not_started_again() {
    let codes = Policy { stop_exit_codes: vec![0, 9], ..policy() };
    let never = Policy { autorestart: false, ..policy() };
    for (policy, how, state) in [
        (&codes, How::Exited(9), S::Exited),
        (&codes, How::Exited(1), S::Starting),
        (&codes, How::Killed(9), S::Starting),
        (&never, How::Killed(9), S::Exited),
        (&never, How::Exited(0), S::Exited),
    ] {
        let mut life = Life::new();
        assert_eq!(life.on(Event::Start, 0, policy, || 0.5), Step::Spawn);
        assert_eq!(life.on(Event::Spawned, 0, policy, || 0.5), Step::Nothing);
        let _ = life.on(Event::Exited(how), 5000 * MS, policy, || 0.5);
        assert_eq!(life.state(), state, "{how:?}");
    }
}

#[test]
fn stop_and_restart_work_at_once_in_every_state() {
    let policy = policy();
    let up = |life: &mut Life| {
        assert_eq!(life.on(Event::Start, 0, &policy, || 0.5), Step::Spawn);
        assert_eq!(life.on(Event::Spawned, 0, &policy, || 0.5), Step::Nothing);
    };
    let mut life = Life::new();
    up(&mut life);
    assert_eq!(life.on(Event::Restart, 1, &policy, || 0.5), Step::Stop);
    assert_eq!(life.on(Event::Exited(How::Killed(2)), 2, &policy, || 0.5), Step::Spawn);
    assert_eq!((life.restarts(), life.asked_restarts()), (0, 1));
    assert_eq!(life.on(Event::Spawned, 3, &policy, || 0.5), Step::Nothing);
    // Two crashes: the second has to wait.
    assert_eq!(life.on(Event::Exited(How::Killed(9)), 4, &policy, || 0.5), Step::Spawn);
    assert_eq!(life.on(Event::Spawned, 5, &policy, || 0.5), Step::Nothing);
    assert_eq!(life.on(Event::Exited(How::Killed(9)), 6, &policy, || 0.5), Step::Nothing);
    assert_eq!(life.state(), S::Backoff);
    assert_eq!(life.clone().on(Event::Restart, 7, &policy, || 0.5), Step::Spawn);
    assert_eq!(life.on(Event::Stop, 7, &policy, || 0.5), Step::Nothing);
    assert_eq!((life.state(), life.wake_at()), (S::Stopped, None));
    // A start that is under way is ended when it is there.
    assert_eq!(life.on(Event::Start, 8, &policy, || 0.5), Step::Spawn);
    life.asked_for(8);
    assert_eq!(life.on(Event::Stop, 9, &policy, || 0.5), Step::Nothing);
    assert_eq!(life.on(Event::Spawned, 10, &policy, || 0.5), Step::Stop);
    // Wanted again while it is ending.
    assert_eq!(life.on(Event::Start, 11, &policy, || 0.5), Step::Nothing);
    assert_eq!(life.on(Event::Exited(How::Exited(0)), 12, &policy, || 0.5), Step::Spawn);
}

#[test]
fn not_ready_in_time_is_a_failed_start() {
    let policy = Policy { needs_ready: true, max_restarts: 2, ..policy() };
    let mut life = Life::new();
    let mut now = 0;
    assert_eq!(life.on(Event::Start, now, &policy, || 0.5), Step::Spawn);
    for _ in 0..2 {
        assert_eq!(life.on(Event::Spawned, now, &policy, || 0.5), Step::Nothing);
        assert_eq!(life.wake_at(), Some(now + 3000 * MS));
        now += 3000 * MS;
        assert_eq!(life.on(Event::Due, now, &policy, || 0.5), Step::Stop);
        let _ = life.on(Event::Exited(How::Killed(2)), now, &policy, || 0.5);
    }
    assert_eq!(life.state(), S::Fatal);
    assert!(life.reason().unwrap().contains("not ready"), "{:?}", life.reason());
}

#[test]
fn a_master_that_follows_goes_on_from_what_was_saved() {
    let policy = policy();
    let mut life = Life::new();
    assert_eq!(life.on(Event::Start, 0, &policy, || 0.5), Step::Spawn);
    for now in [1, 2] {
        assert_eq!(life.on(Event::Spawned, now, &policy, || 0.5), Step::Nothing);
        let _ = life.on(Event::Exited(How::Exited(1)), now, &policy, || 0.5);
    }
    let left = life.wake_at().unwrap() - 50;
    let saved = serde_json::to_string(&life.save(50)).unwrap();
    let saved = serde_json::from_str(&saved).unwrap();
    let again = Life::restore(&saved, None, &policy, 1_000_000);
    assert_eq!((again.state(), again.wake_at(), again.unstable()), (S::Backoff, Some(1_000_000 + left), 2));
    let running = Life::restore(&saved, Some(7), &policy, 1_000_000);
    assert_eq!((running.state(), running.started_at(), running.wanted()), (S::Running, Some(7), true));
}

#[test]
fn a_restart_or_stop_of_what_is_on_its_way_is_not_forgotten() {
    let policy = policy();
    let mut life = Life::new();
    assert_eq!(life.on(Event::Start, 0, &policy, || 0.5), Step::Spawn);
    life.asked_for(0);
    // What comes has the old definition.
    assert_eq!(life.on(Event::Restart, 1, &policy, || 0.5), Step::Nothing);
    assert_eq!(life.clone().on(Event::SpawnFailed("gone"), 2, &policy, || 0.5), Step::Spawn);
    let of_next_master = Life::restore(&life.save(2), Some(2), &policy, 2);
    assert_eq!((of_next_master.state(), of_next_master.wanted()), (S::Stopping, true));
    assert_eq!(life.on(Event::Spawned, 2, &policy, || 0.5), Step::Stop);
    assert_eq!(life.on(Event::Exited(How::Killed(2)), 3, &policy, || 0.5), Step::Spawn);
    assert_eq!((life.asked_restarts(), life.unstable()), (1, 0));
    // A stop outlives the master, too.
    life.asked_for(4);
    assert_eq!(life.on(Event::Stop, 5, &policy, || 0.5), Step::Nothing);
    let of_next_master = Life::restore(&life.save(5), Some(5), &policy, 5);
    assert_eq!((of_next_master.state(), of_next_master.wanted()), (S::Stopping, false));
}

#[test]
fn the_end_of_a_pause_is_no_deadline_of_the_process_that_a_next_master_finds() {
    let policy = Policy { restart_delay: Some(Duration::from_secs(1)), ..policy() };
    let mut life = Life::new();
    assert_eq!(life.on(Event::Start, 0, &policy, || 0.5), Step::Spawn);
    assert_eq!(life.on(Event::SpawnFailed("no"), 0, &policy, || 0.5), Step::Nothing);
    assert_eq!(Life::restore(&life.save(0), Some(1), &policy, 2).wake_at(), None);
    let waits = Policy { needs_ready: true, ..policy };
    assert_eq!(Life::restore(&life.save(0), Some(1), &waits, 2).wake_at(), Some(2 + 3000 * MS));
}

#[test]
fn one_that_has_to_be_replaced_again_and_again_is_slowed_down_and_not_given_up() {
    let policy = policy();
    let (mut life, mut now, mut starts) = (Life::new(), 0, 0);
    let mut step = life.on(Event::Start, now, &policy, || 0.5);
    while now < 600_000 * MS {
        if step == Step::Spawn {
            starts += 1;
            assert_eq!(life.on(Event::Spawned, now, &policy, || 0.5), Step::Nothing);
            now += 200 * MS;
            assert_eq!(life.on(Event::Fail("too large"), now, &policy, || 0.5), Step::Stop);
            step = life.on(Event::Exited(How::Killed(2)), now, &policy, || 0.5);
        } else {
            now = life.wake_at().unwrap();
            step = life.on(Event::Due, now, &policy, || 0.5);
        }
    }
    assert!((40..60).contains(&starts), "{starts}");
    assert!(life.unstable() == 0 && life.restarts() >= starts - 1);
    assert_eq!(life.reason(), Some("too large"));
}
