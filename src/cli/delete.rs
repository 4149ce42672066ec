//! `preforkd delete`: workers that are not to run any more.

use clap::Args;

use super::workers::{ByTarget, act};
use super::{Context, Error, targets};

/// Stop workers and forget them
#[derive(Debug, Args)]
pub struct Delete {
    /// Ids, names, namespaces, `all`, `/regex/`, or process files
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Delete {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        act(context, "apps.delete", &ByTarget { target: &targets::resolve(&self.targets)? })
    }
}
