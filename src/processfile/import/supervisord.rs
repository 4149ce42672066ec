//! A supervisord.conf with all that it includes, turned into apps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::app::{Asked, drafts};
use super::expand::{Names, variables};
use super::ini::{Ini, Section, included};
use super::program::{KEYS, Shared, processes};
use super::remark::{Origin, Remarks};
use super::section::{Values, here};
use super::written::Draft;
use super::{Around, daemon};
use crate::processfile::apps::is_address;

const FASTCGI_KEYS: &[&str] = &["socket", "socket_owner", "socket_mode", "socket_backlog"];
/// supervisord's priority where none is said.
const PRIORITY: i64 = 999;

/// Apps in the order in which supervisord starts them.
pub(super) fn apps(path: &Path, text: &str, around: &Around, remarks: &mut Remarks) -> Vec<Draft> {
    let main: Rc<Path> = Rc::from(path);
    let mut names = Names::default();
    names.text("host_node_name", around.host);
    for (name, value) in around.env {
        names.text(format!("ENV_{name}"), value.clone());
    }
    let mut ini = Ini::default();
    ini.read(text, &main, remarks);
    include(&mut ini, &main, &names, remarks);
    if ini.section("supervisord").is_none() {
        remarks.add(Origin { file: main, line: 0 }, "", "there is no [supervisord]; supervisord refuses such a file");
    }
    tell_variables(&ini, around, remarks);
    let shared = daemon::shared(&ini, &mut names, around.env.get("HOME").cloned(), remarks);
    for section in ini.sections().filter(|section| !is_ours(&section.name)) {
        daemon::other(section, remarks);
    }
    let mut reading = Reading { ini: &ini, names, shared, taken: BTreeSet::new(), remarks };
    let mut groups = reading.groups();
    groups.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    groups.into_iter().flat_map(|group| reading.group(&group)).collect()
}

/// Sections that are read elsewhere, or become apps.
fn is_ours(name: &str) -> bool {
    let starts = ["program:", "fcgi-program:", "group:"];
    matches!(name, "supervisord" | "include") || starts.iter().any(|start| name.starts_with(start))
}

/// Reads the files that `[include]` of the main file names. Those of included files are not followed, as there.
fn include(ini: &mut Ini, main: &Rc<Path>, names: &Names, remarks: &mut Remarks) {
    let Some((section, setting)) =
        ini.section("include").and_then(|section| Some((section, ini.get(section, "files")?.clone())))
    else {
        return;
    };
    let about = format!("[{}] files", section.name);
    let base = main.parent().unwrap_or(Path::new("/"));
    let mut names = names.clone();
    names.text("here", here(main));
    let mut faults = Vec::new();
    let patterns = names.expand(&setting.value, &mut faults);
    for fault in faults {
        remarks.add(setting.origin.clone(), &about, fault);
    }
    for pattern in patterns.split_whitespace() {
        match included(base, pattern) {
            Ok(files) if files.is_empty() => {
                remarks.add(setting.origin.clone(), &about, format!("no file is called {pattern}"));
            }
            Ok(files) => {
                for file in files {
                    read(ini, file, &setting.origin, &about, remarks);
                }
            }
            Err(error) => remarks.add(setting.origin.clone(), &about, format!("{pattern}: {error}")),
        }
    }
}

fn read(ini: &mut Ini, file: PathBuf, origin: &Origin, about: &str, remarks: &mut Remarks) {
    match super::read(&file) {
        Ok(text) => ini.read(&text, &Rc::from(file), remarks),
        Err(error) => remarks.add(origin.clone(), about, format!("left out: {error}")),
    }
}

/// Says once of each variable that its value is now in the file.
fn tell_variables(ini: &Ini, around: &Around, remarks: &mut Remarks) {
    let mut told = BTreeSet::new();
    for setting in ini.sections().flat_map(|section| &section.settings) {
        for name in variables(&setting.value) {
            if around.env.contains_key(name) && told.insert(name.to_owned()) {
                let message = format!("%(ENV_{name})s became the value that {name} has in this environment");
                remarks.add(setting.origin.clone(), "", message);
            }
        }
    }
}

/// A `[group:x]`, or a program without one.
struct Group<'a> {
    priority: i64,
    name: String,
    /// Whether there is a `[group:x]`.
    said: bool,
    programs: Vec<&'a Section>,
}

struct Reading<'a, 'r> {
    ini: &'a Ini,
    names: Names,
    shared: Shared,
    taken: BTreeSet<String>,
    remarks: &'r mut Remarks,
}

/// `x` of `program:x`.
fn after_colon(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, rest)| rest.trim())
}

impl<'a> Reading<'a, '_> {
    fn values(&mut self, section: &'a Section) -> Values<'_> {
        Values::of(self.ini, section, self.names.clone(), self.remarks)
    }

    fn groups(&mut self) -> Vec<Group<'a>> {
        let ini = self.ini;
        let mut groups = Vec::new();
        let mut inside: BTreeSet<&str> = BTreeSet::new();
        for section in ini.sections().filter(|section| section.name.starts_with("group:")) {
            let mut values = self.values(section);
            let priority = values.number("priority", PRIORITY);
            let listed = values.text("programs").unwrap_or_default();
            let mut programs = Vec::new();
            for program in listed.split(',').map(str::trim).filter(|program| !program.is_empty()) {
                let found =
                    ["program", "fcgi-program"].iter().find_map(|kind| ini.section(&format!("{kind}:{program}")));
                match found {
                    Some(found) => {
                        inside.insert(&found.name);
                        programs.push(found);
                    }
                    None => values.say("programs", format!("there is no [program:{program}]; supervisord refuses it")),
                }
            }
            values.unknown(&[&["programs", "priority"]]);
            groups.push(Group { priority, name: after_colon(&section.name).to_owned(), said: true, programs });
        }
        let is_program = |section: &&Section| ["program:", "fcgi-program:"].iter().any(|k| section.name.starts_with(k));
        for section in ini.sections().filter(is_program).filter(|section| !inside.contains(section.name.as_str())) {
            let priority = self.values(section).number("priority", PRIORITY);
            let name = after_colon(&section.name).to_owned();
            groups.push(Group { priority, name, said: false, programs: vec![section] });
        }
        groups
    }

    fn group(&mut self, group: &Group<'a>) -> Vec<Draft> {
        let mut all: Vec<(i64, &str, Vec<Draft>)> = Vec::new();
        for section in &group.programs {
            let priority = self.values(section).number("priority", PRIORITY);
            all.push((priority, after_colon(&section.name), self.program(section, group)));
        }
        all.sort_by_key(|(priority, name, _)| (*priority, *name));
        all.into_iter().flat_map(|(_, _, drafts)| drafts).collect()
    }

    fn program(&mut self, section: &'a Section, group: &Group<'a>) -> Vec<Draft> {
        let program = after_colon(&section.name);
        let shared = std::mem::take(&mut self.shared);
        let mut taken = std::mem::take(&mut self.taken);
        let mut values = self.values(section);
        let said = group.said.then_some(group.name.as_str());
        let fastcgi = section.name.starts_with("fcgi-program:");
        let before = values.remarks.len();
        let found = processes(&mut values, program, &group.name, &shared);
        let mut drafts = found.map_or_else(Vec::new, |processes| {
            let socket = fastcgi.then(|| values.text("socket")).flatten();
            if fastcgi && socket.is_none() {
                values.say("socket", "is missing; supervisord refuses it, and no socket is opened");
            }
            let socket = socket.filter(|socket| {
                let known = socket.strip_prefix("tcp://").is_none_or(is_address);
                if !known {
                    values.say("socket", "names are not looked up: write the address as a number; no socket is opened");
                }
                known
            });
            let asked = Asked { program, group: said, socket, shared: &shared };
            drafts(&mut values, &asked, &processes, &mut taken)
        });
        tell(&mut values, fastcgi);
        if let Some(draft) = drafts.first_mut() {
            draft.comments.push(format!("[{}] of {}", section.name, section.origin));
            draft.comments.extend(values.remarks.since(before));
        }
        (self.shared, self.taken) = (shared, taken);
        drafts
    }
}

/// What has no equivalent and makes no difference to the app.
fn tell(values: &mut Values, fastcgi: bool) {
    if values.number("priority", PRIORITY) != PRIORITY {
        values.say("priority", "apps are started in the order of the file; where one needs another, say depends_on");
    }
    if values.text("serverurl").is_some_and(|url| !url.trim().eq_ignore_ascii_case("auto")) {
        values.say("serverurl", "programs find the daemon at the socket in DIR (PREFORKD_DIR); it speaks JSON-RPC");
    }
    if values.flag("killasgroup", false) && !values.flag("stopasgroup", false) {
        values
            .say("killasgroup", "what is left of a tree is always killed; `treekill: false` is about the stop signal");
    }
    if !fastcgi {
        values.unknown(&[KEYS]);
        return;
    }
    for (key, message) in [
        ("socket_owner", "the socket belongs to the app's user"),
        ("socket_mode", "the socket has the mode that the daemon's umask leaves"),
        ("socket_backlog", "the socket's queue is as long as the system allows"),
    ] {
        if values.raw(key).is_some() {
            values.say(key, message);
        }
    }
    values.unknown(&[KEYS, FASTCGI_KEYS]);
}
