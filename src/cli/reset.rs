//! `preforkd reset`: counters back to 0.

use clap::Args;

use super::workers::{ByTarget, act};
use super::{Context, Error, targets};

/// Set the counters of restarts back to 0
#[derive(Debug, Args)]
pub struct Reset {
    /// Ids, names, namespaces, `all`, `/regex/`, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Reset {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        act(context, "apps.reset", &ByTarget { target: &targets::resolve(&self.targets)? })
    }
}
