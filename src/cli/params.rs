//! What a run is given: `--params JSON|@FILE|-`, `--stdin FILE|-`, `--env K=V`.

use std::fs;
use std::io::{self, Read};

use serde_json::value::RawValue;

use super::{Error, escape};

/// The JSON of `--params`, on one line and otherwise byte for byte.
pub fn params(argument: &str) -> Result<Box<RawValue>, Error> {
    let (text, origin) = match argument.strip_prefix('@') {
        Some(path) => (file("--params", path)?, format!("--params {argument}")),
        None if argument == "-" => (stdin("--params")?, "--params - (stdin)".to_owned()),
        None => (argument.to_owned(), "--params".to_owned()),
    };
    one_line(&text, &origin)
}

/// What `--stdin` names, as text.
pub fn input(argument: &str) -> Result<String, Error> {
    if argument == "-" { stdin("--stdin") } else { file("--stdin", argument) }
}

/// `K=V`; an empty value is one.
pub fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// Newlines end a request. Outside of strings they are blanks, and valid JSON has none inside.
fn one_line(text: &str, origin: &str) -> Result<Box<RawValue>, Error> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if !value.get().contains(['\n', '\r']) => Ok(value.to_owned()),
        Ok(value) => RawValue::from_string(value.get().replace(['\n', '\r'], " "))
            .map_err(|error| Error::Failed(format!("{origin}: {error}"))),
        Err(error) => Err(Error::Usage(describe(text, origin, &error))),
    }
}

/// Says where, and shows the place.
fn describe(text: &str, origin: &str, error: &serde_json::Error) -> String {
    let hint = if origin == "--params" && !text.trim_start().starts_with(['{', '[', '"']) {
        "\n(a string needs its quotes: '\"text\"'; a file is @FILE, stdin is -)"
    } else {
        ""
    };
    if text.trim().is_empty() {
        return format!("{origin}: expected JSON, found nothing{hint}");
    }
    let reason = error.to_string();
    let reason = match reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason) {
        "expected ident" | "expected value" => "expected a JSON value",
        reason => reason,
    };
    let (line, column) = (error.line(), error.column());
    let Some(source) = text.lines().nth(line.saturating_sub(1)) else {
        return format!("{origin}: not JSON at line {line}: {reason}{hint}");
    };
    // serde_json counts bytes from 1; a reader counts characters.
    let before = source.get(..column.saturating_sub(1).min(source.len())).unwrap_or(source);
    let character = before.chars().count() + 1;
    let shown_before = escape::line(tail(before, 40)).into_owned();
    let shown_after: String = source.get(before.len()..).unwrap_or("").chars().take(30).collect();
    let caret = " ".repeat(unicode_width::UnicodeWidthStr::width(&*shown_before));
    format!(
        "{origin}: not JSON at line {line}, character {character}: {reason}\n  {shown_before}{}\n  {caret}^{hint}",
        escape::line(&shown_after)
    )
}

fn tail(text: &str, characters: usize) -> &str {
    let skip = text.chars().count().saturating_sub(characters);
    text.char_indices().nth(skip).map_or("", |(at, _)| &text[at..])
}

fn file(option: &str, path: &str) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|error| Error::Failed(format!("{option}: cannot read {path}: {error}")))?;
    utf8(bytes, option, path)
}

fn stdin(option: &str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| Error::Failed(format!("{option} -: cannot read stdin: {error}")))?;
    utf8(bytes, option, "stdin")
}

fn utf8(bytes: Vec<u8>, option: &str, name: &str) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::Failed(format!(
            "{option}: {name} is not UTF-8 at byte {at}; the protocol is JSON and carries text alone"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let error = params(text).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error:?}");
        error.to_string()
    }

    #[test]
    fn numbers_and_order_are_not_touched() {
        let text = r#"{"z":1e400,"a":123456789012345678901234567890,"a":0.10}"#;
        assert_eq!(params(text).unwrap().get(), text);
        assert_eq!(params("-5").unwrap().get(), "-5");
        assert_eq!(params(" null ").unwrap().get(), "null");
    }

    #[test]
    fn json_of_several_lines_travels_on_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        fs::write(&path, "{\r\n  \"a\": \"x\\ny\",\n  \"b\": [\n1 ]\n}\n").unwrap();
        let value = params(&format!("@{}", path.display())).unwrap();
        assert!(!value.get().contains('\n'));
        let value: serde_json::Value = serde_json::from_str(value.get()).unwrap();
        assert_eq!(value, serde_json::json!({"a": "x\ny", "b": [1]}));
    }

    #[test]
    fn bad_json_is_told_with_its_place() {
        let text = wrong(r#"{"ä": nul}"#);
        assert!(text.contains("line 1, character 10"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], r#"  {"ä": nul}"#);
        assert_eq!(lines[2], "           ^");
    }

    #[test]
    fn the_place_in_a_later_line_is_found() {
        let text = wrong("{\n \"a\": 1,\n}");
        assert!(text.contains("line 3, character 1"), "{text}");
    }

    #[test]
    fn a_bare_word_and_nothing_get_a_hint() {
        assert!(wrong("hello").contains("needs its quotes"));
        assert!(wrong("").contains("found nothing"));
        assert!(wrong("{\"a\":1} x").contains("trailing characters"));
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let text = wrong(&format!("[{}\x1b]", "1,".repeat(500)));
        assert!(text.lines().all(|line| line.len() < 120), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_missing_file_is_a_failure_that_names_it() {
        let error = params("@/nowhere/p.json").unwrap_err();
        assert!(matches!(&error, Error::Failed(text) if text.contains("/nowhere/p.json")), "{error:?}");
        assert!(matches!(input("/nowhere/in"), Err(Error::Failed(_))));
    }

    #[test]
    fn variables_need_a_name() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(variable("A=").unwrap(), ("A".into(), String::new()));
        assert!(variable("=x").is_err() && variable("A").is_err());
    }
}
