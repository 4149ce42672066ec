//! One `[program:x]`: its keys, and the processes that it makes.

use std::collections::BTreeMap;

use super::kinds;
use super::section::Values;

/// Keys of a program, of an event listener and of a FastCGI program.
pub(super) const KEYS: &[&str] = &[
    "command",
    "process_name",
    "numprocs",
    "numprocs_start",
    "priority",
    "autostart",
    "autorestart",
    "startsecs",
    "startretries",
    "exitcodes",
    "stopsignal",
    "stopwaitsecs",
    "stopasgroup",
    "killasgroup",
    "user",
    "redirect_stderr",
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_syslog",
    "stderr_logfile",
    "stderr_logfile_maxbytes",
    "stderr_logfile_backups",
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_syslog",
    "environment",
    "directory",
    "umask",
    "serverurl",
];

/// The most processes of one program, as of instances of an app.
const MOST: i64 = 10_000;

/// What a program's processes differ in.
pub(super) struct Process {
    pub name: String,
    pub number: i64,
    /// Program and arguments.
    pub words: Vec<String>,
    pub cwd: Option<String>,
    pub env: BTreeMap<String, String>,
    pub out: Sink,
    pub error: Sink,
}

/// Where a stream goes.
#[derive(Clone, PartialEq)]
pub(super) enum Sink {
    /// A file that supervisord names.
    Auto,
    Off,
    File(String),
}

/// What all processes of a file get of `[supervisord]`.
#[derive(Default)]
pub(super) struct Shared {
    pub directory: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub umask: Option<String>,
    pub open_files: Option<u64>,
    /// The caller's, for `~`.
    pub home: Option<String>,
}

impl Shared {
    /// `~/x`, and paths relative to the daemon's folder where that is known.
    pub fn path(&self, path: &str) -> String {
        let path = match (path.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => path.to_owned(),
        };
        match &self.directory {
            Some(folder) if !path.starts_with(['/', '~']) => format!("{}/{path}", folder.trim_end_matches('/')),
            _ => path,
        }
    }
}

/// Every process of a program, or None where there is none.
pub(super) fn processes(values: &mut Values, program: &str, group: &str, shared: &Shared) -> Option<Vec<Process>> {
    values.names.text("program_name", program);
    values.names.text("group_name", group);
    if values.raw("command").is_none() {
        values.say("", "there is no command; supervisord refuses it, and it was left out");
        return None;
    }
    let count = values.number("numprocs", 1);
    let first = values.number("numprocs_start", 0);
    if count < 1 {
        values.say("numprocs", "makes no process, and it was left out");
        return None;
    }
    if count > MOST {
        values.say("numprocs", format!("an app has at most {MOST} instances; the first {MOST} were taken"));
    }
    let names = values.names.clone();
    let mut all = Vec::new();
    for number in first..first.saturating_add(count.min(MOST)) {
        values.names = names.clone();
        values.names.number("process_num", number);
        values.names.number("numprocs", count);
        all.push(process(values, program, number, shared)?);
        values.tells = false;
    }
    values.tells = true;
    Some(all)
}

fn process(values: &mut Values, program: &str, number: i64, shared: &Shared) -> Option<Process> {
    let mut env = shared.environment.clone();
    if let Some(text) = values.text("environment") {
        let (own, fault) = kinds::variables(&text);
        if let (Err(fault), true) = (fault, values.tells) {
            values.say("environment", format!("{fault}; what stands before it was taken"));
        }
        for (name, value) in &own {
            values.names.text(format!("ENV_{name}"), value.clone());
        }
        env.extend(own);
    }
    let command = values.text("command")?;
    let words = shlex::split(&command).filter(|words| !words.is_empty());
    let Some(words) = words else {
        values.say("command", "a quote is not closed, or it is empty; it was left out");
        return None;
    };
    let name = values.text("process_name").unwrap_or_else(|| program.to_owned());
    let cwd = values.text("directory").map(|folder| shared.path(&folder)).or_else(|| shared.directory.clone());
    let out = sink(values, "stdout_logfile", shared);
    let error = sink(values, "stderr_logfile", shared);
    Some(Process { name, number, words, cwd, env, out, error })
}

fn sink(values: &mut Values, key: &str, shared: &Shared) -> Sink {
    let Some(path) = values.text(key) else { return Sink::Auto };
    match path.to_lowercase().as_str() {
        "none" | "off" | "" => Sink::Off,
        "auto" => Sink::Auto,
        "syslog" => Sink::Off,
        "/dev/null" => Sink::Off,
        "/dev/fd/1" | "/proc/self/fd/1" => Sink::File("/dev/stdout".to_owned()),
        "/dev/fd/2" | "/proc/self/fd/2" => Sink::File("/dev/stderr".to_owned()),
        _ => Sink::File(shared.path(&path)),
    }
}

/// The log file of a program with several processes, without the number of one of them.
pub(super) fn without_number(values: &mut Values, key: &str, program: &str, shared: &Shared) -> Sink {
    /// Stands for the number; no path has it.
    const MARK: char = '\u{1}';
    let Some(setting) = values.raw(key) else { return Sink::Auto };
    let names = values.names.clone();
    values.names.text("process_num", MARK.to_string());
    let mut unmarked = setting.clone();
    // A text has no leading zeros: `%(process_num)02d` is one of `%(process_num)s` here.
    while let Some(at) = unmarked.value.find("%(process_num)") {
        let after = &unmarked.value[at + "%(process_num)".len()..];
        let Some(letter) = after.find(|c: char| c.is_ascii_alphabetic()) else { break };
        let rest = after[letter + 1..].to_owned();
        unmarked.value.truncate(at);
        unmarked.value.push(MARK);
        unmarked.value.push_str(&rest);
    }
    values.tells = false;
    let text = values.expand(&unmarked);
    values.tells = true;
    values.names = names;
    let mut path = String::new();
    for character in text.chars() {
        if character == MARK {
            path.truncate(path.trim_end_matches(['-', '_', '.']).len());
        } else {
            path.push(character);
        }
    }
    let path = match path.rsplit_once('/') {
        // Nothing but the number was in it.
        Some((folder, name)) if name.is_empty() || name.starts_with('.') => format!("{folder}/{program}{name}"),
        _ => path,
    };
    Sink::File(shared.path(&path))
}
