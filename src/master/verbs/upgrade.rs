//! `upgrade`: another program takes over, and answers.

use super::super::Master;
use super::super::runs::Asker;

pub(super) fn obey(master: &mut Master, asker: Asker, binary: Option<String>, check: bool, keeper: bool) {
    if keeper {
        if let Err((asker, error)) = master.replace_keeper(asker, binary, check) {
            master.refuse(asker, &error);
        }
        return;
    }
    if let Err((Some(asker), error)) = master.begin_upgrade(Some(asker), binary, check) {
        master.refuse(asker, &error);
    }
}
