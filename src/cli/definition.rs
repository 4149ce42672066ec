//! Process files as the terminal reads them: those in JavaScript, too.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::terminal::message;
use super::{Error, escape, javascript};
use crate::processfile::{self, Errors, ProcessFile};

/// What a bare `start` looks for in the working directory, in this order.
pub const USUAL: [&str; 6] = [
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.json",
    "ecosystem.yaml",
    "ecosystem.yml",
    "preforkd.json",
];

/// Whether a word means a process file, by its name alone.
pub fn is_process_file(word: &str) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy();
    // A regular expression is in slashes and ends with one.
    let pattern = word.len() > 1 && word.starts_with('/') && word.ends_with('/');
    !pattern && ([".json", ".yaml", ".yml"].iter().any(|end| name.ends_with(end)) || is_javascript(word))
}

/// Whether it is one that node has to be asked for: `NAME.config.js`.
fn is_javascript(word: &str) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy();
    [".config.js", ".config.cjs", ".config.mjs"].iter().any(|end| name.ends_with(end))
}

/// Reads and checks a process file; warnings and faults go to stderr.
pub fn load(path: &Path) -> Result<ProcessFile, Error> {
    let file = read(path)?.map_err(|errors| report(&errors))?;
    for warning in &file.warnings {
        message(&format!("{}: {warning}", path.display()));
    }
    Ok(file)
}

/// Reads and checks a process file. The outer error: node could not be asked.
pub fn read(path: &Path) -> Result<Result<ProcessFile, Errors>, Error> {
    Ok(match evaluated(path)? {
        Some(text) => processfile::parse(&text, path),
        None => processfile::load(path),
    })
}

/// What a process file in JavaScript says, as JSON; None: it is none.
pub fn evaluated(path: &Path) -> Result<Option<String>, Error> {
    let javascript = is_javascript(&path.to_string_lossy()) && path.is_file();
    javascript.then(|| javascript::evaluate(path)).transpose()
}

/// All faults on stderr, a line each.
pub fn report(errors: &Errors) -> Error {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{}", escape::lines(&errors.to_string()));
    Error::Reported
}

/// The process file that a bare `start` means.
pub fn usual() -> Result<PathBuf, Error> {
    USUAL.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or_else(|| {
        Error::Usage(format!("nothing to start was named, and there is none of {} here", USUAL.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_files_are_known_by_their_names() {
        for word in ["a.json", "/x/eco.yaml", "b.yml", "ecosystem.config.js", "./x.config.cjs"] {
            assert!(is_process_file(word), "{word}");
        }
        for word in ["app.js", "web", "12", "all", "/x.json/", "config.js", "a.json.php", "worker.py"] {
            assert!(!is_process_file(word), "{word}");
        }
    }
}
