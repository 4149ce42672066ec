//! The sections of supervisord itself: what they mean for its programs, and what is said of the rest.

use super::expand::Names;
use super::ini::{Ini, Section};
use super::kinds;
use super::program::Shared;
use super::remark::Remarks;
use super::section::Values;

/// Keys of `[supervisord]`, and what stands for them. Those without a word count for the programs.
const DAEMON: &[(&str, &str)] = &[
    ("directory", ""),
    ("environment", ""),
    ("umask", ""),
    ("minfds", ""),
    ("user", "run preforkd as this user, or give each app `user`"),
    ("logfile", "the daemon logs to its stderr; under systemd that is the journal"),
    ("logfile_maxbytes", "as for logfile"),
    ("logfile_backups", "as for logfile"),
    ("loglevel", "as for logfile; `serve --log-level` says how much"),
    ("pidfile", "`preforkd info` tells the pid; under systemd `systemctl show -p MainPID` does"),
    ("childlogdir", "files that the daemon names are in DIR/logs; DIR is what --dir says"),
    ("nodaemon", "`preforkd serve` stays in the foreground; `preforkd start` brings a daemon up in the background"),
    ("silent", "the daemon says little of itself"),
    ("identifier", "daemons are told apart by --dir"),
    ("minprocs", "there is no such limit; set LimitNPROC in the unit"),
    ("nocleanup", "log files are never removed but by their rotation"),
    ("strip_ansi", "output is kept as it came"),
    ("serverurl", "the address is the socket in DIR"),
    ("profile_options", "there is no profiling"),
];

/// What is said of a whole section, by the start of its name.
const OTHERS: &[(&str, &str)] = &[
    (
        "unix_http_server",
        "the daemon listens on DIR/preforkd.sock, JSON-RPC instead of XML-RPC; its user and root are let in",
    ),
    ("inet_http_server", "`serve --listen` takes an address; it is JSON-RPC with tokens, and there are no web pages"),
    ("supervisorctl", "`preforkd` itself is the client; --dir or PREFORKD_DIR says of which daemon"),
    ("rpcinterface:", "plugins of the daemon have no equivalent; everything is in its JSON-RPC methods"),
    ("ctlplugin:", "plugins of supervisorctl have no equivalent; commands have --json for scripts"),
    (
        "eventlistener:",
        "no equivalent as a program: a client asks for `events.subscribe`; memmon is max_memory_restart",
    ),
];

/// Reads `[supervisord]`; tells what has no equivalent.
pub(super) fn shared(ini: &Ini, names: &mut Names, home: Option<String>, remarks: &mut Remarks) -> Shared {
    let mut shared = Shared { home, ..Shared::default() };
    let Some(section) = ini.section("supervisord") else { return shared };
    let mut values = Values::of(ini, section, names.clone(), remarks);
    if let Some(folder) = values.text("directory") {
        shared.directory = Some(shared.path(&folder));
    }
    if let Some(text) = values.text("environment") {
        let (environment, fault) = kinds::variables(&text);
        if let Err(fault) = fault {
            values.say("environment", format!("{fault}; what stands before it was taken"));
        }
        for (name, value) in &environment {
            names.text(format!("ENV_{name}"), value.clone());
        }
        shared.environment = environment;
    }
    // 022 is its default, and what a daemon has anyway.
    shared.umask = values.text("umask").filter(|mask| mask.trim_start_matches('0') != "22");
    // It raises the limit for itself and so for its programs; 1024 is its default.
    shared.open_files = values.read("minfds", "a whole number", |text| text.parse().ok()).filter(|count| *count > 1024);
    tell(&mut values);
    shared
}

fn tell(values: &mut Values) {
    for (key, message) in DAEMON {
        if !message.is_empty() && values.section.settings.iter().any(|setting| setting.key == *key) {
            values.say(key, *message);
        }
    }
    let known: Vec<&str> = DAEMON.iter().map(|(key, _)| *key).collect();
    values.unknown(&[&known]);
}

/// Says one line of a section that makes no app.
pub(super) fn other(section: &Section, remarks: &mut Remarks) {
    let found = OTHERS.iter().find(|(start, _)| section.name.starts_with(start));
    let message =
        found.map_or("supervisord reads no such section by itself, and nothing here does", |(_, message)| message);
    remarks.add(section.origin.clone(), format!("[{}]", section.name), message);
}
