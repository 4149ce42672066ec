//! Paths and programs that a file names: made absolute, and looked at whether they are there.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Presence;
use super::error::{At, Report};
use super::tree::{Node, Quoted, Value};
use super::values::{STRING_BYTES, list, text};

/// Longest path that the kernel takes, its end included (PATH_MAX).
const PATH_BYTES: usize = 4096;

/// A path, made absolute against `folder`.
fn path(node: &Node, at: &At, report: &mut Report, expected: &str, folder: &Path) -> Option<PathBuf> {
    let text = text(node, at, report, expected, PATH_BYTES - 1)?;
    Some(absolute(folder, text))
}

/// `path` below the absolute `folder`, without `.` and double slashes. Links stay as they are
/// named, so that what a link stands for may change between two loads.
pub(super) fn absolute(folder: &Path, path: &str) -> PathBuf {
    folder.join(path).components().collect()
}

/// A folder that is there.
pub(super) fn folder(node: &Node, at: &At, report: &mut Report, base: &Path, presence: Presence) -> Option<PathBuf> {
    let path = path(node, at, report, "the path of a folder", base)?;
    match folder_fault(&path).filter(|_| presence == Presence::Checked) {
        None => Some(path),
        Some(fault) => {
            report.add((node.line, node.column), at, || format!("expected a folder, but {fault}"));
            None
        }
    }
}

/// Why a path is no folder to work in.
pub(super) fn folder_fault(path: &Path) -> Option<String> {
    let shown = path.to_string_lossy();
    match fs::metadata(path) {
        Ok(data) if data.is_dir() => None,
        Ok(_) => Some(format!("{}: not a folder", Quoted(&shown))),
        Err(error) => Some(format!("{}: {error}", Quoted(&shown))),
    }
}

/// A file that can be read.
pub(super) fn readable(node: &Node, at: &At, report: &mut Report, base: &Path, presence: Presence) -> Option<PathBuf> {
    let path = path(node, at, report, "the path of a file", base)?;
    let shown = path.to_string_lossy();
    // The type first: opening a pipe could wait for ever.
    let fault = match fs::metadata(&path) {
        Ok(data) if data.is_file() => File::open(&path).err().map(|error| error.to_string()),
        Ok(_) => Some("not a regular file".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    match fault.filter(|_| presence == Presence::Checked) {
        None => Some(path),
        Some(fault) => {
            let message = || format!("expected a readable file, but {}: {fault}", Quoted(&shown));
            report.add((node.line, node.column), at, message);
            None
        }
    }
}

/// A program and its arguments. A program with a slash is a path, made absolute against `base`,
/// and must be there; without one it is looked up in PATH when it is started.
pub(super) fn program(
    node: &Node,
    at: &At,
    report: &mut Report,
    base: &Path,
    presence: Presence,
) -> Option<Vec<String>> {
    let expected = "text, first the program, then its arguments";
    let words = list(node, at, report, expected, (1000, STRING_BYTES - 1))?;
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let program = words.first_mut()?;
    if program.contains('/') {
        let path = absolute(base, program);
        let fault = match fs::metadata(&path) {
            Ok(data) if !data.is_file() => Some("not a regular file".to_owned()),
            Ok(data) if data.permissions().mode() & 0o111 == 0 => Some("not executable".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let fault = fault.filter(|_| presence == Presence::Checked).or_else(|| {
            let utf8 = path.to_str();
            *program = utf8.unwrap_or(program).to_owned();
            utf8.is_none().then(|| "its folder's path is not UTF-8".to_owned())
        });
        if let Some(fault) = fault {
            let first = match &node.value {
                Value::List(items) => items.first().unwrap_or(node),
                _ => node,
            };
            let shown = path.to_string_lossy();
            let message = || format!("expected a program, but {}: {fault}", Quoted(&shown));
            report.add((first.line, first.column), &At::Item(at, 0), message);
            return None;
        }
    }
    Some(words)
}
