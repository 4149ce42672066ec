//! INI files as supervisord reads them: the rules of Python's `configparser` with `strict=False`, and `;` and `#` as
//! comments inside of lines.
//!
//! Several files are one: a section that is there again goes on, a key that is there again counts last.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::remark::{Origin, Remarks};

/// Every section of a file and of those that it includes.
#[derive(Default)]
pub(super) struct Ini {
    sections: Vec<Section>,
    /// `[DEFAULT]`: what every other section has that does not say otherwise.
    defaults: Vec<Setting>,
}

pub(super) struct Section {
    pub name: String,
    pub origin: Origin,
    pub settings: Vec<Setting>,
}

/// `KEY = VALUE`; lines that go on are joined by line ends.
#[derive(Clone)]
pub(super) struct Setting {
    /// In small letters.
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

impl Ini {
    /// Sections in the order in which they were first named.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// A section's value, or that of `[DEFAULT]`.
    pub fn get<'a>(&'a self, section: &'a Section, key: &str) -> Option<&'a Setting> {
        let of = |settings: &'a [Setting]| settings.iter().find(|setting| setting.key == key);
        of(&section.settings).or_else(|| of(&self.defaults))
    }

    /// Reads one more file. Lines that mean nothing are told.
    pub fn read(&mut self, text: &str, file: &Rc<Path>, remarks: &mut Remarks) {
        let mut current: Option<Place> = None;
        let mut open: Option<Open> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let origin = Origin { file: Rc::clone(file), line: number };
            let (kept, comment) = without_comment(line);
            let said = kept.trim();
            if said.is_empty() {
                // An empty line belongs to a value that goes on; one with a comment does not.
                if let (Some(open), false) = (&mut open, comment) {
                    open.empty_lines += 1;
                }
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            if let Some(open) = open.as_mut().filter(|open| indent > open.indent) {
                if let Some(place) = current {
                    self.append(place, open, said);
                }
                continue;
            }
            open = None;
            if let Some(name) = header(said) {
                current = Some(self.enter(name, origin));
                continue;
            }
            let Some(place) = current else {
                remarks.add(origin, "", "stands before the first [section], and means nothing to supervisord either");
                continue;
            };
            match said.split_once(['=', ':']).filter(|(key, _)| !key.trim().is_empty()) {
                Some((key, value)) => {
                    let key = key.trim().to_lowercase();
                    let index = self.set(place, Setting { key, value: value.trim().to_owned(), origin });
                    open = Some(Open { index, indent, empty_lines: 0 });
                }
                None => remarks.add(origin, "", "expected KEY=VALUE; supervisord refuses a file with this line"),
            }
        }
    }

    fn enter(&mut self, name: &str, origin: Origin) -> Place {
        if name == "DEFAULT" {
            return Place::Defaults;
        }
        let there = self.sections.iter().position(|section| section.name == name);
        Place::Section(there.unwrap_or_else(|| {
            self.sections.push(Section { name: name.to_owned(), origin, settings: Vec::new() });
            self.sections.len() - 1
        }))
    }

    fn settings(&mut self, place: Place) -> &mut Vec<Setting> {
        match place {
            Place::Section(index) => &mut self.sections[index].settings,
            Place::Defaults => &mut self.defaults,
        }
    }

    fn set(&mut self, place: Place, setting: Setting) -> usize {
        let settings = self.settings(place);
        match settings.iter().position(|other| other.key == setting.key) {
            Some(index) => {
                settings[index] = setting;
                index
            }
            None => {
                settings.push(setting);
                settings.len() - 1
            }
        }
    }

    fn append(&mut self, place: Place, open: &mut Open, line: &str) {
        let value = &mut self.settings(place)[open.index].value;
        value.push_str(&"\n".repeat(open.empty_lines + 1));
        value.push_str(line);
        open.empty_lines = 0;
    }
}

#[derive(Clone, Copy)]
enum Place {
    Section(usize),
    Defaults,
}

/// The value that deeper lines continue.
struct Open {
    index: usize,
    indent: usize,
    empty_lines: usize,
}

fn header(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?;
    name.rfind(']').map(|end| &name[..end]).filter(|name| !name.is_empty())
}

/// The line up to its comment, and whether it had one: `;` or `#` at the start or after white space.
fn without_comment(line: &str) -> (&str, bool) {
    let mut after_space = true;
    for (at, character) in line.char_indices() {
        if after_space && matches!(character, ';' | '#') {
            return (&line[..at], true);
        }
        after_space = character.is_whitespace();
    }
    (line, false)
}

/// The files that a pattern of `[include]` means, in supervisord's order.
pub(super) fn included(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let whole = base.join(pattern);
    let found = glob::glob_with(&whole.to_string_lossy(), options).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = found.filter_map(Result::ok).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> (Ini, Vec<String>) {
        let (mut ini, mut remarks) = (Ini::default(), Remarks::default());
        for text in texts {
            ini.read(text, &Rc::from(Path::new("s.conf")), &mut remarks);
        }
        (ini, remarks.lines())
    }

    fn value(ini: &Ini, section: &str, key: &str) -> String {
        ini.get(ini.section(section).unwrap(), key).unwrap().value.clone()
    }

    #[test]
    fn comments_end_a_line_only_after_white_space() {
        let (ini, remarks) = read(&["; all\n[a]\n# no\nCommand = x;y#z ; why\nb:c # d\n ; e\nempty=\n"]);
        assert_eq!(value(&ini, "a", "command"), "x;y#z");
        assert_eq!(value(&ini, "a", "b"), "c");
        assert_eq!(value(&ini, "a", "empty"), "");
        assert!(remarks.is_empty(), "{remarks:?}");
    }

    #[test]
    fn deeper_lines_go_on() {
        let (ini, _) = read(&["[a]\nenvironment=A=\"1\",\n    B=\"2\", ; two\n\n    C=\"3\"\nnext=1\n\n[b]\nk=v\n"]);
        assert_eq!(value(&ini, "a", "environment"), "A=\"1\",\nB=\"2\",\n\nC=\"3\"");
        assert_eq!(value(&ini, "a", "next"), "1");
        assert_eq!(value(&ini, "b", "k"), "v");
    }

    #[test]
    fn what_is_there_again_counts_last_and_defaults_fill_in() {
        let (ini, _) = read(&["[DEFAULT]\nuser=www\nx=0\n[a]\nx=1\ny=2\n[b]\n", "[a]\nX=3\n"]);
        assert_eq!(value(&ini, "a", "x"), "3");
        assert_eq!(value(&ini, "a", "y"), "2");
        assert_eq!(value(&ini, "b", "user"), "www");
        assert_eq!(ini.sections().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn lines_without_a_meaning_are_told_with_their_place() {
        let (_, remarks) = read(&["lost=1\n[a]\nnothing\n"]);
        assert!(remarks[0].starts_with("s.conf:1: ") && remarks[1].starts_with("s.conf:3: "), "{remarks:?}");
        assert_eq!(remarks.len(), 2);
    }

    #[test]
    fn patterns_find_files_in_order_and_no_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.ini"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = included(folder.path(), "*.conf").unwrap();
        assert_eq!(found, [folder.path().join("a.conf"), folder.path().join("b.conf")]);
        assert!(included(folder.path(), "x/*.conf").unwrap().is_empty());
    }
}
