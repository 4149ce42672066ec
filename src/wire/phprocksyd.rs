//! Phprocksyd's commands: a word, and maybe JSON. Its `hash` is the run's id in decimal text.

use super::json::{self, present};
use super::request::{entry_shape, is_run_id};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A command line.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are those of the JSON-RPC methods")]
pub enum Command {
    /// Start `entry` in the default pool.
    Run { id: String, entry: String, params: Option<Box<RawValue>> },
    /// How it ended.
    Check { id: String },
    /// Forget it.
    Free { id: String },
    /// TERM.
    Terminate { id: String },
    /// A new program in place of this one.
    Restart,
    /// End the daemon.
    Stop,
    /// Close the connection.
    Bye,
    /// Say who one is.
    Auth { token: String },
    /// Nothing to be done: the answer, without a newline.
    Bad(Vec<u8>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Arguments<'a> {
    #[serde(borrow, deserialize_with = "present")]
    hash: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    class: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// The most of an unknown command and of its JSON that its answer repeats, in characters.
const MAX_REPEATED: usize = 256;

/// Reads a command line.
pub fn parse(line: &[u8]) -> Command {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = (&line[..end], line[end..].trim_ascii_start());
    if word == b"auth" {
        return match std::str::from_utf8(rest) {
            Ok(token) if !token.is_empty() => Command::Auth { token: token.to_owned() },
            _ => bad("auth needs a token: auth TOKEN"),
        };
    }
    if !matches!(word, b"run" | b"check" | b"free" | b"terminate" | b"restart" | b"stop" | b"bye") {
        return unknown(word, rest);
    }
    let arguments = match arguments(rest) {
        Ok(arguments) => arguments,
        Err(error) => return bad(&format!("Malformed JSON: {error}")),
    };
    let id = arguments.hash.and_then(|hash| decimal(hash.get()));
    match (word, id) {
        (b"run", Some(id)) => run(id, &arguments),
        (b"run", None) => bad("hash is not numeric"),
        (b"check", Some(id)) => Command::Check { id },
        (b"check", None) => bad("Hash is not numeric"),
        (b"free", Some(id)) => Command::Free { id },
        (b"terminate", Some(id)) => Command::Terminate { id },
        (b"free" | b"terminate", None) => bad("Hash not found"),
        (b"restart", _) => Command::Restart,
        (b"stop", _) => Command::Stop,
        _ => Command::Bye,
    }
}

fn run(id: String, arguments: &Arguments<'_>) -> Command {
    let class = arguments.class.and_then(|class| serde_json::from_str::<String>(class.get()).ok());
    let Some(entry) = class else {
        return bad("class is not a string");
    };
    if let Err(why) = entry_shape(&entry) {
        return bad(&format!("class {why}"));
    }
    Command::Run { id, entry, params: arguments.params.map(ToOwned::to_owned) }
}

fn arguments(rest: &[u8]) -> Result<Arguments<'_>, json::BadJson> {
    let text = json::text(rest, json::MAX_DEPTH)?;
    match text.as_bytes().first() {
        None => Ok(Arguments::default()),
        Some(b'{') => Ok(serde_json::from_str(text)?),
        // An empty array and an empty object are the same to PHP.
        Some(_) if text == "[]" => Ok(Arguments::default()),
        Some(_) => Err(json::BadJson::Syntax("not an object".to_owned())),
    }
}

/// The decimal text of a number, or of a string that is one in PHP's eyes.
///
/// Zeros and points stay as they are written: `1.0` and `1` are two runs.
/// Exponents and signs before the digits other than a minus are no ids.
fn decimal(raw: &str) -> Option<String> {
    let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (numeric(whole) && numeric(part) && is_run_id(text)).then(|| text.to_owned())
}

fn unknown(word: &[u8], rest: &[u8]) -> Command {
    let repeat = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(MAX_REPEATED).collect::<String>();
    let rest = if rest.is_empty() { "{}".to_owned() } else { repeat(rest) };
    bad(&format!("UNKNOWN REQUEST 'request_{}': {rest}", repeat(word)))
}

fn bad(text: &str) -> Command {
    let mut answer = Vec::new();
    error_text(&mut answer, text);
    Command::Bad(answer)
}

/// Appends `{"error_text":"…"}`, without a newline.
pub fn error_text(out: &mut Vec<u8>, text: &str) {
    #[derive(Serialize)]
    struct ErrorText<'a> {
        error_text: &'a str,
    }
    append(out, &ErrorText { error_text: text });
}

/// Appends `{"retcode":3}` or, for a run that a signal killed, `{"retcode":137,"signal":9}`; without a newline.
/// `code` is what to say as the code, 128 + n for a signal.
pub fn retcode(out: &mut Vec<u8>, code: i32, signal: Option<i32>) {
    #[derive(Serialize)]
    struct Retcode {
        retcode: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    }
    append(out, &Retcode { retcode: code, signal });
}

fn append<T: Serialize>(out: &mut Vec<u8>, answer: &T) {
    // invariant: strings and integers go into JSON, and a Vec takes all that is written.
    let written = serde_json::to_writer(out, answer);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests;
