//! Lives beside a model of them: what happens to a worker is kept as a history, and what is to be true of it is worked
//! out from that, without its states.

use proptest::prelude::*;

use super::*;

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

/// The process of a worker, as its keeper knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Process {
    None,
    /// To be started, or, since a time, on its way: asked for of somebody who answers later.
    Coming(Option<u64>),
    Up(u64),
}

/// Why a process was told to end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Asked,
    NotReady,
    Failed,
}

/// What has happened so far.
#[derive(Debug)]
struct Model {
    wanted: bool,
    process: Process,
    told: Option<Told>,
    /// Its process is on its way, and a restart was asked for meanwhile.
    redo: bool,
    ready: bool,
    /// Failed starts since the last good one.
    failures: u32,
    /// Pauses since the last long life.
    tries: i32,
    /// It is not to be tried again: fatal, or else exited.
    given_up: Option<bool>,
    restarts: u64,
    asked: u64,
    /// Bounds of the time at which it is to be woken.
    wake: Option<(u64, u64)>,
}

impl Model {
    fn state(&self) -> S {
        match (self.process, self.told, self.given_up) {
            (Process::Up(_), Some(_), _) => S::Stopping,
            (Process::Up(_), None, _) if self.ready => S::Ready,
            (Process::Up(_), None, _) => S::Running,
            (Process::Coming(_), ..) => S::Starting,
            (Process::None, _, Some(true)) => S::Fatal,
            (Process::None, _, Some(false)) => S::Exited,
            (Process::None, ..) if self.wanted => S::Backoff,
            (Process::None, ..) => S::Stopped,
        }
    }

    fn forgive(&mut self) {
        (self.failures, self.tries, self.given_up) = (0, 0, None);
    }

    fn come(&mut self) -> Step {
        (self.process, self.told, self.redo, self.ready, self.wake) = (Process::Coming(None), None, false, false, None);
        Step::Spawn
    }

    fn tell(&mut self, why: Told) -> Step {
        (self.told, self.wake) = (Some(why), None);
        Step::Stop
    }

    fn up(&mut self, now: u64, policy: &Policy) -> Step {
        self.process = Process::Up(now);
        if !self.wanted || self.redo {
            return self.tell(Told::Asked);
        }
        self.wake = policy.needs_ready.then(|| now + 3000 * MS).map(|at| (at, at));
        Step::Nothing
    }

    /// Its process is gone, as somebody wanted.
    fn gone(&mut self) -> Step {
        self.forgive();
        (self.process, self.told, self.redo, self.ready, self.wake) = (Process::None, None, false, false, None);
        if self.wanted { self.come() } else { Step::Nothing }
    }

    /// Its process is gone, and nobody wanted that.
    fn lost(&mut self, failed: bool, for_good: bool, now: u64, policy: &Policy) -> Step {
        (self.process, self.told, self.ready, self.wake) = (Process::None, None, false, None);
        self.failures += u32::from(failed);
        if for_good {
            self.given_up = Some(false);
        } else if failed && self.failures >= policy.max_restarts {
            self.given_up = Some(true);
        }
        if self.given_up.is_some() {
            return Step::Nothing;
        }
        let ms = 1e6;
        let (least, most) = match (policy.restart_delay, policy.exp_backoff) {
            (Some(_), _) => (70.0 * ms, 70.0 * ms),
            (None, Some(first)) => {
                let wait = (first.as_secs_f64() * 1e9 * 1.5f64.powi(self.tries)).min(15e9);
                (wait, wait)
            }
            (None, None) if self.tries == 0 => (0.0, 0.0),
            (None, None) => {
                let wait = (100.0 * ms * 1.5f64.powi(self.tries - 1)).min(15e9);
                (wait * 0.8, (wait * 1.2).min(15e9))
            }
        };
        self.tries += 1;
        if most == 0.0 {
            self.restarts += 1;
            return self.come();
        }
        // Halves of ns are lost on the way.
        self.wake = Some((now + least as u64 - 100, now + most as u64 + 100));
        Step::Nothing
    }

    /// What is to follow.
    fn on(&mut self, what: &Do, now: u64, policy: &Policy) -> Step {
        let up = matches!(self.process, Process::Up(_)) && self.told.is_none();
        match (what, self.process) {
            (Do::Start, Process::None) => {
                self.wanted = true;
                self.forgive();
                self.come()
            }
            (Do::Restart, Process::None) => {
                self.wanted = true;
                self.asked += 1;
                self.forgive();
                self.come()
            }
            (Do::Start, _) => {
                self.wanted = true;
                Step::Nothing
            }
            (Do::Restart, Process::Up(_)) => {
                let doubled = self.wanted && self.told == Some(Told::Asked);
                self.wanted = true;
                self.asked += u64::from(!doubled);
                self.forgive();
                if self.told.replace(Told::Asked).is_none() { self.tell(Told::Asked) } else { Step::Nothing }
            }
            (Do::Restart, Process::Coming(ordered)) => {
                let ordered = ordered.is_some();
                let doubled = self.wanted && self.redo;
                self.wanted = true;
                self.asked += u64::from(ordered && !doubled);
                self.redo |= ordered;
                self.forgive();
                Step::Nothing
            }
            (Do::Stop, Process::Up(_)) => {
                self.wanted = false;
                if self.told.replace(Told::Asked).is_none() { self.tell(Told::Asked) } else { Step::Nothing }
            }
            (Do::Stop, Process::Coming(Some(_))) => {
                self.wanted = false;
                Step::Nothing
            }
            (Do::Stop, _) => {
                self.wanted = false;
                self.gone()
            }
            (Do::Order, Process::Coming(_)) => {
                self.process = Process::Coming(Some(now));
                Step::Nothing
            }
            (Do::Spawned, Process::Coming(_)) => self.up(now, policy),
            (Do::SpawnFailed, Process::Coming(_)) if !self.wanted || self.redo => self.gone(),
            (Do::SpawnFailed, Process::Coming(_)) => self.lost(true, !policy.autorestart, now, policy),
            (Do::Ready, _) if up && !self.ready => {
                (self.ready, self.wake) = (true, None);
                Step::Nothing
            }
            (Do::Fail, _) if up => self.tell(Told::Failed),
            // Its end may be known before its start.
            (Do::Exit(how), Process::Up(since) | Process::Coming(Some(since))) => {
                if !self.wanted || self.redo || self.told == Some(Told::Asked) {
                    return self.gone();
                }
                if self.told == Some(Told::NotReady) {
                    return self.lost(true, !policy.autorestart, now, policy);
                }
                let good = Duration::from_nanos(now - since) >= policy.min_uptime;
                let failed = self.told.is_none() && !good;
                let code = matches!(how, How::Exited(code) if policy.stop_exit_codes.contains(code));
                let for_good = self.told.is_none() && (code || !policy.autorestart);
                if for_good {
                    self.given_up = Some(false);
                    (self.process, self.ready, self.wake) = (Process::None, false, None);
                    return Step::Nothing;
                }
                if good {
                    self.failures = 0;
                }
                if now - since >= 30_000 * MS {
                    self.tries = 0;
                }
                self.lost(failed, false, now, policy)
            }
            _ => Step::Nothing,
        }
    }

    /// Its time has come.
    fn due(&mut self) -> Step {
        if self.process == Process::None {
            self.restarts += 1;
            return self.come();
        }
        self.tell(Told::NotReady)
    }
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
        let model = Model {
            wanted: false,
            process: Process::None,
            told: None,
            redo: false,
            ready: false,
            failures: 0,
            tries: 0,
            given_up: None,
            restarts: 0,
            asked: 0,
            wake: None,
        };
        Pair { life: Life::new(), model, now: 1, policy, random }
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
