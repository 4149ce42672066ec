//! Process files from those of other supervisors: supervisord.conf, and pm2's dump of its list.
//!
//! What comes out is text for a person to read and edit, in the keys of this process file; what had no equivalent is
//! said line by line. Nothing is started, and of the file system only the files are read that an `[include]` names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

mod app;
mod daemon;
mod expand;
mod ini;
mod kinds;
mod logs;
mod pm2;
mod pm2_env;
mod program;
mod remark;
mod section;
mod supervisord;
#[cfg(test)]
mod tests;
mod written;

use super::tree::Value;
use super::{jsonc, without_mark};
use remark::{Origin, Remarks};

/// The largest file that is read, in bytes. A dump has the whole environment of every process.
const MAX_BYTES: u64 = 64 << 20;

/// What an import may depend on besides the file.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The caller's environment: `%(ENV_X)s`, and what of a dump is in every session.
    pub env: &'a BTreeMap<String, String>,
    /// The machine's name: `%(host_node_name)s`.
    pub host: &'a str,
}

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// A process file with comments.
    pub text: String,
    /// How many apps it has, at least 1.
    pub apps: usize,
    /// What had no equivalent or differs, a line each: `FILE:LINE: [SECTION] KEY: MESSAGE`.
    pub remarks: Vec<String>,
}

/// What a file is, by what is in it.
enum Kind {
    Supervisord,
    Dump(Vec<super::tree::Node>),
}

/// Turns a supervisord.conf or a dump of pm2's into a process file. What is relative in it is meant from the folder of
/// the file that the result is written to.
///
/// # Errors
/// What the file is instead, or why nothing in it can be used.
pub fn import(path: &Path, around: &Around) -> Result<Imported, String> {
    let failed = |what: String| format!("{}: {what}", path.display());
    let text = read(path).map_err(failed)?;
    let mut remarks = Remarks::default();
    let (drafts, what) = match kind(&text).map_err(failed)? {
        Kind::Supervisord => (supervisord::apps(path, &text, around, &mut remarks), "supervisord's"),
        Kind::Dump(items) => (pm2::apps(path, &items, around, &mut remarks), "pm2's"),
    };
    if drafts.is_empty() {
        let why = remarks.lines().join("\n");
        return Err(failed(format!(
            "there is no program in it that can be used{}{why}",
            if why.is_empty() { "" } else { "\n" }
        )));
    }
    let head = [
        format!(
            "From {what} {}. `preforkd import` says what had no equivalent; it is here, too, beside each app.",
            path.display()
        ),
        "Look it over, check it with `preforkd validate FILE`, start it with `preforkd start FILE`.".to_owned(),
    ];
    let text = written::file(&head, &drafts);
    check(&text, &mut remarks);
    Ok(Imported { apps: drafts.len(), text, remarks: remarks.lines() })
}

/// At most [`MAX_BYTES`] of a file.
fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read it: {error}");
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("cannot read it: not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("expected at most {} MiB", MAX_BYTES >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|error| format!("expected UTF-8: {error}"))?;
    Ok(without_mark(&text).to_owned())
}

fn kind(text: &str) -> Result<Kind, String> {
    const EXPECTED: &str = "expected a supervisord.conf or pm2's dump.pm2";
    let is_process = |value: &Value| matches!(value, Value::Object(entries) if entries.iter().any(|entry| entry.key == "pm_exec_path"));
    let start = text.trim_start();
    let after = start.strip_prefix('[').map(str::trim_start);
    let is_json = start.starts_with('{') || after.is_some_and(|rest| rest.starts_with(['{', ']']));
    if is_json {
        let tree = jsonc::parse(text).map_err(|error| {
            format!("{EXPECTED}, and this is JSON with a fault in line {}: {}", error.line, error.message)
        })?;
        return match tree.value {
            Value::List(items) if items.is_empty() => {
                Err("a dump of pm2's without a process; `pm2 save` writes one".to_owned())
            }
            Value::List(items) if items.iter().any(|item| is_process(&item.value)) => Ok(Kind::Dump(items)),
            _ => Err(format!("{EXPECTED}; this looks like a process file, which `preforkd start` takes as it is")),
        };
    }
    if start.contains("module.exports") || start.contains("export default") {
        return Err(format!(
            "{EXPECTED}; this looks like a process file in JavaScript, which `preforkd start` takes as it is"
        ));
    }
    let is_section = |line: &str| line.trim_end().strip_prefix('[').is_some_and(|rest| rest.contains(']'));
    if text.lines().any(is_section) { Ok(Kind::Supervisord) } else { Err(EXPECTED.to_owned()) }
}

/// What the process file's own rules say of the result. Names of files are not looked at.
fn check(text: &str, remarks: &mut Remarks) {
    if let Err(errors) = super::parse_apps(text, Path::new("/"), &[]) {
        for error in errors.0 {
            let origin = Origin { file: Path::new("the result").into(), line: error.line };
            remarks.add(origin, error.key, error.message);
        }
    }
}
