//! `preforkd start`: a process file, a script, a command line, or what is there already.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::restart::environment;
use super::startable::Startable;
use super::terminal::write_out;
use super::workers::{judge, show};
use super::{Client, Context, Error, Manner, bringup, definition, startable};
use crate::processfile::{App, Pool};
use crate::wire::apps::Workers;

const EXAMPLES: &str = "\
Examples:
  preforkd start                                     ecosystem.config.js, ecosystem.json, … in this folder
  preforkd start ecosystem.json --only web,mail --env production
  preforkd start worker.php -i 4 --name mail -- --verbose
  preforkd start \"php artisan queue:work\" --name q -- --sleep 3
  preforkd start --pool billing --entry App\\\\Worker::run --name billing-worker -i 100
  preforkd start web                                 an app that is there, by id, name, namespace, all, /regex/

Where no daemon runs one is brought up. The exit code is 1 where one of the workers does not stay up.";

/// Start a process file, a script, a command, or workers that are stopped
///
/// New apps are added; running ones whose definition has not changed are left alone; changed ones are restarted.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Start {
    /// Process files, scripts, command lines with a blank in them, or known targets
    #[arg(value_name = "WORD")]
    words: Vec<String>,

    /// Of a process file: these apps alone
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Vec<String>,

    /// Of a process file: the variables of env_NAME over those of env
    #[arg(long, value_name = "NAME")]
    env: Option<String>,

    /// Workers that run get the environment of this command, too, and are restarted
    #[arg(long)]
    update_env: bool,

    #[command(flatten)]
    app: startable::Options,

    /// Arguments of the script
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// `apps.start` and `apps.apply` with definitions.
#[derive(Debug, Serialize)]
pub struct Definitions {
    apps: Vec<Value>,
    pools: Vec<Value>,
    folder: PathBuf,
    env: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_env: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

impl Definitions {
    /// These, for an environment like ours.
    pub fn of(apps: &[App], pools: &[Pool], folder: &Path) -> Definitions {
        Definitions {
            apps: apps.iter().map(App::to_json).collect(),
            pools: pools.iter().map(Pool::to_json).collect(),
            folder: folder.to_owned(),
            env: environment(),
            update_env: None,
            dry_run: None,
        }
    }

    /// They are to be told apart only.
    pub fn dry_run(self, dry_run: bool) -> Definitions {
        Definitions { dry_run: Some(dry_run), ..self }
    }
}

impl Start {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let words = match (self.words.is_empty(), self.app.is_from_pool()) {
            (false, _) => self.words.clone(),
            (true, true) => vec![String::new()],
            (true, false) => vec![definition::usual()?.to_string_lossy().into_owned()],
        };
        // What cannot be read is told before a daemon is brought up for it.
        let what = words.iter().map(|word| self.what(word, context)).collect::<Result<Vec<_>, _>>()?;
        let mut client = bringup::client(context)?;
        let mut started = Vec::new();
        for what in &what {
            started.push(self.start(&mut client, what)?);
        }
        let mut all = Workers { workers: Vec::new() };
        for answer in &started {
            all.workers.extend(answer.read::<Workers>()?.workers);
        }
        match (context.json, &*started) {
            (true, [one]) => write_out(format!("{}\n", one.result))?,
            (true, _) => {
                let text = serde_json::to_string(&all)
                    .map_err(|error| Error::Failed(format!("cannot write the workers as JSON: {error}")))?;
                write_out(format!("{text}\n"))?;
            }
            (false, _) => show(context, &all.workers)?,
        }
        Ok(judge(&all.workers))
    }

    /// What the word means, checked.
    fn what(&self, word: &str, context: &Context) -> Result<Startable, Error> {
        let what = startable::find(word, &self.app, &self.args, context)?;
        let is_file = matches!(what, Startable::File(_));
        if !is_file && (!self.only.is_empty() || self.env.is_some()) {
            return Err(Error::Usage(format!("--only and --env are for process files, which \"{word}\" is not")));
        }
        let Startable::File(mut file) = what else { return Ok(what) };
        if let Some(env) = &self.env {
            file.choose_env(env).map_err(Error::Failed)?;
        }
        if !self.only.is_empty() {
            file.only(&self.only).map_err(Error::Failed)?;
        }
        Ok(Startable::File(file))
    }

    fn start(&self, client: &mut Client, what: &Startable) -> Result<super::client::Answer, Error> {
        let update_env = Some(self.update_env);
        let definitions = match what {
            Startable::File(file) => Definitions::of(&file.apps, &file.pools, &file.folder),
            Startable::App { app, folder } => Definitions::of(std::slice::from_ref(app), &[], folder),
            Startable::Target(target) => {
                let env = self.update_env.then(environment);
                let target = std::slice::from_ref(target);
                let request = super::restart::Request { target, env, update_env: self.update_env };
                return client.call("apps.start", &request, Manner::CHANGE);
            }
        };
        client.call("apps.start", &Definitions { update_env, ..definitions }, Manner::CHANGE)
    }
}
