//! What a word after `start` means, and the app that its options describe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::workers::ByTarget;
use super::{Context, Error, Manner, definition};
use crate::processfile::{self, App, Errors, ProcessFile};
use crate::wire::duration::parse_duration;

/// Options that describe an app; they are for a script, a command or a pool's entry.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// The app's name [default: the script's]
    #[arg(long, short, value_name = "N")]
    name: Option<String>,

    /// How many; max: one a processor, -1: one less
    #[arg(long, short, value_name = "N", allow_hyphen_values = true)]
    instances: Option<String>,

    /// Restart it when a file in its folder changes
    #[arg(long)]
    watch: bool,

    /// What runs the script; none: it is executed itself [default: by its extension]
    #[arg(long, value_name = "X")]
    interpreter: Option<String>,

    /// Its working directory [default: this one]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,

    /// A word for several apps together
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,

    /// Restart it when it has more memory than this, such as 300M
    #[arg(long, value_name = "SIZE")]
    max_memory_restart: Option<String>,

    /// Any exit of its own means that it has ended
    #[arg(long)]
    no_autorestart: bool,

    /// A fixed pause before each restart
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    restart_delay: Option<Duration>,

    /// File for its standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// File for its standard error
    #[arg(long, short, value_name = "FILE")]
    error: Option<PathBuf>,

    /// File for both
    #[arg(long, short, value_name = "FILE")]
    log: Option<PathBuf>,

    /// The time before each line of its output
    #[arg(long)]
    time: bool,

    /// Fork it from this warm pool
    #[arg(long, value_name = "P", requires = "entry")]
    pool: Option<String>,

    /// With --pool: what is run there, as in `run`
    #[arg(long, value_name = "E", requires = "pool")]
    entry: Option<String>,

    /// With --pool: its params
    #[arg(long, value_name = "JSON", requires = "pool")]
    params: Option<String>,
}

/// What can be started.
#[derive(Debug)]
pub enum Startable {
    /// The apps and pools of a process file.
    File(ProcessFile),
    /// One app that the command line describes.
    App {
        /// Checked.
        app: Box<App>,
        /// What its paths are relative to.
        folder: PathBuf,
    },
    /// Workers that are there.
    Target(String),
}

/// What a word means. Looked for in this order: a process file, a worker that is there (where the word is no path), a file,
/// a worker, a command line.
pub fn find(word: &str, options: &Options, args: &[String], context: &Context) -> Result<Startable, Error> {
    let described = options.said() || !args.is_empty();
    let only_for_apps = || Error::Usage(format!("\"{word}\" is no script or command: {}", Options::ONLY_FOR_APPS));
    if options.is_from_pool() {
        return match word {
            "" => options.app(None, args),
            _ => Err(Error::Usage(format!("--pool and --entry say what runs; \"{word}\" is one too many"))),
        };
    }
    if definition::is_process_file(word) {
        if described {
            return Err(only_for_apps());
        }
        return Ok(Startable::File(definition::load(Path::new(word))?));
    }
    let path = match &options.cwd {
        Some(cwd) => cwd.join(word),
        None => PathBuf::from(word),
    };
    let like_a_path = word.contains('/') || path.extension().is_some();
    let is_file = path.is_file() || Path::new(word).is_file();
    let is_script = like_a_path && is_file;
    if !described && !is_script && is_there(word, context)? {
        return Ok(Startable::Target(word.to_owned()));
    }
    let program = !args.is_empty() && !like_a_path && in_path(word);
    if is_file || program || word.contains(char::is_whitespace) {
        // A path is the caller's; whatever its folder is to be.
        let script = match Path::new(word).is_file() {
            true => std::path::absolute(word).map_or_else(|_| word.to_owned(), |p| p.to_string_lossy().into_owned()),
            false => word.to_owned(),
        };
        return options.app(Some(script), args);
    }
    let folder = std::env::current_dir().unwrap_or_default();
    Err(Error::Failed(format!(
        "nothing to start is called \"{word}\": there is no such file in {}, no such id, name or namespace in \
         `preforkd list`, and it is no command line with a blank in it",
        options.cwd.as_deref().unwrap_or(&folder).display()
    )))
}

/// Whether workers of that name and so on are there. Without a daemon there are none.
fn is_there(word: &str, context: &Context) -> Result<bool, Error> {
    let mut client = match context.client() {
        Err(Error::NoDaemon { .. }) => return Ok(false),
        other => other?,
    };
    match client.call("apps.list", &ByTarget { target: &[word.to_owned()] }, Manner::READ) {
        Ok(_) => Ok(true),
        Err(Error::Refused(refusal)) if refusal.kind() == "app_not_found" => Ok(false),
        Err(error) => Err(error),
    }
}

fn in_path(word: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(word).is_file()))
}

impl Options {
    const ONLY_FOR_APPS: &str = "options that describe an app, and arguments, are for those";

    /// Whether it is to be forked from a pool.
    pub fn is_from_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// Whether there is any.
    fn said(&self) -> bool {
        !self.object().is_empty()
    }

    /// The app, checked as one in a file of this folder would be.
    fn app(&self, script: Option<String>, args: &[String]) -> Result<Startable, Error> {
        let folder = std::env::current_dir()
            .map_err(|error| Error::Failed(format!("cannot tell the working directory: {error}")))?;
        let mut app = self.object();
        if let Some(script) = script {
            app.insert("script".to_owned(), script.into());
        }
        if let Some(params) = &self.params {
            let params: Value =
                serde_json::from_str(params).map_err(|error| Error::Usage(format!("--params is not JSON: {error}")))?;
            app.insert("params".to_owned(), params);
        }
        if !args.is_empty() {
            app.insert("args".to_owned(), args.to_vec().into());
        }
        let text = json!({ "apps": [app] }).to_string();
        let apps = match &self.pool {
            Some(_) if self.name.is_none() => {
                return Err(Error::Usage(
                    "--pool: there is no script that would give the app a name: say one with --name".to_owned(),
                ));
            }
            // The pool is the daemon's, and its name and entry are checked there.
            Some(pool) => processfile::parse_apps(&text, &folder, &[pool]).map(|(apps, _)| apps),
            None => processfile::parse(&text, &folder.join("the command line")).map(|file| file.apps),
        };
        let app = apps.map_err(|errors| Error::Usage(explain(&errors)))?.pop();
        let app = app.ok_or_else(|| Error::Failed("the command line describes no app".to_owned()))?;
        Ok(Startable::App { app: Box::new(app), folder })
    }

    /// The keys of a process file that the options stand for.
    fn object(&self) -> Map<String, Value> {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| Value::from(path.to_string_lossy()));
        let flag = |flag: bool, value: bool| flag.then_some(Value::from(value));
        let delay = self.restart_delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).into());
        let keys = [
            ("name", text(&self.name)),
            ("instances", text(&self.instances)),
            ("watch", flag(self.watch, true)),
            ("interpreter", text(&self.interpreter)),
            ("cwd", path(&self.cwd)),
            ("namespace", text(&self.namespace)),
            ("max_memory_restart", text(&self.max_memory_restart)),
            ("autorestart", flag(self.no_autorestart, false)),
            ("restart_delay", delay),
            ("out_file", path(&self.output)),
            ("error_file", path(&self.error)),
            ("log_file", path(&self.log)),
            ("time", flag(self.time, true)),
            ("pool", text(&self.pool)),
            ("entry", text(&self.entry)),
        ];
        keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// The faults without places: the text they are in was never written by anybody.
fn explain(errors: &Errors) -> String {
    let fault = |error: &processfile::Error| {
        let key = error.key.rsplit("].").next().unwrap_or_default();
        format!("{key}: {}", error.message)
    };
    errors.0.iter().map(fault).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "startable_tests.rs"]
mod tests;
