//! `preforkd validate`: is a process file right? No daemon needed.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::terminal::write_out;
use super::{Context, Error, escape};
use crate::processfile::{self, Errors, ProcessFile};

/// Check a process file and tell every error in it
///
/// Errors go to stderr as FILE:LINE:COLUMN: KEY: MESSAGE; with --json stdout has them all.
#[derive(Debug, Args)]
pub struct Validate {
    /// The process file
    file: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    valid: bool,
    pools: Vec<PoolFound<'a>>,
    errors: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct PoolFound<'a> {
    name: &'a str,
    runtime: &'static str,
}

#[derive(Serialize)]
struct Fault<'a> {
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    key: Option<&'a str>,
    pool: Option<&'a str>,
    message: &'a str,
}

impl Validate {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let loaded = processfile::load(&self.file);
        if context.json {
            let document = serde_json::to_string(&document(&loaded))
                .map_err(|error| Error::Failed(format!("cannot write the errors as JSON: {error}")))?;
            write_out(format!("{document}\n"))?;
        } else if let Ok(file) = &loaded {
            write_out(format!("{}\n", summary(&self.file.to_string_lossy(), file)))?;
        }
        match loaded {
            Ok(_) => Ok(0),
            Err(errors) => {
                // Nobody is left to tell if this fails.
                let _ = writeln!(io::stderr(), "{}", escape::lines(&errors.to_string()));
                Err(Error::Reported)
            }
        }
    }
}

fn summary(path: &str, file: &ProcessFile) -> String {
    let pools: Vec<String> =
        file.pools.iter().map(|pool| format!("{} ({})", pool.name, pool.runtime.as_str())).collect();
    let count = match pools.len() {
        0 => "no pools".to_owned(),
        1 => "1 pool: ".to_owned(),
        several => format!("{several} pools: "),
    };
    format!("{}: valid, {count}{}", escape::line(path), escape::line(&pools.join(", ")))
}

fn document(loaded: &Result<ProcessFile, Errors>) -> Document<'_> {
    match loaded {
        Ok(file) => Document {
            valid: true,
            pools: file
                .pools
                .iter()
                .map(|pool| PoolFound { name: &pool.name, runtime: pool.runtime.as_str() })
                .collect(),
            errors: Vec::new(),
        },
        Err(errors) => Document {
            valid: false,
            pools: Vec::new(),
            errors: errors
                .0
                .iter()
                .map(|error| Fault {
                    file: error.file.to_string_lossy().into_owned(),
                    line: Some(error.line).filter(|line| *line > 0),
                    column: Some(error.column).filter(|column| *column > 0),
                    key: Some(&*error.key).filter(|key| !key.is_empty()),
                    pool: error.pool.as_deref(),
                    message: &error.message,
                })
                .collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<ProcessFile, Errors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.json");
        std::fs::write(&path, text).unwrap();
        processfile::load(&path)
    }

    #[test]
    fn a_good_file_is_summed_up() {
        let loaded = load(r#"{"pools": [{"name": "a", "runtime": "python"}, {"name": "b", "runtime": "php"}]}"#);
        let text = summary("app.json", loaded.as_ref().unwrap());
        assert_eq!(text, "app.json: valid, 2 pools: a (python), b (php)");
        assert!(document(&loaded).valid);
    }

    #[test]
    fn every_fault_is_in_the_document_with_its_place() {
        let loaded = load("{\"pools\": [{\"name\": \"a\",\n \"runtime\": \"cobol\", \"idel\": 4}]}");
        let document = document(&loaded);
        assert!(!document.valid && document.errors.len() >= 2);
        assert!(document.errors.iter().all(|fault| fault.line == Some(2)));
        assert!(document.errors.iter().any(|fault| fault.message.contains("idle")));
    }

    #[test]
    fn a_missing_file_is_a_fault_without_a_place() {
        let loaded = processfile::load(std::path::Path::new("/nowhere/app.json"));
        let document = document(&loaded);
        assert_eq!((document.errors[0].line, document.errors[0].key), (None, None));
    }
}
