//! From a program of supervisord's to an app: one with instances where its processes differ only in what instances can
//! differ in, else an app for each process.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::program::{Process, Shared};
use super::section::Values;
use super::written::Draft;
use super::{kinds, logs};
use crate::wire::signal::{signal_name, signal_number};

/// What is asked of a program beside its section.
pub(super) struct Asked<'a> {
    /// The program's name.
    pub program: &'a str,
    /// The `[group:x]` that it is in.
    pub group: Option<&'a str>,
    /// The socket of a `[fcgi-program:x]`.
    pub socket: Option<String>,
    pub shared: &'a Shared,
}

/// The apps that a program becomes. `taken` are names that there are already.
pub(super) fn drafts(
    values: &mut Values,
    asked: &Asked,
    processes: &[Process],
    taken: &mut BTreeSet<String>,
) -> Vec<Draft> {
    let Some(first) = processes.first() else { return Vec::new() };
    let folded = fold(processes);
    let (rules, logs) = (rules(values, asked.shared), logs::logs(values, first));
    let mut drafts = Vec::new();
    match folded {
        Some(raised) => {
            let name = unique(values, asked.program, asked, taken);
            let several = processes.len() > 1;
            let (out, error, merged) = match several {
                true => logs::shared(values, processes, asked),
                false => (first.out.clone(), first.error.clone(), false),
            };
            let mut draft = Draft::default();
            put_program(&mut draft, values, first, &name, asked.group, asked);
            draft.put_if(several, "instances", processes.len());
            draft.some("increment_var", raised.clone());
            if several && first.number != 0 && raised.is_none() {
                values.say("numprocs_start", "instances are numbered from 0");
            }
            rules.put(&mut draft);
            logs.put(&mut draft, values, (&out, &error), merged);
            drafts.push(draft);
        }
        None => {
            let why = "its processes differ in more than a number that a variable can carry, so that each is an app of its own";
            values.say(
                "numprocs",
                format!("{why}; \"{}\" as a target means them all", asked.group.unwrap_or(asked.program)),
            );
            for process in processes {
                let own = if process.name.starts_with(asked.program) {
                    process.name.clone()
                } else {
                    format!("{}-{}", asked.program, process.name)
                };
                let name = unique(values, &own, asked, taken);
                let mut draft = Draft::default();
                put_program(&mut draft, values, process, &name, Some(asked.group.unwrap_or(asked.program)), asked);
                rules.put(&mut draft);
                logs.put(&mut draft, values, (&process.out, &process.error), false);
                drafts.push(draft);
                values.tells = false;
            }
            values.tells = true;
        }
    }
    drafts
}

/// Whether the processes can be instances of one app: all the same, but for their names, their log files, and at most one
/// variable that is raised by one from each to the next, which is the result.
fn fold(processes: &[Process]) -> Option<Option<String>> {
    let (first, others) = processes.split_first()?;
    let mut raised: Option<&String> = None;
    for (index, process) in (1i64..).zip(others) {
        if process.words != first.words || process.cwd != first.cwd || process.env.len() != first.env.len() {
            return None;
        }
        for (name, value) in &process.env {
            let before = first.env.get(name)?;
            if before == value {
                continue;
            }
            let number: i64 = before.parse().ok().filter(|number: &i64| number.to_string() == *before)?;
            if number.checked_add(index)?.to_string() != *value || raised.is_some_and(|other| other != name) {
                return None;
            }
            raised = Some(name);
        }
    }
    // One that is raised is raised in each.
    let in_each = |name: &String| others.iter().all(|process| process.env.get(name) != first.env.get(name));
    raised.is_none_or(in_each).then(|| raised.cloned())
}

/// A name that an app can have and no other has.
fn unique(values: &mut Values, wanted: &str, asked: &Asked, taken: &mut BTreeSet<String>) -> String {
    let name = app_name(wanted);
    let mut free = name.clone();
    if taken.contains(&free)
        && let Some(group) = asked.group
    {
        free = app_name(&format!("{group}-{wanted}"));
    }
    for number in 2.. {
        if !taken.contains(&free) {
            break;
        }
        free = app_name(&format!("{name}-{number}"));
    }
    if free != wanted {
        values.say(
            "",
            format!("is called {free} here: names are unique, and of letters, digits, \".\", \"_\" and \"-\""),
        );
    }
    taken.insert(free.clone());
    free
}

/// Of the letters that a name may have, and not too long.
pub(super) fn app_name(wanted: &str) -> String {
    let inside = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = wanted.chars().map(inside).take(60).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

fn put_program(
    draft: &mut Draft,
    values: &mut Values,
    process: &Process,
    name: &str,
    group: Option<&str>,
    asked: &Asked,
) {
    draft.put("name", name);
    draft.some("namespace", group.map(app_name));
    let mut words = process.words.clone();
    if let Some(socket) = &asked.socket {
        if values.tells {
            values.say("socket", "FastCGI programs want it as fd 0, and sockets are handed over from fd 3 on: a line of shell puts it there");
        }
        let shell = ["/bin/sh", "-c", "exec \"$@\" <&3 3<&-", "sh"].map(str::to_owned);
        words.splice(0..0, shell);
        put_words(draft, words);
        draft.put("listen", socket.clone());
    } else {
        put_words(draft, words);
    }
    draft.some("cwd", process.cwd.clone());
    draft.put_if(!process.env.is_empty(), "env", variables(&process.env));
}

pub(super) fn variables(env: &BTreeMap<String, String>) -> Value {
    env.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect::<serde_json::Map<_, _>>().into()
}

/// supervisord executes what it is given: no interpreter is chosen by the extension, no line is split again.
fn put_words(draft: &mut Draft, mut words: Vec<String>) {
    const CHOSEN: [&str; 8] = [".php", ".py", ".rb", ".pl", ".sh", ".js", ".mjs", ".cjs"];
    let special = words[0].contains(char::is_whitespace) || CHOSEN.iter().any(|end| words[0].ends_with(end));
    if special && !words[0].contains('/') {
        // Found in PATH there; env(1) does the same.
        words.insert(0, "/usr/bin/env".to_owned());
    }
    let none = special && words[0] != "/usr/bin/env";
    let script = words.remove(0);
    draft.put("script", script);
    draft.put_if(!words.is_empty(), "args", words);
    draft.put_if(none, "interpreter", "none");
}

/// How it is kept up and stopped.
struct Rules {
    autostart: bool,
    autorestart: bool,
    stop_exit_codes: Vec<u8>,
    min_uptime: i64,
    max_restarts: Option<i64>,
    stop_signal: Value,
    kill_timeout: i64,
    treekill: bool,
    user: Option<String>,
    umask: Option<String>,
    open_files: Option<u64>,
}

impl Rules {
    fn put(&self, draft: &mut Draft) {
        draft.put_if(!self.autostart, "autostart", false);
        draft.put_if(!self.autorestart, "autorestart", false);
        draft.put_if(!self.stop_exit_codes.is_empty(), "stop_exit_codes", self.stop_exit_codes.clone());
        draft.put_if(self.min_uptime != 1, "min_uptime", format!("{}s", self.min_uptime));
        draft.some("max_restarts", self.max_restarts);
        draft.put("stop_signal", self.stop_signal.clone());
        draft.put("kill_timeout", format!("{}s", self.kill_timeout));
        draft.put_if(!self.treekill, "treekill", false);
        draft.some("user", self.user.clone());
        draft.some("umask", self.umask.clone());
        draft.some("limits", self.open_files.map(|count| json!({ "open_files": count })));
    }
}

fn rules(values: &mut Values, shared: &Shared) -> Rules {
    let expected = "unexpected, true or false";
    let restart = values.read("autorestart", expected, |text| match text.to_lowercase().as_str() {
        "unexpected" => Some(None),
        other => kinds::flag(other).map(Some),
    });
    let restart = restart.unwrap_or(None);
    let expected = "exit codes from 0 to 255";
    let codes = values.read("exitcodes", expected, kinds::codes).unwrap_or_else(|| vec![0]);
    let signal = values.read("stopsignal", "a signal such as TERM", signal_number);
    let signal = signal.unwrap_or(15);
    let group = values.flag("stopasgroup", false);
    let seconds = |values: &mut Values, key: &str, default| values.number(key, default).clamp(0, 366 * 24 * 3600);
    Rules {
        autostart: values.flag("autostart", true),
        autorestart: restart != Some(false),
        stop_exit_codes: if restart.is_none() { codes } else { Vec::new() },
        min_uptime: seconds(values, "startsecs", 1),
        max_restarts: max_restarts(values),
        stop_signal: signal_name(signal).map_or(json!(signal), Value::from),
        kill_timeout: seconds(values, "stopwaitsecs", 10),
        treekill: group,
        user: values.text("user"),
        umask: values.text("umask").or_else(|| shared.umask.clone()),
        open_files: shared.open_files,
    }
}

/// supervisord gives up after so many starts that failed, with pauses of 1 s, 2 s, 3 s …; here the pauses begin shorter
/// (none, then 100 ms × 1.5ⁿ up to 15 s), so that as much time asks for more of them. None: the default.
fn max_restarts(values: &mut Values) -> Option<i64> {
    values.raw("startretries")?;
    let retries = values.number("startretries", 3).max(0);
    let time = retries as f64 * (retries as f64 + 1.0) / 2.0;
    let (mut exits, mut passed, mut pause) = (1i64, 0.0, 0.1);
    while exits < 1_000_000 && (exits <= retries || passed < time) {
        exits += 1;
        if exits > 2 {
            passed += pause;
            pause = f64::min(pause * 1.5, 15.0);
        }
    }
    if exits != retries + 1 {
        let why = "the pauses between tries begin shorter here, so that the same time has room for more of them";
        values.say("startretries", format!("{retries} is max_restarts {exits}: {why}"));
    }
    Some(exits)
}
