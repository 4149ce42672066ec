//! `apps.…`: what administrators ask of workers.

use super::super::Master;
use super::super::orphaned::NO_KEEPER;
use super::super::runs::Asker;
use crate::wire::request::{Apps, Target, Targets};
use crate::wire::rpc::RpcError;

pub(super) fn obey(master: &mut Master, asker: Asker, request: Apps) {
    let changes = !matches!(request, Apps::List { .. } | Apps::Describe { .. } | Apps::Env { .. });
    if changes && master.stopping() {
        return master.refuse(asker, &RpcError::shutting_down("the daemon is shutting down; nothing is changed"));
    }
    // Stopping and deleting need no keeper; a worker that is to start would wait for one.
    let starts = match &request {
        Apps::Define(define) => !define.dry_run,
        Apps::Start { .. } | Apps::Restart { .. } | Apps::Reload { .. } | Apps::Scale { .. } | Apps::Resurrect => true,
        _ => false,
    };
    if starts && master.fostered {
        return master.refuse(asker, &RpcError::start_failed(NO_KEEPER));
    }
    match request {
        Apps::List { target } => {
            let all = target.unwrap_or_else(|| Targets(vec![Target::All]));
            with(master, asker, &all, |master, asker, ids| master.answer_workers(asker, &ids));
        }
        Apps::Describe { target } => with(master, asker, &target, |master, asker, ids| master.describe(asker, &ids)),
        Apps::Env { target } => with(master, asker, &target, env),
        Apps::Define(define) => master.define(asker, define),
        Apps::Start { target, env } => with_staying(master, asker, &target, |master, asker, ids| match env {
            // A new environment needs a new process.
            Some(env) => {
                master.update_env(&ids, env);
                master.restart_apps(asker, ids);
            }
            None => master.start_apps(asker, ids),
        }),
        Apps::Stop { target } => with(master, asker, &target, Master::stop_apps),
        Apps::Restart { target, env } => with_staying(master, asker, &target, |master, asker, ids| {
            if let Some(env) = env {
                master.update_env(&ids, env);
            }
            master.restart_apps(asker, ids);
        }),
        Apps::Reload { target } => with_staying(master, asker, &target, Master::reload_apps),
        Apps::Delete { target } => with(master, asker, &target, Master::delete_apps),
        Apps::Reset { target } => with(master, asker, &target, Master::reset_apps),
        Apps::Signal { target, signal } => {
            with(master, asker, &target, |master, asker, ids| master.signal_apps(asker, ids, signal));
        }
        Apps::Scale { name, to } => master.scale(asker, &name, &to),
        Apps::Save => {
            master.save_list();
            let all = Targets(vec![Target::All]);
            with(master, asker, &all, Master::answer_when_saved);
        }
        Apps::Resurrect => master.resurrect_apps(asker),
    }
}

/// Does it with the workers that are meant.
fn with(master: &mut Master, asker: Asker, targets: &Targets, act: impl FnOnce(&mut Master, Asker, Vec<u32>)) {
    match master.workers_of(targets, false) {
        Ok(ids) => act(master, asker, ids),
        Err(e) => master.refuse(asker, &e),
    }
}

/// The same without those that are being removed: they are not to be had back by their names.
fn with_staying(master: &mut Master, asker: Asker, targets: &Targets, act: impl FnOnce(&mut Master, Asker, Vec<u32>)) {
    match master.workers_of(targets, true) {
        Ok(ids) => act(master, asker, ids),
        Err(e) => master.refuse(asker, &e),
    }
}

fn env(master: &mut Master, asker: Asker, ids: Vec<u32>) {
    match ids.first().and_then(|id| master.env_of(*id)) {
        Some(env) => master.answer(asker, &env),
        None => master.refuse(asker, &RpcError::app_not_found("there are no workers")),
    }
}
