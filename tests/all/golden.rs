//! The transcripts in proto/golden, replayed as its README says.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::house::{Client, Daemon, Setup};

/// A step that does not come true within this time has failed (proto/golden/README.md).
const STEP: Duration = Duration::from_secs(10);

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/golden"))
}

#[test]
fn every_transcript_replays_and_stop_ends_the_daemon() {
    let mut daemon = Setup::native(json!({})).start();
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".jsonl") && n != "stop.jsonl")
        .collect();
    names.sort();
    assert!(names.len() >= 10, "transcripts are missing: {names:?}");
    for name in &names {
        replay(&daemon, name);
    }
    replay(&daemon, "stop.jsonl");
    let status = daemon.ends(Duration::from_secs(9));
    assert!(status.success(), "{status}");
}

fn replay(daemon: &Daemon, name: &str) {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let mut player = Player { daemon, client: connect(daemon, "unix"), values: HashMap::new() };
    for (index, line) in text.lines().enumerate() {
        let step: Map<String, Value> = serde_json::from_str(line).unwrap();
        let (kind, value) = step.iter().next().unwrap();
        let place = format!("{name}:{}", index + 1);
        assert_eq!(step.len(), 1, "{place}");
        player.step(&place, kind, value);
    }
}

fn connect(daemon: &Daemon, how: &str) -> Client {
    let mut client = if how == "tcp" { daemon.tcp() } else { daemon.client() };
    client.patience(STEP).unwrap();
    client
}

struct Player<'a> {
    daemon: &'a Daemon,
    client: Client,
    values: HashMap<String, Value>,
}

impl Player<'_> {
    fn step(&mut self, place: &str, kind: &str, value: &Value) {
        let text = || value.as_str().unwrap_or_else(|| panic!("{place}: {kind} wants a string"));
        match kind {
            "note" => {}
            "connect" => self.client = connect(self.daemon, text()),
            // The daemon may have closed already: what comes back tells.
            "send" => drop(self.client.send_raw(format!("{}\n", self.filled(text())).as_bytes())),
            "send_raw" => drop(self.client.send_raw(self.filled(text()).as_bytes())),
            "send_repeat" => {
                let many = value[0].as_str().unwrap().repeat(value[1].as_u64().unwrap() as usize);
                let _ = self.client.send_raw(format!("{many}{}\n", value[2].as_str().unwrap()).as_bytes());
            }
            "expect" => {
                let line = self.line(place);
                if let Err(why) = self.matches(value, &line) {
                    panic!("{place}: {why}\n  expected {value}\n  came     {line:.2000}");
                }
            }
            "expect_later" => {
                let by = Instant::now() + STEP;
                loop {
                    let line = self.line(place);
                    if self.matches(value, &line).is_ok() {
                        break;
                    }
                    assert!(Instant::now() < by, "{place}: {value} does not come");
                }
            }
            "expect_unordered" => {
                let mut left: Vec<&Value> = value.as_array().unwrap().iter().collect();
                while !left.is_empty() {
                    let line = self.line(place);
                    let found = left.iter().position(|pattern| self.matches(pattern, &line).is_ok());
                    let found = found.unwrap_or_else(|| panic!("{place}: none of {left:?} matches {line:.2000}"));
                    left.remove(found);
                }
            }
            "expect_close" => match self.client.try_line() {
                Ok(None) => {}
                other => panic!("{place}: the connection should have ended, but: {other:?}"),
            },
            _ => panic!("{place}: no such step: {kind}"),
        }
    }

    fn line(&mut self, place: &str) -> Value {
        let line = self.client.try_line().unwrap_or_else(|e| panic!("{place}: no answer: {e}"));
        let line = line.unwrap_or_else(|| panic!("{place}: the connection ended in place of an answer"));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{place}: not JSON ({e}): {line:.500}"))
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = text.replace(&format!("${{{name}}}"), &plain);
        }
        text
    }

    fn matches(&mut self, pattern: &Value, value: &Value) -> Result<(), String> {
        match (pattern, value) {
            (Value::Array(patterns), Value::Array(values)) if patterns.len() == values.len() => {
                patterns.iter().zip(values).try_for_each(|(p, v)| self.matches(p, v))
            }
            (Value::Object(patterns), Value::Object(values)) => {
                for (key, pattern) in patterns.iter().filter(|(k, _)| *k != "...") {
                    let value = values.get(key).ok_or_else(|| format!("the key {key} is missing"))?;
                    self.matches(pattern, value).map_err(|e| format!("{key}: {e}"))?;
                }
                match values.keys().find(|k| !patterns.contains_key(*k)) {
                    Some(key) if !patterns.contains_key("...") => Err(format!("the key {key} is too much")),
                    _ => Ok(()),
                }
            }
            (Value::String(word), _) if word.starts_with('<') && word.ends_with('>') => self.word(word, value),
            _ if pattern == value => Ok(()),
            _ => Err(format!("{pattern} is not {value:.200}")),
        }
    }

    fn word(&mut self, word: &str, value: &Value) -> Result<(), String> {
        let inner = &word[1..word.len() - 1];
        let (kind, name) = match inner.split_once('=') {
            Some((kind, name)) if !inner.starts_with("has:") => (kind, Some(name)),
            _ => (inner, None),
        };
        let text = value.as_str();
        let good = match kind {
            "any" => true,
            "str" => text.is_some(),
            "int" => value.as_u64().is_some(),
            "bool" => value.is_boolean(),
            "pid" => value.as_u64().is_some_and(|n| n >= 2),
            "uuid" => text.is_some_and(is_uuid),
            "time" => text.is_some_and(is_time),
            _ => match kind.strip_prefix("has:") {
                Some(part) => text.is_some_and(|t| t.contains(part)),
                None => panic!("no such word: {word}"),
            },
        };
        if let (true, Some(name)) = (good, name) {
            self.values.insert(name.to_owned(), value.clone());
        }
        if good { Ok(()) } else { Err(format!("{value:.200} is no {word}")) }
    }
}

/// `d` in the shape is a digit, `x` a small hexadecimal one.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            other => byte == other,
        })
}

fn is_uuid(text: &str) -> bool {
    has_shape(text, "xxxxxxxx-xxxx-7xxx-xxxx-xxxxxxxxxxxx")
}

fn is_time(text: &str) -> bool {
    has_shape(text, "dddd-dd-ddTdd:dd:dd.ddddddZ")
}
