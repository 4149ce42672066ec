//! `events.subscribe`: the client is told of what happens from now on.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::apps::Subscribed;
use crate::wire::request::EventFilter;

pub(super) fn obey(master: &mut Master, asker: Asker, filter: EventFilter) {
    let connection = asker.connection;
    master.answer(asker, &Subscribed { subscribed: true });
    master.subscribe(connection, filter);
}
