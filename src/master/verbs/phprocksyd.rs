//! Phprocksyd's commands, on the default pool. Texts are its own; what differs is told in PROTOCOL.md.

use super::super::Master;
use super::super::runs::{Asker, Form};
use crate::wire::info::Role;
use crate::wire::phprocksyd::{self, Command};
use crate::wire::request::Run;
use crate::wire::rpc::RpcError;
use crate::wire::status::State;

const SIGTERM: i32 = 15;

/// Does what is asked for; each command has exactly one answer, but `stop` and `bye`, which have none.
pub(in super::super) fn obey(master: &mut Master, asker: Asker, command: Command) {
    let connection = asker.connection;
    let role = master.sources.connection(connection).map_or(Role::None, |c| c.role);
    let needed = match command {
        Command::Auth { .. } | Command::Bye => Role::None,
        Command::Restart | Command::Stop => Role::Admin,
        _ => Role::Run,
    };
    if role < needed {
        let text = if role == Role::None { "Authentication required: auth TOKEN" } else { "Not allowed" };
        return say(master, asker, text);
    }
    match command {
        Command::Run { id, entry, params } => {
            let request = Run {
                pool: None,
                entry,
                params,
                args: None,
                id: Some(id),
                env: None,
                timeout: None,
                kill_timeout: None,
                output: None,
                stdin: None,
                wait: false,
            };
            super::run::obey(master, asker, Box::new(request));
        }
        Command::Check { id } => check(master, asker, &id),
        Command::Free { id } => match super::free::free(master, &id) {
            Ok(()) => say(master, asker, "OK"),
            Err(e) if e.code == RpcError::STILL_RUNNING => say(master, asker, "Still running"),
            Err(_) => say(master, asker, "Hash not found"),
        },
        Command::Terminate { id } => {
            let Some(slot) = master.runs.find(&id) else { return say(master, asker, "Hash not found") };
            let alive = master.runs.live(slot).map(|live| live.state);
            match alive {
                None => say(master, asker, "Script already not running"),
                // TERM and no more, as there; one that waits for its place will not get it.
                Some(State::Running) => {
                    master.signal_run(slot, SIGTERM, None);
                    say(master, asker, "OK");
                }
                Some(_) => match master.kill(slot, Some(SIGTERM), None) {
                    Ok(()) => say(master, asker, "OK"),
                    Err(_) => say(master, asker, "Failed to kill"),
                },
            }
        }
        Command::Restart => {
            if let Err((Some(asker), error)) = master.begin_upgrade(Some(asker), None, false) {
                master.refuse(asker, &error);
            }
        }
        Command::Stop => {
            no_answer(master, asker);
            master.close_after_answers(connection);
            master.stop();
        }
        Command::Bye => {
            no_answer(master, asker);
            master.close_after_answers(connection);
        }
        Command::Auth { token } => super::auth::obey(master, asker, &token),
        Command::Bad(line) => {
            if let Form::Ticket(ticket) = asker.form {
                master.answer_ticket(connection, ticket, line);
            }
        }
    }
}

fn check(master: &mut Master, asker: Asker, id: &str) {
    let Some(slot) = master.runs.find(id) else { return say(master, asker, "Hash not found") };
    let Some(record) = master.table.record(slot) else { return say(master, asker, "Hash not found") };
    let mut line = Vec::new();
    match record.state {
        State::Exited => match (record.exit_code(), record.signal()) {
            (Some(code), _) => phprocksyd::retcode(&mut line, code, None),
            (None, Some(signal)) => phprocksyd::retcode(&mut line, 128 + signal, Some(signal)),
            (None, None) => phprocksyd::error_text(&mut line, "Exit status unknown"),
        },
        State::Unknown => phprocksyd::error_text(&mut line, "Exit status unknown"),
        State::Failed => {
            let why = master.runs.extra(slot).and_then(|(_, extra)| extra.error.as_ref());
            let why = why.map_or_else(String::new, |e| e.message.to_string());
            phprocksyd::error_text(&mut line, &format!("Failed to start: {why}"));
        }
        State::Queued | State::Starting | State::Running => phprocksyd::error_text(&mut line, "Still running"),
    }
    if let Form::Ticket(ticket) = asker.form {
        master.answer_ticket(asker.connection, ticket, line);
    }
}

/// `stop` and `bye` have none: the end of the connection says it.
fn no_answer(master: &mut Master, asker: Asker) {
    if let (Form::Ticket(ticket), Some(c)) = (asker.form, master.sources.connection(asker.connection)) {
        c.pending -= 1;
        c.drop_ticket(ticket);
    }
}

fn say(master: &mut Master, asker: Asker, text: &str) {
    let mut line = Vec::new();
    phprocksyd::error_text(&mut line, text);
    if let Form::Ticket(ticket) = asker.form {
        master.answer_ticket(asker.connection, ticket, line);
    }
}
