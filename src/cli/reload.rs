//! `preforkd reload`: a new generation of pools, new processes of apps without a gap.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::terminal::{message, write_out};
use super::workers::{ByTarget, judge, show};
use super::{Client, Context, Error, Manner, Nothing, escape, human, targets};
use crate::wire::apps::Workers;
use crate::wire::client::AnswerError;
use crate::wire::info::{PoolInfo, Pools};

/// Replace workers one by one, or load a pool's application anew
///
/// Workers: the new one is ready before the old one is told to stop. A pool: a new generation, and the old
/// one's runs finish; it returns once the new one is ready. If its preload fails the old one stays.
#[derive(Debug, Args)]
pub struct Reload {
    /// A pool's name; or ids, names, namespaces, `all`, `/regex/` of workers, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    name: &'a str,
}

impl Reload {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let mut client = context.client()?;
        let named = targets::resolve(&self.targets)?;
        let (pools, apps) = split(&mut client, named)?;
        if let ([], [pool]) = (&*apps, &*pools)
            && context.json
        {
            let answer = client.call("reload", &Request { name: pool }, Manner::CHANGE)?;
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        if context.json && !pools.is_empty() {
            return Err(Error::Usage("with --json reload pools one at a time, and apart from apps".to_owned()));
        }
        for pool in &pools {
            self::pool(&mut client, pool)?;
        }
        if apps.is_empty() {
            return Ok(0);
        }
        let answer = client.call("apps.reload", &ByTarget { target: &apps }, Manner::CHANGE).map_err(neither)?;
        let Workers { workers } = answer.read()?;
        match context.json {
            true => write_out(format!("{}\n", answer.result))?,
            false => show(context, &workers)?,
        }
        Ok(judge(&workers))
    }
}

/// What is not found is not found among the pools either.
fn neither(error: Error) -> Error {
    match error {
        Error::Refused(refusal) if refusal.kind() == "app_not_found" => {
            Error::Refused(AnswerError { message: format!("{}, nor a pool of that name", refusal.message), ..refusal })
        }
        other => other,
    }
}

/// Pools and apps share one name space: what is no pool is an app, or nothing.
fn split(client: &mut Client, named: Vec<String>) -> Result<(Vec<String>, Vec<String>), Error> {
    let answer = client.call("pools", &Nothing {}, Manner::READ)?;
    let Pools { pools } = answer.read()?;
    Ok(named.into_iter().partition(|name| pools.iter().any(|pool| pool.name == *name)))
}

fn pool(client: &mut Client, name: &str) -> Result<(), Error> {
    let answer = client.call("reload", &Request { name }, Manner::CHANGE)?;
    let pool: PoolInfo = answer.read()?;
    let took = pool
        .preload_ms
        .map(|ms| format!(", preloaded in {}", human::span(Duration::from_millis(ms))))
        .unwrap_or_default();
    write_out(format!("{} {}: generation {}{took}\n", escape::line(&pool.name), pool.state, pool.generation))?;
    for warning in &pool.warnings {
        message(&format!("{}: {warning}", pool.name));
    }
    Ok(())
}
