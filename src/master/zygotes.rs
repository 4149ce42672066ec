//! Warm processes: bringing them up, noticing that they hang or die, replacing them.
//!
//! A zygote that dies is followed by the next generation, which goes on reading the same orders: none that was
//! not taken is lost, and none is taken twice. A preload that fails is tried again after a pause that
//! grows; meanwhile `run` is answered with what the preload said. A reload brings the new generation up on
//! orders of its own, and only when it is ready they become the pool's.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use slog::{error, info, warn};

use super::Master;
use super::runs::{Asker, Form};
use super::sources::Source;
use super::timers::Timer;
use crate::pool::{self, Generation, Orders, send_order};
use crate::sys::clock::monotonic_ns;
use crate::sys::reap::How;
use crate::wire::channel::{ErrorObject, Order, ReadyInfo};
use crate::wire::control::ToKeeper;
use crate::wire::rpc::RpcError;

const SIGKILL: i32 = 9;
/// A zygote that has served for longer than this is replaced at once when it dies, however often that happens.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// How many short lives in a row make the pool one that is down.
const DEATHS: u32 = 5;

impl Master {
    /// Brings up the next generation on the pool's own orders.
    pub(super) fn load(&mut self, index: usize) {
        if self.stopping()
            || self.fostered
            || self.pools[index].current().is_some()
            || self.pools[index].loading().is_some()
        {
            return;
        }
        if let Err(e) = self.bring_up(index, None) {
            self.load_failed(index, e);
        }
    }

    /// Starts generation n + 1; with `orders` on these, else on the pool's. Returns its number.
    fn bring_up(&mut self, index: usize, orders: Option<Orders>) -> Result<u32, String> {
        let pool = &mut self.pools[index];
        let number = pool.last_number + 1;
        let started = pool::start(&pool.definition, number, orders.as_ref().unwrap_or(&pool.orders), &pool.outlets)
            .map_err(|e| e.to_string())?;
        pool.last_number = number;
        info!(self.log, "zygote started"; "pool" => &pool.definition.name, "generation" => number, "pid" => started.pid);
        let timeout = pool.definition.preload_timeout;
        let name = replies_name(&pool.definition.name, number);
        let fd = started.replies.as_fd().as_raw_fd();
        pool.generations.push(Generation {
            number,
            replies: started.replies,
            pidfds: started.pidfds,
            their_end: started.their_end,
            zygote: Some((started.pid, started.handle)),
            ready: None,
            started_at: monotonic_ns(),
            preload_timer: None,
            preload_ms: None,
            memory: None,
            fork_us: None,
            orders,
            live: 0,
            retired: false,
            silent: false,
        });
        let token = self.sources.add(Source::Replies { pool: index, generation: number });
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            return Err(format!("watching the zygote: {e}"));
        }
        let timer = self.timers.after(timeout, Timer::Preload { pool: index, generation: number });
        if let Some(g) = self.pools[index].generations.last_mut() {
            g.preload_timer = Some(timer);
            let message = ToKeeper::Store(name);
            super::keeping::keep(&self.keeper, &message, Some(g.replies.as_fd()), &self.log);
        }
        Ok(number)
    }

    /// A zygote is ready for orders.
    pub(super) fn zygote_ready(&mut self, index: usize, number: u32, ready: ReadyInfo) {
        let pool = &mut self.pools[index];
        let Some(g) = pool.generation(number) else { return };
        if g.retired || g.ready.is_some() {
            return;
        }
        let ms = (monotonic_ns() - g.started_at) / 1_000_000;
        g.preload_ms = Some(ms);
        self.timers.cancel(g.preload_timer.take());
        for warning in &ready.warnings {
            warn!(self.log, "the kit warns"; "pool" => &pool.definition.name, "warning" => warning);
        }
        info!(self.log, "zygote ready"; "pool" => &pool.definition.name, "generation" => number, "runtime" => &ready.runtime, "ms" => ms);
        let pool = &mut self.pools[index];
        let Some(g) = pool.generation(number) else { return };
        g.ready = Some(ready);
        if let Some(orders) = g.orders.take() {
            // The reload has worked: what the old one has been told already it does, then it leaves.
            let old = std::mem::replace(&mut pool.orders, orders);
            if let Err(e) = send_order(old.ours.as_fd(), Order::Retire, 0, 0) {
                warn!(self.log, "telling the old zygote to leave"; "error" => %e);
            }
            for g in pool.generations.iter_mut().filter(|g| g.number != number) {
                g.retired = true;
            }
            self.dismiss_all_idle(index);
            self.keep_orders(index);
        }
        let pool = &mut self.pools[index];
        pool.current = Some(number);
        // What its predecessor has left unread it has had no time for yet.
        pool.unread = None;
        pool.error = None;
        pool.down = false;
        self.pool_event(index);
        self.reload_done(index, number, Ok(()));
        self.release_held();
        self.busy(index);
    }

    /// The pool's orders, for the next master.
    pub(super) fn keep_orders(&mut self, index: usize) {
        let pool = &self.pools[index];
        let name = &pool.definition.name;
        for (end, fd) in [("ours", pool.orders.ours.as_fd()), ("theirs", pool.orders.theirs.as_fd())] {
            let message = ToKeeper::Store(format!("orders/{name}/{end}"));
            super::keeping::keep(&self.keeper, &message, Some(fd), &self.log);
        }
    }

    /// A preload ended with an error; the zygote's exit follows.
    pub(super) fn preload_failed(&mut self, index: usize, number: u32, e: &ErrorObject<'_>) {
        let text = format!("the preload failed: {}: {}", e.class, e.message);
        self.give_up_loading(index, number, text);
    }

    /// A preload took too long.
    pub(super) fn preload_timeout(&mut self, index: usize, number: u32) {
        let timeout = self.pools[index].definition.preload_timeout;
        let waiting = self.pools[index].generation(number).is_some_and(|g| g.ready.is_none() && g.zygote.is_some());
        if waiting {
            self.give_up_loading(index, number, format!("the preload took longer than {timeout:?} (preload_timeout)"));
        }
    }

    /// That generation will not get ready, for this reason.
    fn give_up_loading(&mut self, index: usize, number: u32, why: String) {
        let Some(g) = self.pools[index].generation(number) else { return };
        if g.retired {
            return;
        }
        g.retired = true;
        let reload = g.orders.take().is_some();
        if let Some((_, handle)) = &g.zygote {
            let _ = handle.send(SIGKILL); // it may have gone already
        }
        if reload {
            error!(self.log, "reload failed; the old generation stays"; "pool" => &self.pools[index].definition.name, "why" => &why);
            self.pools[index].error = Some(format!("the latest reload failed: {why}"));
        } else {
            self.load_failed(index, why.clone());
        }
        self.reload_done(index, number, Err(why));
    }

    /// No zygote: whoever waits for one is told why, and it is tried again after a pause.
    fn load_failed(&mut self, index: usize, why: String) {
        let pool = &mut self.pools[index];
        let pause = pool.reload_backoff.failed();
        pool.down = true;
        error!(self.log, "no zygote"; "pool" => &pool.definition.name, "why" => &why, "next_try_ms" => pause.as_millis() as u64);
        pool.error = Some(why.clone());
        self.timers.after(pause, Timer::Load { pool: index });
        let name = pool.definition.name.clone();
        self.pool_event(index);
        let pool = &self.pools[index];
        let waiting: Vec<u32> = pool.admission.waiting().collect();
        self.release_held();
        for slot in waiting {
            if self.runs.live(slot).is_some_and(|live| !live.told) {
                let text = format!("pool \"{name}\" cannot run anything now: {why}");
                self.fail_start(slot, &RpcError::pool_unavailable(text));
            }
        }
    }

    /// A zygote has ended: by our order, or not.
    pub(super) fn zygote_died(&mut self, index: usize, number: u32, how: How) {
        // What it said before it died has been read in this turn of the loop, or is read now.
        self.replies(index, number);
        let pool = &mut self.pools[index];
        let Some(g) = pool.generation(number) else { return };
        g.zygote = None;
        let lived = Duration::from_nanos(monotonic_ns() - g.started_at);
        let (was_ready, retired) = (g.ready.is_some(), g.retired);
        g.retired = true;
        let reload = g.orders.take().is_some();
        let silent = g.silent;
        // Those of one that a reload has replaced were others than the pool's.
        if pool.current == Some(number) {
            self.divide_orders(index, number);
        }
        if silent {
            self.send_lost_again(index, number);
        }
        let how = how.to_string();
        self.drop_if_done(index, number);
        if retired || self.stopping() {
            return;
        }
        let log = self.options.dirs.logs().join(format!("{}-error.log", self.pools[index].definition.name));
        if was_ready {
            warn!(self.log, "the zygote died; starting the next generation"; "pool" => &self.pools[index].definition.name, "how" => &how);
            let pool = &mut self.pools[index];
            pool.error = Some(format!("the zygote died ({how})"));
            if lived > SHORT_LIFE {
                pool.reload_backoff.worked();
            }
            if pool.reload_backoff.failures() < DEATHS {
                // At once for the first time; the next deaths without any life in between wait their time, and so do the runs.
                let first = pool.reload_backoff.failures() == 0;
                let pause = pool.reload_backoff.failed();
                let pause = if first { Duration::ZERO } else { pause };
                self.timers.after(pause, Timer::Load { pool: index });
            } else {
                self.load_failed(index, format!("the zygote died ({how}) {lived:?} after its start"));
            }
        } else {
            let why = format!("the zygote ended before it was ready ({how}); what it printed is in {}", log.display());
            if reload {
                self.pools[index].error = Some(format!("the latest reload failed: {why}"));
            } else {
                self.load_failed(index, why.clone());
            }
            self.reload_done(index, number, Err(why));
        }
    }

    /// One fewer run belongs to that generation.
    pub(super) fn generation_lost_one(&mut self, index: usize, number: u32) {
        if let Some(g) = self.pools[index].generation(number) {
            g.live = g.live.saturating_sub(1);
            self.drop_if_done(index, number);
        }
    }

    /// A generation without zygote and runs is gone.
    pub(super) fn drop_if_done(&mut self, index: usize, number: u32) {
        let pool = &mut self.pools[index];
        if !pool.is_done(number) {
            return;
        }
        let Some(at) = pool.generations.iter().position(|g| g.number == number) else { return };
        let g = pool.generations.remove(at);
        let _ = self.poll.registry().deregister(&mut SourceFd(&g.replies.as_fd().as_raw_fd()));
        let name = replies_name(&self.pools[index].definition.name, number);
        self.tell_keeper(&ToKeeper::Drop(name), None);
    }

    /// `reload`: answered when the new generation is ready, or will not be.
    pub(super) fn reload(&mut self, asker: Asker, index: usize) {
        let name = self.pools[index].definition.name.clone();
        if self.reloads.iter().any(|(i, _, _)| *i == index) {
            let text = format!("pool \"{name}\" is being reloaded already");
            return self.refuse(asker, &RpcError::reload_failed(text));
        }
        if self.pools[index].current().is_none() {
            // There is nothing to be replaced: try at once, whatever pause was meant to be.
            let loading = self.pools[index].loading().map(|g| g.number);
            let number = match loading {
                Some(number) => Ok(number),
                None => self.bring_up(index, None),
            };
            match number {
                Ok(number) => self.reloads.push((index, number, asker)),
                Err(why) => {
                    self.refuse(asker, &RpcError::reload_failed(why.clone()));
                    self.pool_reloaded(index, &Err(why));
                }
            }
            return;
        }
        let orders = Orders::new().map_err(|e| format!("making a channel: {e}"));
        match orders.and_then(|orders| self.bring_up(index, Some(orders))) {
            Ok(number) => self.reloads.push((index, number, asker)),
            Err(why) => {
                self.refuse(asker, &RpcError::reload_failed(format!("pool \"{name}\": {why}")));
                self.pool_reloaded(index, &Err(why));
            }
        }
    }

    fn reload_done(&mut self, index: usize, number: u32, outcome: Result<(), String>) {
        self.pool_reloaded(index, &outcome);
        self.answer_reload(index, number, outcome);
        self.load_anew_if_outdated(index);
    }

    fn answer_reload(&mut self, index: usize, number: u32, outcome: Result<(), String>) {
        let Some(at) = self.reloads.iter().position(|(i, n, _)| (*i, *n) == (index, number)) else { return };
        let (_, _, asker) = self.reloads.swap_remove(at);
        match outcome {
            Ok(()) if matches!(asker.form, Form::Silent) => {}
            Ok(()) => {
                let info = self.pool_info(index);
                self.answer(asker, &info);
            }
            Err(why) => {
                let pool = &self.pools[index];
                let stays = if pool.current().is_some() { "; the old generation stays" } else { "" };
                let error = RpcError::reload_failed(format!("pool \"{}\": {why}{stays}", pool.definition.name));
                self.refuse(asker, &error);
            }
        }
    }
}

/// The name of a reply channel in the keeper's store.
pub(super) fn replies_name(pool: &str, generation: u32) -> String {
    format!("replies/{pool}/{generation}")
}
