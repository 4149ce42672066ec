//! Lives beside a model of them: what happens to a worker is kept as a history, and what is to be true of it is worked
//! out from that, without its states.

mod history;

use proptest::prelude::*;

use super::*;
use history::{Model, Process};

/// What happens. What cannot happen then is given all the same, and must change nothing.
#[derive(Debug, Clone)]
enum Do {
    Start,
    Stop,
    Restart,
    Ready,
    Exit(How),
    Fail,
    /// The zygote has the order, and will answer.
    Order,
    Spawned,
    SpawnFailed,
    Wait(u64),
    /// To the time that it wants to be woken at.
    Sleep,
    /// Another master takes over; what was on its way came up meanwhile, or not.
    Handover(bool),
}

fn anything() -> impl Strategy<Value = Do> {
    let how = prop_oneof![(0..4i32).prop_map(How::Exited), Just(How::Killed(9)), Just(How::Dumped(11))];
    prop_oneof![
        2 => Just(Do::Start),
        1 => Just(Do::Stop),
        1 => Just(Do::Restart),
        2 => Just(Do::Ready),
        6 => how.prop_map(Do::Exit),
        1 => Just(Do::Fail),
        2 => Just(Do::Order),
        6 => Just(Do::Spawned),
        1 => Just(Do::SpawnFailed),
        4 => (0..2000u64).prop_map(Do::Wait),
        1 => (0..40_000u64).prop_map(Do::Wait),
        5 => Just(Do::Sleep),
        1 => any::<bool>().prop_map(Do::Handover),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let ms = Duration::from_millis;
    (
        prop_oneof![4 => Just(true), 1 => Just(false)],
        prop_oneof![Just(vec![]), Just(vec![0, 3])],
        prop_oneof![Just(ms(0)), Just(ms(1000)), Just(ms(40_000))],
        prop_oneof![Just(0), Just(1), Just(3), Just(16)],
        prop_oneof![2 => Just(None), 1 => Just(Some(ms(70)))],
        prop_oneof![2 => Just(None), 1 => Just(Some(ms(100))), 1 => Just(Some(ms(60_000)))],
        any::<bool>(),
    )
        .prop_map(
            move |(autorestart, stop_exit_codes, min_uptime, max_restarts, restart_delay, exp_backoff, needs_ready)| {
                Policy {
                    autorestart,
                    stop_exit_codes,
                    min_uptime,
                    max_restarts,
                    restart_delay,
                    exp_backoff,
                    needs_ready,
                    ready_timeout: ms(3000),
                }
            },
        )
}

fn event(what: &Do) -> Option<Event<'static>> {
    Some(match what {
        Do::Start => Event::Start,
        Do::Stop => Event::Stop,
        Do::Restart => Event::Restart,
        Do::Ready => Event::Ready,
        Do::Exit(how) => Event::Exited(*how),
        Do::Fail => Event::Fail("too large"),
        Do::Spawned => Event::Spawned,
        Do::SpawnFailed => Event::SpawnFailed("no such program"),
        Do::Order | Do::Wait(_) | Do::Sleep | Do::Handover(_) => return None,
    })
}

/// A life, its model, the time, and the random numbers.
struct Pair {
    life: Life,
    model: Model,
    now: u64,
    policy: Policy,
    random: f64,
}

impl Pair {
    fn new(policy: Policy, random: f64) -> Pair {
        Pair { life: Life::new(), model: Model::default(), now: 1, policy, random }
    }

    fn go(&mut self, what: &Do) -> Result<(), TestCaseError> {
        match what {
            Do::Wait(ms) => self.now += ms * MS,
            Do::Sleep => self.now = self.life.wake_at().unwrap_or(self.now).max(self.now),
            Do::Handover(came) => return self.hand_over(*came),
            Do::Order => self.life.asked_for(self.now),
            // No process can end that has not been asked for.
            Do::Exit(_) if self.model.process == Process::Coming(None) => return Ok(()),
            _ => {}
        }
        let expected = self.model.on(what, self.now, &self.policy);
        if let Some(event) = event(what) {
            let random = self.random;
            prop_assert_eq!(self.life.on(event, self.now, &self.policy, || random), expected, "{:?}", what);
        }
        self.alike(what)?;
        // Time is served at once, and for nothing where nobody asked for it.
        let at = self.life.wake_at();
        let random = self.random;
        let step = self.life.on(Event::Due, self.now, &self.policy, || random);
        let expected = if at.is_some_and(|at| at <= self.now) { self.model.due() } else { Step::Nothing };
        prop_assert_eq!(step, expected, "due after {:?}", what);
        self.alike(what)
    }

    fn alike(&self, what: &Do) -> Result<(), TestCaseError> {
        let (life, model) = (&self.life, &self.model);
        prop_assert_eq!(life.state(), model.state(), "after {:?}", what);
        prop_assert_eq!(life.wanted(), model.wanted, "after {:?}", what);
        prop_assert_eq!((life.restarts(), life.asked_restarts()), (model.restarts, model.asked), "after {:?}", what);
        prop_assert_eq!(life.unstable(), model.failures, "after {:?}", what);
        let since = if let Process::Up(since) = model.process { Some(since) } else { None };
        prop_assert_eq!(life.started_at(), since, "after {:?}", what);
        match (life.wake_at(), model.wake) {
            (None, None) => {}
            (Some(at), Some((least, most))) => prop_assert!((least..=most).contains(&at), "{at} after {what:?}"),
            other => prop_assert!(false, "woken at {other:?} after {what:?}"),
        }
        if matches!(life.state(), S::Backoff | S::Exited | S::Fatal) {
            prop_assert!(life.reason().is_some_and(|why| !why.is_empty()));
        }
        Ok(())
    }

    /// A master that follows: it finds the process, or starts what is wanted and is not there.
    fn hand_over(&mut self, came: bool) -> Result<(), TestCaseError> {
        let saved = serde_json::to_string(&self.life.save(self.now)).unwrap();
        let saved = serde_json::from_str(&saved).unwrap();
        let what = Do::Handover(came);
        if let Process::Coming(_) = self.model.process {
            if came {
                // What is to be told to end has the state for it: that is all its new master looks at.
                let stops = self.model.up(self.now, &self.policy) == Step::Stop;
                prop_assert_eq!(stops, self.model.state() == S::Stopping);
            } else {
                (self.model.process, self.model.redo) = (Process::None, false);
            }
        }
        let running = if let Process::Up(since) = self.model.process { Some(since) } else { None };
        self.life = Life::restore(&saved, running, &self.policy, self.now);
        if self.life.state() == S::Stopped && self.life.wanted() {
            self.model.forgive();
            let expected = self.model.come();
            prop_assert_eq!(self.life.on(Event::Start, self.now, &self.policy, || 0.5), expected);
        }
        self.alike(&what)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_life_is_what_its_model_says(
        steps in proptest::collection::vec(anything(), 1..150),
        policy in policies(),
        random in 0.0..=1.0f64,
    ) {
        let mut pair = Pair::new(policy, random);
        for what in &steps {
            pair.go(what)?;
        }
        // Left to itself, what is wanted and has not been given up comes up, and what is not stays down.
        if matches!(pair.model.process, Process::Up(_)) {
            pair.go(&Do::Stop)?;
            pair.go(&Do::Exit(How::Exited(0)))?;
            prop_assert_eq!(pair.life.state(), S::Stopped);
        }
        let down = !pair.life.wanted() || matches!(pair.life.state(), S::Fatal | S::Exited);
        if let Some(at) = pair.life.wake_at() {
            prop_assert!(!down && at <= pair.now + 15_000 * MS, "a pause beyond the longest");
        }
        for _ in 0..3 {
            pair.go(&Do::Sleep)?;
        }
        prop_assert_eq!(pair.life.state() == S::Starting, !down || pair.model.process != Process::None);
    }

    /// Fatal is for failed starts in a row, and for as many as were allowed.
    #[test]
    fn one_good_life_and_the_count_begins_anew(before in 0..16u32, lives in proptest::collection::vec(0..4u64, 0..64)) {
        let policy = policy();
        let mut pair = Pair::new(policy.clone(), 0.5);
        pair.go(&Do::Start)?;
        let mut row = 0;
        for seconds in std::iter::repeat_n(0, before as usize).chain(lives) {
            if pair.life.state() == S::Fatal {
                break;
            }
            pair.go(&Do::Sleep)?;
            pair.go(&Do::Spawned)?;
            pair.go(&Do::Wait(seconds * 1000))?;
            pair.go(&Do::Exit(How::Exited(1)))?;
            row = if seconds == 0 { row + 1 } else { 0 };
            prop_assert_eq!(pair.life.state() == S::Fatal, row == policy.max_restarts);
        }
    }
}
