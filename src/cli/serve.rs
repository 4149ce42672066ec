//! `preforkd serve`: the daemon itself, in the foreground.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::{Context, Error, definition};
use crate::settings::{DEFAULT_LISTEN, LogFormat, LogLevel, ServeOptions};
use crate::wire::control::{KEEPER_ENV, MASTER_ENV};
use crate::wire::duration::{parse_duration, parse_size};
use crate::{keeper, master};

const EXAMPLES: &str = "\
Examples:
  preforkd serve app.json
  preforkd serve ecosystem.config.js --dir ./var --no-tcp
  preforkd serve app.json --listen 127.0.0.1:4000 --log-format json
  preforkd serve app.json --listen 0.0.0.0:31337 --token-file /etc/preforkd/tokens

SIGTERM, SIGINT and `preforkd shutdown` end it: runs are given time, then TERM, then KILL.
SIGHUP reads the process file again: only what differs is touched, a faulty file changes nothing.
SIGUSR1 opens log files anew, SIGUSR2 upgrades to the program that is there now.
An address that is not loopback needs a token file.";

/// Run the daemon in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Process file with the pools (see `preforkd schema`); none: a daemon without pools
    file: Option<PathBuf>,

    /// Listen here on TCP; may be repeated [default: 127.0.0.1:31337]
    #[arg(long, value_name = "HOST:PORT", value_parser = address, conflicts_with = "no_tcp")]
    listen: Vec<String>,

    /// No TCP, the Unix socket alone
    #[arg(long)]
    no_tcp: bool,

    /// Take over from a daemon whose keeper has died: its master, runs and workers go on
    #[arg(long)]
    adopt: bool,

    /// File with the tokens that TCP clients may show
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Form of the daemon's own log on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// Least important records that are written
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,

    /// Time a shutdown may take until everything is killed
    #[arg(long, value_name = "D", default_value = "8s", value_parser = parse_duration)]
    shutdown_timeout: Duration,

    /// End a master that has hung or been stopped for so long, and start another; `off`: never
    #[arg(long, value_name = "D|off", default_value = "30s", value_parser = watchdog)]
    watchdog: Watchdog,

    /// Longest request line
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = line_size)]
    max_line: usize,

    /// Most connections at a time
    #[arg(long, value_name = "N", default_value = "10000", value_parser = connections)]
    max_connections: usize,
}

impl Serve {
    /// Runs until the daemon ends; its exit code.
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        if context.json {
            return Err(Error::Usage("serve prints no result; for its log use --log-format json".into()));
        }
        let mut options = self.options(context)?;
        // The keeper starts the same command line again with one of these variables set.
        let is_master = std::env::var_os(MASTER_ENV).is_some();
        let is_first = !is_master && std::env::var_os(KEEPER_ENV).is_none();
        if let (true, Some(path)) = (is_first, &options.file) {
            options.evaluated = definition::evaluated(path)?;
        }
        daemon(is_master, options)
    }

    fn options(self, context: &Context) -> Result<ServeOptions, Error> {
        let listen = match (self.no_tcp, self.listen.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![DEFAULT_LISTEN.to_owned()],
            (false, false) => self.listen,
        };
        Ok(ServeOptions {
            file: self.file.map(absolute).transpose()?,
            evaluated: None,
            dirs: context.dirs()?,
            listen,
            no_tcp: self.no_tcp,
            adopt: self.adopt,
            token_file: self.token_file.map(absolute).transpose()?,
            log_format: self.log_format,
            log_level: self.log_level,
            shutdown_timeout: self.shutdown_timeout,
            watchdog: self.watchdog.0,
            max_line: self.max_line,
            max_connections: self.max_connections,
        })
    }
}

fn daemon(is_master: bool, options: ServeOptions) -> Result<u8, Error> {
    if is_master {
        return master::run(&options).map_err(|error| Error::Failed(error.to_string()));
    }
    keeper::serve(&options).map_err(|error| Error::Failed(error.to_string()))
}

fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    std::path::absolute(&path)
        .map_err(|error| Error::Usage(format!("{}: cannot make the path absolute: {error}", path.display())))
}

/// `HOST:PORT`, IPv6 in brackets. Names are resolved later.
fn address(text: &str) -> Result<String, String> {
    let expected = "expected HOST:PORT, such as 127.0.0.1:31337 or [::1]:31337";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port; {expected}"))?;
    if host.is_empty() {
        return Err(format!("no host; {expected}"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(format!("an IPv6 address needs brackets; {expected}"));
    }
    match port.parse::<u16>() {
        Ok(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(text.to_owned()),
        _ => Err(format!("{port:?} is not a port (0 to 65535); {expected}")),
    }
}

/// None: `off`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Watchdog(Option<Duration>);

/// Whatever is shorter may be a turn of a busy machine.
const LEAST_WATCHDOG: Duration = Duration::from_secs(1);

fn watchdog(text: &str) -> Result<Watchdog, String> {
    if text == "off" {
        return Ok(Watchdog(None));
    }
    match parse_duration(text)? {
        short if short < LEAST_WATCHDOG => Err("expected `off`, or at least 1s".into()),
        duration => Ok(Watchdog(Some(duration))),
    }
}

/// Below this not even a status of a run with long names fits.
const LEAST_LINE: usize = 4096;

fn line_size(text: &str) -> Result<usize, String> {
    let size = usize::try_from(parse_size(text)?).map_err(|error| error.to_string())?;
    if !(LEAST_LINE..=1 << 30).contains(&size) {
        return Err("a line is at least 4K and at most 1G".into());
    }
    Ok(size)
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("expected a number from 1 to 1000000".into()),
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[LogFormat::Text, LogFormat::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }))
    }
}

impl ValueEnum for LogLevel {
    fn value_variants<'a>() -> &'a [Self] {
        &[LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            LogLevel::Error => PossibleValue::new("error"),
            LogLevel::Warning => PossibleValue::new("warning").alias("warn"),
            LogLevel::Info => PossibleValue::new("info"),
            LogLevel::Debug => PossibleValue::new("debug"),
            LogLevel::Trace => PossibleValue::new("trace"),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::terminal::Terminal;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        serve: Serve,
    }

    fn options(arguments: &[&str]) -> ServeOptions {
        let alone = Alone::try_parse_from(["serve"].iter().chain(arguments)).unwrap();
        let context = Context { dir: Some("/d".into()), json: false, terminal: Terminal::PLAIN };
        alone.serve.options(&context).unwrap()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = options(&[]);
        assert_eq!(options.listen, ["127.0.0.1:31337"]);
        assert_eq!(options.shutdown_timeout, Duration::from_secs(8));
        assert_eq!(options.watchdog, Some(Duration::from_secs(30)));
        assert_eq!((options.max_line, options.max_connections), (1 << 20, 10_000));
        assert_eq!((options.log_format, options.log_level), (LogFormat::Text, LogLevel::Info));
        assert_eq!(options.file, None);
    }

    #[test]
    fn addresses_may_be_repeated_and_replace_the_default() {
        let options = options(&["--listen", "127.0.0.1:1", "--listen", "[::1]:2", "app.json"]);
        assert_eq!(options.listen, ["127.0.0.1:1", "[::1]:2"]);
        assert!(options.file.unwrap().is_absolute());
    }

    #[test]
    fn no_tcp_is_no_address_at_all() {
        assert!(options(&["--no-tcp"]).listen.is_empty());
        assert!(Alone::try_parse_from(["serve", "--no-tcp", "--listen", "h:1"]).is_err());
    }

    #[test]
    fn wrong_values_are_refused_with_what_was_expected() {
        for text in ["31337", ":31337", "h:", "h:65536", "h:+1", "::1:31337"] {
            assert!(address(text).unwrap_err().contains("expected"), "{text}");
        }
        assert!(address("localhost:0").is_ok());
        assert!(line_size("100").is_err() && line_size("2M").is_ok());
        assert!(connections("0").is_err() && connections("1").is_ok());
        assert!(Alone::try_parse_from(["serve", "--shutdown-timeout", "soon"]).is_err());
        for text in ["30", "0s", "on"] {
            assert!(Alone::try_parse_from(["serve", "--watchdog", text]).is_err(), "{text}");
        }
        assert_eq!(options(&["--watchdog", "off"]).watchdog, None);
        assert_eq!(options(&["--watchdog", "2m"]).watchdog, Some(Duration::from_secs(120)));
    }
}
