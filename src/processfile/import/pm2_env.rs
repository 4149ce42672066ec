//! The environment of a process in pm2's dump. The declared variables and those of the shell that started it are one list
//! there; which were declared can only be guessed.
//!
//! What this session has with the same value needs no declaration: an app gets its caller's environment. What belongs to
//! a login, or is pm2's own, is no configuration. The rest is taken for declared.

use std::collections::BTreeMap;

use super::super::tree::{Node, Value};
use super::Around;

/// The variables of one process.
#[derive(Default)]
pub(super) struct Kept {
    pub declared: BTreeMap<String, String>,
    /// Names of those that every login sets anew.
    session: Vec<String>,
    /// How many this session has as well.
    same: usize,
}

/// Set by a login, a terminal or a shell.
const SESSION: &[&str] = &[
    "_",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "TERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "COLORTERM",
    "COLUMNS",
    "LINES",
    "LS_COLORS",
    "LESSOPEN",
    "LESSCLOSE",
    "MAIL",
    "HISTCONTROL",
    "HISTSIZE",
    "HOSTNAME",
    "DISPLAY",
    "WINDOWID",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MOTD_SHOWN",
    "PROMPT_COMMAND",
    "PS1",
    "which_declare",
];
const SESSION_STARTS: &[&str] = &["SSH_", "XDG_", "DBUS_", "SUDO_", "LC_TERMINAL", "BASH_FUNC_", "VSCODE_", "GPG_"];
/// pm2's own.
const PM2: &[&str] =
    &["unique_id", "vizion_running", "km_link", "SILENT", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"];
const PM2_STARTS: &[&str] = &["PM2_", "pm2_", "pm_", "axm_", "npm_"];

/// Sorts the variables of a process. Those of the names `own` are pm2's: the instance's number, and one that is called as
/// the app and holds what modules are told.
pub(super) fn sort(env: &Node, own: [&str; 2], around: &Around) -> Kept {
    let mut kept = Kept::default();
    let Value::Object(entries) = &env.value else { return kept };
    for entry in entries {
        let value = match &entry.node.value {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            _ => continue,
        };
        let name = entry.key.as_str();
        let starts = |list: &[&str]| list.iter().any(|start| name.starts_with(start));
        // An exported function of a shell, or nothing that a process could be given.
        let odd = name.is_empty() || name.contains(['=', '%', '\0']) || value.contains('\0');
        if odd || PM2.contains(&name) || starts(PM2_STARTS) || own.contains(&name) {
            continue;
        }
        if SESSION.contains(&name) || starts(SESSION_STARTS) {
            kept.session.push(entry.key.clone());
        } else if around.env.get(name) == Some(&value) {
            kept.same += 1;
        } else {
            kept.declared.insert(entry.key.clone(), value);
        }
    }
    kept
}

impl Kept {
    /// Which variables became what; names alone. None where there is nothing to say.
    pub fn told(&self) -> Option<String> {
        if self.declared.is_empty() && self.session.is_empty() && self.same == 0 {
            return None;
        }
        let mut parts = Vec::new();
        if !self.declared.is_empty() {
            let names: Vec<&str> = self.declared.keys().map(String::as_str).collect();
            parts.push(format!("taken for declared: {}", names.join(", ")));
        }
        if self.same > 0 {
            parts.push(format!("inherited, as this session has the same: {}", self.same));
        }
        if !self.session.is_empty() {
            parts.push(format!("left out, of a login: {}", self.session.join(", ")));
        }
        Some(format!("the dump does not say which variables were declared; {}", parts.join("; ")))
    }
}
