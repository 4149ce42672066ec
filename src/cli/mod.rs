//! The program as seen from a terminal: one file a subcommand, and what they share.
//!
//! A subcommand's file holds its arguments (clap), its `execute` and how its answer looks.
//! Shared: `dirs` (which daemon), `client` (the connection), `terminal`, `escape`,
//! `columns` and `human` (how things look). `main.rs` turns [`Error`] into exit codes.

mod apply;
mod bringup;
mod client;
mod columns;
mod completions;
mod definition;
mod delete;
mod describe;
mod dirs;
mod env;
mod error;
mod escape;
mod flush;
mod free;
mod human;
mod import;
mod info;
mod interrupt;
mod javascript;
mod jlist;
mod kill;
mod list;
mod logs;
mod monit;
mod outcome;
mod params;
mod pid;
mod ping;
mod pools;
mod reload;
mod reopen;
mod reset;
mod restart;
mod resurrect;
mod run;
mod runs;
mod save;
mod scale;
mod schema;
mod send_signal;
mod serve;
mod shutdown;
mod start;
mod startable;
mod startup;
mod status;
mod stop;
mod table;
mod targets;
mod terminal;
mod unit;
mod upgrade;
mod validate;
mod wait;
mod workers;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use client::{Client, Manner, Nothing};
pub use error::Error;
use terminal::Terminal;
pub use terminal::message;

use crate::settings::Dirs;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed; the reason is on stderr
  2  wrong usage
  3  no daemon
  `run --wait` ends with the run's own exit code, 128+n if signal n ended it.
  130 after Ctrl-C while waiting: the run goes on.

With --json stdout is one JSON document: what the daemon answered, or
{\"error\": {\"code\", \"kind\", \"message\"}}. Messages go to stderr either way.

Times are given as 500ms, 10s, 5m, 1h, 2d; a bare number is milliseconds.

Start:  preforkd serve app.json
Then:   preforkd run POOL ENTRY --wait
Or:     preforkd start ecosystem.json";

/// Keeps your application loaded and forks a process from it for every run, and keeps your workers up
#[derive(Debug, Parser)]
#[command(name = "preforkd", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// The daemon's folder: socket, table, journal, logs [default: /run/preforkd and
    /// /var/lib/preforkd as root, else $XDG_RUNTIME_DIR/preforkd and $XDG_STATE_HOME/preforkd]
    #[arg(long, global = true, env = "PREFORKD_DIR", value_name = "DIR", display_order = 900)]
    dir: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long, global = true, display_order = 901)]
    json: bool,
}

/// A subcommand's arguments are built when it is the one that was asked for, so its description is unknown until then, too.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    Serve(serve::Serve),
    Run(Box<run::Run>),
    Status(status::Show),
    Wait(wait::Wait),
    Kill(kill::Kill),
    Free(free::Free),
    Runs(runs::Runs),
    Pools(pools::Pools),
    #[command(visible_alias = "ls")]
    List(list::List),
    Start(Box<start::Start>),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Reload(reload::Reload),
    Logs(logs::Logs),
    Flush(flush::Flush),
    #[command(alias = "reloadLogs")]
    Reopen(reopen::Reopen),
    #[command(visible_alias = "del")]
    Delete(delete::Delete),
    Scale(scale::Scale),
    Reset(reset::Reset),
    #[command(visible_alias = "sendSignal")]
    SendSignal(send_signal::SendSignal),
    #[command(visible_aliases = ["show", "desc"])]
    Describe(describe::Describe),
    Monit(monit::Monit),
    Jlist(jlist::Jlist),
    Prettylist(jlist::Prettylist),
    Env(env::Env),
    Pid(pid::Pid),
    #[command(visible_alias = "dump")]
    Save(save::Save),
    Resurrect(resurrect::Resurrect),
    Apply(apply::Apply),
    Ping(ping::Ping),
    Info(info::Info),
    Validate(validate::Validate),
    Import(import::Import),
    Schema(schema::Schema),
    Shutdown(shutdown::Shutdown),
    Upgrade(upgrade::Upgrade),
    Startup(startup::Startup),
    Unstartup(startup::Unstartup),
    Table(table::Table),
    Completions(completions::Completions),
}

/// What every subcommand is given beside its own arguments.
#[derive(Debug)]
struct Context {
    dir: Option<PathBuf>,
    json: bool,
    terminal: Terminal,
}

impl Context {
    fn dirs(&self) -> Result<Dirs, Error> {
        dirs::resolve(self.dir.as_deref())
    }

    fn client(&self) -> Result<Client, Error> {
        Client::connect(self.dirs()?.socket())
    }
}

/// Reads the command line.
///
/// # Errors
/// clap's own, which prints itself; `--help` and `--version` come this way too.
pub fn parse() -> Result<Cli, clap::Error> {
    read(&std::env::args_os().collect::<Vec<_>>())
}

/// What asks for help is read again by a parser that has them all described, for the list of them.
fn read(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments).or_else(|error| {
        if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) {
            return Err(error);
        }
        let mut command = described();
        let mut matches = command.try_get_matches_from_mut(arguments)?;
        Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    })
}

/// All commands, each with its description.
fn described() -> clap::Command {
    let mut all = Cli::command();
    for command in all.get_subcommands_mut() {
        let mut built = command.clone();
        built.build();
        if let Some(about) = built.get_about() {
            *command = std::mem::take(command).about(about.clone());
        }
    }
    all
}

impl Cli {
    /// Whether stdout is to hold JSON alone.
    pub fn wants_json(&self) -> bool {
        self.global.json
    }

    /// Does what was asked; the exit code, 0 but for `run --wait` and the daemon itself.
    ///
    /// # Errors
    /// Whatever kept it from being done, see [`Error`].
    pub fn execute(self) -> Result<u8, Error> {
        let context = Context { dir: self.global.dir, json: self.global.json, terminal: Terminal::of_stdout() };
        match self.command {
            Command::Serve(command) => command.execute(&context),
            Command::Run(command) => command.execute(&context),
            Command::Status(command) => command.execute(&context),
            Command::Wait(command) => command.execute(&context),
            Command::Kill(command) => command.execute(&context),
            Command::Free(command) => command.execute(&context),
            Command::Runs(command) => command.execute(&context),
            Command::Pools(command) => command.execute(&context),
            Command::List(command) => command.execute(&context),
            Command::Start(command) => command.execute(&context),
            Command::Resurrect(command) => command.execute(&context),
            Command::Apply(command) => command.execute(&context),
            Command::Describe(command) => command.execute(&context),
            Command::Monit(command) => command.execute(&context),
            Command::Jlist(command) => command.execute(&context),
            Command::Prettylist(command) => command.execute(&context),
            Command::Startup(command) => command.execute(&context),
            Command::Unstartup(command) => command.execute(&context),
            Command::Stop(command) => command.execute(&context),
            Command::Restart(command) => command.execute(&context),
            Command::Reload(command) => command.execute(&context),
            Command::Logs(command) => command.execute(&context),
            Command::Flush(command) => command.execute(&context),
            Command::Reopen(command) => command.execute(&context),
            Command::Delete(command) => command.execute(&context),
            Command::Scale(command) => command.execute(&context),
            Command::Reset(command) => command.execute(&context),
            Command::SendSignal(command) => command.execute(&context),
            Command::Env(command) => command.execute(&context),
            Command::Pid(command) => command.execute(&context),
            Command::Save(command) => command.execute(&context),
            Command::Ping(command) => command.execute(&context),
            Command::Info(command) => command.execute(&context),
            Command::Validate(command) => command.execute(&context),
            Command::Import(command) => command.execute(&context),
            Command::Schema(command) => command.execute(&context),
            Command::Shutdown(command) => command.execute(&context),
            Command::Upgrade(command) => command.execute(&context),
            Command::Table(command) => command.execute(&context),
            Command::Completions(command) => command.execute(&context),
        }
    }
}

/// The params of every method that takes an id and nothing else.
#[derive(Debug, serde::Serialize)]
struct ById<'a> {
    id: &'a str,
}

#[cfg(test)]
mod tests;
