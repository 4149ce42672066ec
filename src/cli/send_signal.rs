//! `preforkd send-signal`: a signal to workers.

use clap::Args;
use serde::Serialize;

use super::workers::act;
use super::{Context, Error, kill, targets};

/// Send a signal to workers
///
/// It is not a stop: a worker that ends by it is started again.
#[derive(Debug, Args)]
pub struct SendSignal {
    /// By name or number
    #[arg(value_parser = kill::signal)]
    signal: i32,

    /// Ids, names, namespaces, `all`, `/regex/`, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    target: &'a [String],
    signal: i32,
}

impl SendSignal {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let target = targets::resolve(&self.targets)?;
        act(context, "apps.signal", &Request { target: &target, signal: self.signal })
    }
}
