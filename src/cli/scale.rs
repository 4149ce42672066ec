//! `preforkd scale`: another number of instances.

use clap::Args;
use serde::Serialize;

use super::workers::act;
use super::{Context, Error};

/// Change how many instances an app has
#[derive(Debug, Args)]
pub struct Scale {
    /// The app's name
    name: String,

    /// How many: 5, or more or fewer: +2, -1
    #[arg(value_name = "N", allow_hyphen_values = true)]
    to: String,
}

#[derive(Serialize)]
struct Request<'a> {
    name: &'a str,
    to: &'a str,
}

impl Scale {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        act(context, "apps.scale", &Request { name: &self.name, to: &self.to })
    }
}
