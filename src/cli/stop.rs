//! `preforkd stop`: workers that are not to run now.

use clap::Args;

use super::workers::{ByTarget, act};
use super::{Context, Error, targets};

/// Stop workers; they stay in the list
///
/// Each is told by its stop signal, after its kill_timeout it is killed. It returns once they are gone.
#[derive(Debug, Args)]
pub struct Stop {
    /// Ids, names, namespaces, `all`, `/regex/`, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Stop {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        act(context, "apps.stop", &ByTarget { target: &targets::resolve(&self.targets)? })
    }
}
