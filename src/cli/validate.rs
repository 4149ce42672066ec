//! `preforkd validate`: is a process file right? No daemon needed.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::terminal::{message, write_out};
use super::{Context, Error, definition, escape};
use crate::processfile::{App, Errors, ProcessFile, Program};

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
    apps: Vec<AppFound<'a>>,
    warnings: &'a [String],
    errors: Vec<Fault<'a>>,
}

#[derive(Serialize)]
struct PoolFound<'a> {
    name: &'a str,
    runtime: &'static str,
}

#[derive(Serialize)]
struct AppFound<'a> {
    name: &'a str,
    script: &'a str,
    pool: Option<&'a str>,
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
        let loaded = definition::read(&self.file)?;
        if context.json {
            let document = serde_json::to_string(&document(&loaded))
                .map_err(|error| Error::Failed(format!("cannot write the errors as JSON: {error}")))?;
            write_out(format!("{document}\n"))?;
        } else if let Ok(file) = &loaded {
            write_out(format!("{}\n", summary(&self.file.to_string_lossy(), file)))?;
            for warning in &file.warnings {
                message(&format!("{}: {warning}", self.file.display()));
            }
        }
        match loaded {
            Ok(_) => Ok(0),
            Err(errors) => Err(definition::report(&errors)),
        }
    }
}

fn summary(path: &str, file: &ProcessFile) -> String {
    let pools = file.pools.iter().map(|pool| format!("{} ({})", pool.name, pool.runtime.as_str())).collect();
    let apps: Vec<String> = file.apps.iter().map(|app| format!("{} ({})", app.name, program(app).0)).collect();
    let mut text = format!("{}: valid, {}", escape::line(path), counted("pool", pools));
    if !apps.is_empty() {
        text.push_str(&format!("; {}", counted("app", apps)));
    }
    text
}

fn counted(what: &str, names: Vec<String>) -> String {
    let count = match names.len() {
        0 => format!("no {what}s"),
        1 => format!("1 {what}: "),
        several => format!("{several} {what}s: "),
    };
    format!("{count}{}", escape::line(&names.join(", ")))
}

/// The script or entry, and the pool.
fn program(app: &App) -> (&str, Option<&str>) {
    match &app.program {
        Program::Exec { script, .. } => (script, None),
        Program::Pool { pool, entry, .. } => (entry, Some(pool)),
    }
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
            apps: file
                .apps
                .iter()
                .map(|app| (app, program(app)))
                .map(|(app, (script, pool))| AppFound { name: &app.name, script, pool })
                .collect(),
            warnings: &file.warnings,
            errors: Vec::new(),
        },
        Err(errors) => Document {
            valid: false,
            pools: Vec::new(),
            apps: Vec::new(),
            warnings: &[],
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
    use crate::processfile;

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
    fn apps_and_warnings_are_told() {
        let loaded = load(r#"{"apps": [{"name": "q", "script": "sleep 5", "exec_mode": "fork"}]}"#);
        let text = summary("app.json", loaded.as_ref().unwrap());
        assert_eq!(text, "app.json: valid, no pools; 1 app: q (sleep)");
        let document = serde_json::to_value(document(&loaded)).unwrap();
        assert_eq!(document["apps"][0]["script"], "sleep");
        assert!(document["warnings"][0].as_str().unwrap().contains("exec_mode"), "{document}");
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
