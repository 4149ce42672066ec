//! `upgrade`: another program takes over, and answers.

use super::super::Master;
use super::super::runs::Asker;

pub(super) fn obey(master: &mut Master, asker: Asker, binary: Option<String>, check: bool) {
    if let Err((Some(asker), error)) = master.begin_upgrade(Some(asker), binary, check) {
        master.refuse(asker, &error);
    }
}
