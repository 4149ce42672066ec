//! `preforkd ping`: is a daemon there, and which version?

use std::time::Instant;

use clap::Args;

use super::terminal::write_out;
use super::{Context, Error, Manner, Nothing, escape, human};
use crate::wire::info::Pong;

/// Ask whether a daemon answers, and its version
#[derive(Debug, Args)]
pub struct Ping {}

impl Ping {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let mut client = context.client()?;
        let asked = Instant::now();
        let answer = client.call("ping", &Nothing {}, Manner::READ)?;
        let took = asked.elapsed();
        if context.json {
            write_out(format!("{}\n", answer.result))?;
        } else {
            let pong: Pong = answer.read()?;
            write_out(format!("preforkd {}, answered in {}\n", escape::line(&pong.version), human::span(took)))?;
        }
        Ok(0)
    }
}
