//! What clients ask for: one file a method, one line a method here.

mod apps;
mod auth;
mod events;
mod free;
mod info;
mod kill;
mod list;
mod logs;
pub(super) mod phprocksyd;
mod pools;
mod reload;
mod run;
mod runs;
mod shutdown;
mod status;
mod upgrade;
mod wait;

use super::Master;
use super::runs::Asker;
use crate::wire::info::Pong;
use crate::wire::request::Method;
use crate::wire::rpc::RpcError;

/// Does what is asked for; the answer comes now or later.
pub(super) fn obey(master: &mut Master, asker: Asker, method: Method) {
    match method {
        Method::Run(request) => run::obey(master, asker, request),
        Method::Status { id } => status::obey(master, asker, &id),
        Method::Wait { id, timeout } => wait::obey(master, asker, &id, timeout),
        Method::Kill { id, signal, grace } => kill::obey(master, asker, &id, signal, grace),
        Method::Free { id } => free::obey(master, asker, &id),
        Method::Runs(filter) => runs::obey(master, asker, &filter),
        Method::Pools => pools::obey(master, asker),
        Method::List => list::obey(master, asker),
        Method::Reload { name } => reload::obey(master, asker, &name),
        Method::Ping => master.answer(asker, &Pong { version: env!("CARGO_PKG_VERSION").into() }),
        Method::Info => info::obey(master, asker),
        Method::Shutdown => shutdown::obey(master, asker),
        Method::Upgrade { binary, check, keeper } => upgrade::obey(master, asker, binary, check, keeper),
        Method::Auth { token } => auth::obey(master, asker, &token),
        Method::Apps(request) => apps::obey(master, asker, request),
        Method::AppsLogs(wanted) => logs::obey(master, asker, wanted),
        Method::AppsFlush { targets } => logs::flush(master, asker, targets),
        Method::AppsReopen => logs::reopen(master, asker),
        Method::EventsSubscribe(filter) => events::obey(master, asker, filter),
    }
}

/// The slot of that run.
fn find(master: &Master, id: &str) -> Result<u32, RpcError> {
    master.runs.find(id).ok_or_else(|| {
        RpcError::run_not_found(format!(
            "there is no run {id}: it was never started here, was freed, or is older than its pool's `keep`"
        ))
    })
}
