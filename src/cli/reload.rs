//! `preforkd reload`: a new generation of a pool.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::terminal::{message, write_out};
use super::{Context, Error, Manner, escape, human};
use crate::wire::info::PoolInfo;

/// Load a pool's application anew; the old generation's runs finish
///
/// It returns once the new generation is ready. If its preload fails the old one stays.
#[derive(Debug, Args)]
pub struct Reload {
    /// The pool's name
    name: String,
}

#[derive(Serialize)]
struct Request<'a> {
    name: &'a str,
}

impl Reload {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let request = Request { name: &self.name };
        let answer = context.client()?.call("reload", &request, Manner::CHANGE)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let pool: PoolInfo = answer.read()?;
        let took = pool
            .preload_ms
            .map(|ms| format!(", preloaded in {}", human::span(Duration::from_millis(ms))))
            .unwrap_or_default();
        write_out(format!("{} {}: generation {}{took}\n", escape::line(&pool.name), pool.state, pool.generation))?;
        for warning in &pool.warnings {
            message(&format!("{}: {warning}", pool.name));
        }
        Ok(0)
    }
}
