//! `auth`: say who one is. A wrong token is answered after a second, in which nothing else of the connection is looked at,
//! and the third ends the connection.

use std::time::Duration;

use mio::Token;
use slog::warn;

use super::super::Master;
use super::super::runs::{Asker, Form};
use super::super::timers::Timer;
use crate::wire::info::{Authenticated, Role};
use crate::wire::phprocksyd;
use crate::wire::rpc::RpcError;

/// What a guess costs.
const PAUSE: Duration = Duration::from_secs(1);
/// Guesses of one connection.
const GUESSES: u32 = 3;

pub(super) fn obey(master: &mut Master, asker: Asker, token: &str) {
    let connection = asker.connection;
    let Some(role) = master.gate.token(token) else { return wrong(master, asker) };
    let had = master.sources.connection(connection).map_or(Role::None, |c| c.role);
    let role = role.max(had);
    master.admit(connection, role);
    match asker.form {
        Form::Ticket(ticket) => {
            let mut line = Vec::new();
            phprocksyd::error_text(&mut line, "OK");
            master.answer_ticket(connection, ticket, line);
        }
        _ => master.answer(asker, &Authenticated { role }),
    }
}

fn wrong(master: &mut Master, asker: Asker) {
    let connection = asker.connection;
    let Some(c) = master.sources.connection(connection) else { return };
    c.wrong_tokens += 1;
    c.penalty = true;
    warn!(master.log, "a wrong token"; "tries" => c.wrong_tokens);
    master.wrong_tokens.push_back(asker);
    master.timers.after(PAUSE, Timer::WrongToken(connection));
}

impl Master {
    /// The pause after a wrong token is over.
    pub(in super::super) fn wrong_token(&mut self, connection: Token) {
        let Some(at) = self.wrong_tokens.iter().position(|a| a.connection == connection) else { return };
        let Some(asker) = self.wrong_tokens.remove(at) else { return };
        match asker.form {
            Form::Ticket(ticket) => {
                let mut line = Vec::new();
                phprocksyd::error_text(&mut line, "Wrong token");
                self.answer_ticket(connection, ticket, line);
            }
            _ => self.refuse(asker, &RpcError::unauthenticated("wrong token")),
        }
        if self.sources.connection(connection).is_some_and(|c| c.wrong_tokens >= GUESSES) {
            self.close_after_answers(connection);
        } else {
            self.resume_client(connection);
        }
    }
}
