//! Clients that are told of things as they happen: lines of output, and events.
//!
//! What waits for a client has a bound. Whoever reads too slowly misses something and is told how much, in a `gap`
//! before the next thing that reaches it; nobody else waits for it.

use std::collections::HashMap;

use mio::Token;
use serde::Serialize;

use super::Master;
use super::handing::kind_number;
use crate::handover;
use crate::logs::{Kind, Stream};
use crate::sys::clock::wall_ns;
use crate::wire::apps::{Event, Gap, LogLine};
use crate::wire::request::{EventFilter, Target, Targets};
use crate::wire::rpc;
use crate::wire::status::Timestamp;

/// What may wait for a client before it misses something, in bytes.
const ENOUGH: usize = 256 * 1024;

/// What one client wants to know.
#[derive(Debug, Default)]
struct Subscription {
    events: Option<EventFilter>,
    logs: Option<Followed>,
    /// Notifications that it has missed since the last gap it was told of.
    lost: u64,
}

/// Whose output.
#[derive(Debug)]
pub struct Followed {
    /// None: everybody's.
    pub targets: Option<Targets>,
    /// None: both.
    pub kind: Option<Kind>,
}

impl Followed {
    /// Whether that stream is among it.
    pub fn has(&self, stream: &Stream) -> bool {
        let namespace = stream.namespace.as_deref();
        self.kind.is_none_or(|kind| kind == stream.kind)
            && self.targets.as_ref().is_none_or(|targets| targets.matches(&stream.name, namespace, stream.worker))
    }
}

/// All clients that want to know something.
#[derive(Debug, Default)]
pub struct Subscriptions(HashMap<Token, Subscription>);

impl Subscriptions {
    /// Whether nobody wants to know anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody wants the lines of that stream.
    pub fn follow(&self, stream: &Stream) -> bool {
        self.0.values().any(|s| s.logs.as_ref().is_some_and(|followed| followed.has(stream)))
    }
}

impl Subscriptions {
    /// What the next master has to know of that client's.
    pub fn carried(&self, token: Token) -> Option<handover::Subscription> {
        let texts = |targets: &Option<Targets>| {
            targets.as_ref().map(|targets| targets.0.iter().map(ToString::to_string).collect::<Vec<String>>())
        };
        self.0.get(&token).map(|s| handover::Subscription {
            events: s.events.as_ref().map(|filter| (filter.kinds.clone(), texts(&filter.targets))),
            logs: s.logs.as_ref().map(|followed| (texts(&followed.targets), kind_number(followed.kind))),
            lost: s.lost,
        })
    }

    /// Goes on telling that client.
    pub fn resume(&mut self, token: Token, from: handover::Subscription) {
        // They have been read once already, by the same rules.
        let targets = |texts: Option<Vec<String>>| {
            texts.map(|texts| Targets(texts.iter().filter_map(|text| Target::parse(text).ok()).collect()))
        };
        let kind = |number| [Kind::Out, Kind::Err].into_iter().find(|kind| kind_number(Some(*kind)) == number);
        let subscription = Subscription {
            events: from.events.map(|(kinds, texts)| EventFilter { kinds, targets: targets(texts) }),
            logs: from.logs.map(|(texts, number)| Followed { targets: targets(texts), kind: kind(number) }),
            lost: from.lost,
        };
        self.0.insert(token, subscription);
    }
}

impl Master {
    /// From now on that client is told of the lines that come; instead of those it was told of before.
    pub(super) fn follow(&mut self, token: Token, followed: Followed) {
        if let Some(subscription) = self.subscription(token) {
            subscription.logs = Some(followed);
        }
        self.watch_streams();
    }

    /// From now on that client is told of these events.
    pub(super) fn subscribe(&mut self, token: Token, filter: EventFilter) {
        if let Some(subscription) = self.subscription(token) {
            subscription.events = Some(filter);
        }
    }

    fn subscription(&mut self, token: Token) -> Option<&mut Subscription> {
        self.sources.connection(token)?.subscribed = true;
        Some(self.subscriptions.0.entry(token).or_default())
    }

    /// That client has gone.
    pub(super) fn unsubscribe(&mut self, token: Token) {
        self.subscriptions.0.remove(&token);
        self.watch_streams();
    }

    /// What has become of a run.
    pub(super) fn run_event(&mut self, slot: u32) {
        if self.subscriptions.0.is_empty() {
            return;
        }
        let Some(status) = self.runs.status(&self.table, slot) else { return };
        let event = Event {
            kind: "run".into(),
            at: Timestamp(wall_ns()),
            name: status.pool.into_owned().into(),
            worker: None,
            run: Some(status.id.into_owned().into()),
            state: Some(status.state.as_str().into()),
            pid: status.pid,
            exit_code: status.exit_code,
            signal: status.signal,
            reason: status.error.map(|error| error.message.into_owned().into()),
        };
        self.notify_event(&event, None);
    }

    /// What has become of a pool.
    pub(super) fn pool_event(&mut self, index: usize) {
        if self.subscriptions.0.is_empty() {
            return;
        }
        let info = self.pool_info(index);
        let event = Event {
            kind: "pool".into(),
            at: Timestamp(wall_ns()),
            name: info.name.into(),
            worker: None,
            run: None,
            state: Some(info.state.to_string().into()),
            pid: info.zygote_pid,
            exit_code: None,
            signal: None,
            reason: info.error.map(Into::into),
        };
        self.notify_event(&event, None);
    }

    /// Tells all who want to know of it. `namespace`: of the app it is about.
    pub(super) fn notify_event(&mut self, event: &Event<'_>, namespace: Option<&str>) {
        let wants = |s: &Subscription| s.events.as_ref().is_some_and(|filter| filter.has(event, namespace));
        let tokens: Vec<Token> = self.subscriptions.0.iter().filter(|(_, s)| wants(s)).map(|(t, _)| *t).collect();
        self.notify(&tokens, "event", event);
    }

    /// Tells all who follow that stream of lines that have come.
    pub(super) fn tell_lines(&mut self, token: Token, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let at = Some(Timestamp(wall_ns()));
        let Some(stream) = self.sources.log(token).and_then(|pipe| pipe.stream()) else { return };
        let (name, worker, kind) = (stream.name.clone(), stream.worker, stream.kind);
        let wants = |s: &Subscription| s.logs.as_ref().is_some_and(|followed| followed.has(stream));
        let tokens: Vec<Token> = self.subscriptions.0.iter().filter(|(_, s)| wants(s)).map(|(t, _)| *t).collect();
        for text in lines {
            let text = text.into();
            let line = LogLine { name: (&*name).into(), worker, stream: kind.as_str().into(), at, text };
            self.notify(&tokens, "log", &line);
        }
    }

    fn notify<T: Serialize>(&mut self, tokens: &[Token], method: &str, params: &T) {
        let mut text = Vec::new();
        for &token in tokens {
            let Some(c) = self.sources.connection(token) else { continue };
            let Some(subscription) = self.subscriptions.0.get_mut(&token) else { continue };
            if c.unwritten() > ENOUGH {
                subscription.lost += 1;
                continue;
            }
            if subscription.lost > 0 {
                let gap = Gap { lost: std::mem::take(&mut subscription.lost) };
                c.answer(|out| rpc::write_notification(out, "gap", &gap));
            }
            if text.is_empty() {
                rpc::write_notification(&mut text, method, params);
            }
            c.answer(|out| out.extend_from_slice(&text));
            self.mark(token);
        }
    }

    /// That client has read everything: if something is missing it is told so now, and not only when there is more to tell.
    pub(super) fn tell_gap(&mut self, token: Token) {
        let Some(subscription) = self.subscriptions.0.get_mut(&token).filter(|s| s.lost > 0) else { return };
        let gap = Gap { lost: std::mem::take(&mut subscription.lost) };
        if let Some(c) = self.sources.connection(token) {
            c.answer(|out| rpc::write_notification(out, "gap", &gap));
            self.mark(token);
        }
    }
}
