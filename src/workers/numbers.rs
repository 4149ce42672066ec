//! How many instances, and what each of them finds in its environment.

use std::collections::BTreeMap;

use crate::processfile::{App, Inherit, Instances, Program};

/// The most instances of one app.
pub const MOST: u32 = 10_000;

/// What a process gets of the caller's environment at least: without these most programs are lost.
const LEAST: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TERM"];
/// Variables that were meant for us, or for one process alone.
const OURS: [&str; 9] = [
    "PREFORKD_TREE",
    "PREFORKD_MASTER",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NODE_CHANNEL_FD",
];

/// How many instances an app has, with so many processors.
pub fn count(app: &App, processors: u32) -> u32 {
    if let Program::Pool { params_each: Some(each), .. } = &app.program {
        return each.len() as u32;
    }
    match app.instances {
        Instances::Fixed(count) => count.clamp(1, MOST),
        Instances::Processors { less } => processors.saturating_sub(less).max(1),
    }
}

/// `5`, `+2`, `-1`: the number that is wanted after `now`.
pub fn scale(text: &str, now: u32) -> Result<u32, String> {
    let wrong = || format!("\"{text}\" is no number of instances: give 5, +2 or -1");
    let number = |digits: &str| {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse::<u32>().map_err(|_| wrong())
    };
    let wanted = match text.split_at_checked(1) {
        Some(("+", more)) => now.saturating_add(number(more)?),
        Some(("-", fewer)) => now.saturating_sub(number(fewer)?),
        _ => number(text)?,
    };
    match wanted {
        0 => Err("an app has at least 1 instance: `stop` or `delete` it instead".to_owned()),
        1..=MOST => Ok(wanted),
        _ => Err(format!("an app has at most {MOST} instances")),
    }
}

/// The environment of instance `instance`: the caller's as far as it is inherited, the declared one over it, and
/// what tells it which instance it is.
pub fn environment(app: &App, caller: &BTreeMap<String, String>, id: u32, instance: u32) -> BTreeMap<String, String> {
    let inherited = |name: &str| {
        let allowed = match &app.inherit_env {
            Inherit::All => !app.filter_env.iter().any(|prefix| name.starts_with(prefix.as_str())),
            Inherit::Least => LEAST.contains(&name) || name.starts_with("LC_"),
            Inherit::Names(names) => names.iter().any(|n| n == name),
        };
        allowed && !OURS.contains(&name)
    };
    let mut env: BTreeMap<String, String> =
        caller.iter().filter(|(name, _)| inherited(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    env.extend(app.env.iter().map(|(k, v)| (k.clone(), v.clone())));
    if let Some(name) = &app.increment_var {
        let first = env.get(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
        env.insert(name.clone(), first.saturating_add(instance.into()).to_string());
    }
    env.insert(app.instance_var.clone(), instance.to_string());
    env.insert("PREFORKD_INSTANCE".to_owned(), instance.to_string());
    env.insert("PREFORKD_NAME".to_owned(), app.name.clone());
    env.insert("PREFORKD_WORKER".to_owned(), id.to_string());
    env
}
