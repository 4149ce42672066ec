//! The values of one section, with what they name filled in. A value that is wrong is told, and its default taken.

use std::path::Path;

use super::super::error::nearest;
use super::expand::Names;
use super::ini::{Ini, Section, Setting};
use super::remark::Remarks;

pub(super) struct Values<'a> {
    ini: &'a Ini,
    pub section: &'a Section,
    pub names: Names,
    pub remarks: &'a mut Remarks,
    /// Whether faults of names are told. They would be the same for each of a program's processes.
    pub tells: bool,
}

/// `%(here)s`: the folder of the file that says it, absolute.
pub(super) fn here(file: &Path) -> String {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    absolute.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned()
}

impl<'a> Values<'a> {
    pub fn of(ini: &'a Ini, section: &'a Section, names: Names, remarks: &'a mut Remarks) -> Values<'a> {
        Values { ini, section, names, remarks, tells: true }
    }

    pub fn raw(&self, key: &str) -> Option<&'a Setting> {
        self.ini.get(self.section, key)
    }

    /// With every name replaced.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let setting = self.raw(key)?;
        Some(self.expand(setting))
    }

    /// A value of this section with every name replaced.
    pub fn expand(&mut self, setting: &Setting) -> String {
        self.names.text("here", here(&setting.origin.file));
        let mut faults = Vec::new();
        let text = self.names.expand(&setting.value, &mut faults);
        if self.tells {
            for fault in faults {
                self.say(&setting.key, fault);
            }
        }
        text
    }

    /// Read by `read`. None where it is not there or wrong, which is then told.
    pub fn read<T>(&mut self, key: &str, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let value = read(text.trim());
        if value.is_none() {
            self.say(key, format!("expected {expected}; supervisord refuses it, the default was taken"));
        }
        value
    }

    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        self.read(key, "true or false", super::kinds::flag).unwrap_or(default)
    }

    pub fn number(&mut self, key: &str, default: i64) -> i64 {
        self.read(key, "a whole number", |text| text.parse().ok()).unwrap_or(default)
    }

    /// Says something of a key, where it stands; of the section, where `key` is empty.
    pub fn say(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.raw(key).map_or(&self.section.origin, |setting| &setting.origin).clone();
        let about = format!("[{}]{}{key}", self.section.name, if key.is_empty() { "" } else { " " });
        self.remarks.add(origin, about, message);
    }

    /// Tells of keys that supervisord does not know either, and passes over in silence.
    pub fn unknown(&mut self, known: &[&[&str]]) {
        let known: Vec<&str> = known.concat();
        let keys: Vec<&str> = self.section.settings.iter().map(|s| s.key.as_str()).collect();
        for key in keys.into_iter().filter(|key| !known.contains(key)) {
            let near = nearest(key, known.iter().copied()).map(|near| format!("; was {near} meant?"));
            self.say(key, format!("supervisord has no such key{}", near.unwrap_or_default()));
        }
    }
}
