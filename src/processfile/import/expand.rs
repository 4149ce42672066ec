//! `%(name)s` in supervisord's values: Python's `%` operator with a mapping.

use std::collections::BTreeMap;

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Meaning {
    Text(String),
    Number(i64),
}

/// The names that a value may use.
#[derive(Clone, Default)]
pub(super) struct Names(BTreeMap<String, Meaning>);

impl Names {
    pub fn text(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), Meaning::Text(value.into()));
    }

    pub fn number(&mut self, name: impl Into<String>, value: i64) {
        self.0.insert(name.into(), Meaning::Number(value));
    }

    /// The value with every name replaced. What cannot be replaced stays as it is written; why is told in `faults`.
    pub fn expand(&self, value: &str, faults: &mut Vec<String>) -> String {
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let length = match conversion(rest) {
                Some((Conversion::Percent, length)) => {
                    out.push('%');
                    length
                }
                Some((Conversion::Name(name, form), length)) => {
                    match self.0.get(name).map(|meaning| form.apply(meaning)) {
                        Some(Some(text)) => out.push_str(&text),
                        fault => {
                            let written = &rest[..length];
                            faults.push(match (fault, name.strip_prefix("ENV_")) {
                                (Some(_), _) => format!("{written} is no number"),
                                (None, Some(variable)) => {
                                    format!(
                                        "{written}: {variable} is not set here; import with it set, or write the value"
                                    )
                                }
                                (None, None) => format!("{written} stands for nothing"),
                            });
                            out.push_str(written);
                        }
                    }
                    length
                }
                None => {
                    faults.push("a single % is written %%".to_owned());
                    out.push('%');
                    1
                }
            };
            rest = &rest[length..];
        }
        out.push_str(rest);
        out
    }
}

/// The variables `%(ENV_X)s` that a value names.
pub(super) fn variables(value: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        rest = &rest[at..];
        let length = match conversion(rest) {
            Some((Conversion::Name(name, _), length)) => {
                found.extend(name.strip_prefix("ENV_"));
                length
            }
            Some((Conversion::Percent, length)) => length,
            None => 1,
        };
        rest = &rest[length..];
    }
    found
}

enum Conversion<'a> {
    Percent,
    Name(&'a str, Form),
}

/// How a value is written: `02d`.
struct Form {
    zeros: bool,
    left: bool,
    sign: bool,
    width: usize,
    letter: char,
}

/// Widths beyond this are no names of files.
const WIDEST: usize = 64;

/// The conversion at the start of `text`, a `%`, and its length.
fn conversion(text: &str) -> Option<(Conversion<'_>, usize)> {
    let rest = text.strip_prefix('%')?;
    if rest.starts_with('%') {
        return Some((Conversion::Percent, 2));
    }
    let inner = rest.strip_prefix('(')?;
    let close = inner.find(')')?;
    let (name, mut after) = (&inner[..close], &inner[close + 1..]);
    let mut form = Form { zeros: false, left: false, sign: false, width: 0, letter: 's' };
    while let Some(flag) = after.chars().next().filter(|c| matches!(c, '0' | '-' | '+' | ' ' | '#')) {
        form.zeros |= flag == '0';
        form.left |= flag == '-';
        form.sign |= flag == '+';
        after = &after[1..];
    }
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    if digits > 0 {
        form.width = after[..digits].parse().ok().filter(|width| *width <= WIDEST)?;
    }
    after = &after[digits..];
    form.letter = after.chars().next().filter(|c| matches!(c, 's' | 'd' | 'i' | 'u' | 'x' | 'X' | 'o'))?;
    let length = text.len() - after.len() + 1;
    Some((Conversion::Name(name, form), length))
}

impl Form {
    /// None: a letter for numbers, and a text that is none.
    fn apply(&self, meaning: &Meaning) -> Option<String> {
        let text = match (meaning, self.letter) {
            (Meaning::Text(text), 's') => return Some(self.pad(text.clone())),
            (Meaning::Text(_), _) => return None,
            (Meaning::Number(number), 'x') => format!("{number:x}"),
            (Meaning::Number(number), 'X') => format!("{number:X}"),
            (Meaning::Number(number), 'o') => format!("{number:o}"),
            (Meaning::Number(number), 's') => return Some(self.pad(number.to_string())),
            (Meaning::Number(number), _) if self.sign => format!("{number:+}"),
            (Meaning::Number(number), _) => number.to_string(),
        };
        if !self.zeros || self.left {
            return Some(self.pad(text));
        }
        let digits = text.trim_start_matches(['-', '+']);
        let sign = &text[..text.len() - digits.len()];
        let zeros = self.width.saturating_sub(text.len());
        Some(format!("{sign}{}{digits}", "0".repeat(zeros)))
    }

    fn pad(&self, text: String) -> String {
        let width = self.width;
        if self.left { format!("{text:<width$}") } else { format!("{text:>width$}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.text("program_name", "web");
        names.text("ENV_HOME", "/home/u");
        names.number("process_num", 7);
        names
    }

    #[test]
    fn names_are_replaced_as_python_does() {
        for (written, meant) in [
            ("%(program_name)s_%(process_num)02d", "web_07"),
            ("%(process_num)d%%", "7%"),
            ("%(process_num)s", "7"),
            ("%(process_num)3d|%(process_num)-3d|", "  7|7  |"),
            ("%(process_num)+04d %(process_num)x", "+007 7"),
            ("%(ENV_HOME)s/x", "/home/u/x"),
            ("plain", "plain"),
        ] {
            let mut faults = Vec::new();
            assert_eq!(names().expand(written, &mut faults), meant);
            assert!(faults.is_empty(), "{written}: {faults:?}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_is_told() {
        for (written, why) in [
            ("a %(ENV_NOT_THERE)s b", "NOT_THERE is not set"),
            ("%(nobody)s", "stands for nothing"),
            ("%(program_name)d", "no number"),
            ("100%", "written %%"),
            ("%(program_name)", "written %%"),
        ] {
            let mut faults = Vec::new();
            assert_eq!(names().expand(written, &mut faults), written);
            assert!(faults.len() == 1 && faults[0].contains(why), "{faults:?}");
        }
    }

    #[test]
    fn variables_are_found() {
        assert_eq!(variables("%(ENV_A)s %% %(here)s 5% %(ENV_B)s"), ["A", "B"]);
    }
}
