//! Starting a warm process: program, environment, channels, kit.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::processfile::{self, HugePages, Output, Pool, Runtime};
use crate::sys::pidfd::PidFd;
use crate::sys::spawn::{Limit, Program, SpawnError, spawn};
use crate::sys::{files, memfd, seqpacket, users};
use crate::wire::channel::{self, Shutdown, ZygoteConfig};

const PHP_BEGINS: &str = "<?php\n";
/// Parts of one file, in this order: PHP is started on a descriptor, beside which there is nothing to include.
const PHP_KIT: [&str; 6] = [
    include_str!("../../sdk/php/message.php"),
    include_str!("../../sdk/php/ffi.php"),
    include_str!("../../sdk/php/pcntl.php"),
    include_str!("../../sdk/php/leaving.php"),
    include_str!("../../sdk/php/entry.php"),
    include_str!("../../sdk/php/preforkd.php"),
];
const PYTHON_KIT: &str = include_str!("../../sdk/python/preforkd.py");

/// Bytes that may lie unread in a channel before its writer has to wait: some thousands of small messages.
const CHANNEL_BUFFER: i32 = 2 << 20;

/// The order channel. The master keeps the zygote's end too, so that orders which a dying zygote has not read
/// are still there for the next one, exactly once: the kernel's queue is the record of who has taken what.
#[derive(Debug)]
pub struct Orders {
    /// Written by the master.
    pub ours: OwnedFd,
    /// Read by the zygote.
    pub theirs: OwnedFd,
}

impl Orders {
    /// A new, empty one.
    pub fn new() -> io::Result<Orders> {
        let (ours, theirs) = seqpacket::pair()?;
        seqpacket::set_send_buffer(ours.as_fd(), CHANNEL_BUFFER)?;
        Ok(Orders { ours, theirs })
    }
}

/// Where the output of a pool's processes goes.
#[derive(Debug)]
pub struct Outlets {
    /// `/dev/null`, for reading.
    pub stdin: OwnedFd,
    /// Standard output.
    pub out: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
}

impl Outlets {
    /// `/dev/null` for all.
    pub fn none() -> io::Result<Outlets> {
        Outlets::open(Output::None, || Err(io::ErrorKind::NotFound.into()))
    }

    /// Opens what `output` names; `logs` gives the pipes to the log, for standard output and error. `Capture` is per run: what
    /// the zygote itself says goes to the log.
    pub fn open(output: Output, logs: impl FnOnce() -> io::Result<(OwnedFd, OwnedFd)>) -> io::Result<Outlets> {
        let null = || -> io::Result<OwnedFd> { Ok(File::options().read(true).write(true).open("/dev/null")?.into()) };
        let (out, error) = match output {
            Output::Log | Output::Capture => logs()?,
            Output::Inherit => (io::stdout().as_fd().try_clone_to_owned()?, io::stderr().as_fd().try_clone_to_owned()?),
            Output::None => (null()?, null()?),
        };
        Ok(Outlets { stdin: null()?, out, error })
    }
}

/// A zygote that has been started.
#[derive(Debug)]
pub struct Started {
    /// Its pid.
    pub pid: u32,
    /// A handle on it.
    pub handle: PidFd,
    /// The master's end of the reply channel.
    pub replies: OwnedFd,
    /// Whether the kernel gives a handle on whoever says something there.
    pub pidfds: bool,
    /// The inode of the end that it and its children have.
    pub their_end: u64,
}

/// Why a zygote could not be started. Of which pool it was, whoever tells of it says.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A channel, a log or the kit could not be made.
    #[error("cannot prepare its warm process: {0}")]
    Prepare(io::Error),
    /// The program could not be started.
    #[error(transparent)]
    Spawn(SpawnError),
}

/// Starts generation `number` of `pool` as the keeper's child.
pub fn start(pool: &Pool, number: u32, orders: &Orders, outlets: &Outlets) -> Result<Started, StartError> {
    let prepare = StartError::Prepare;
    let identity = users::resolve(pool.user.as_deref(), pool.group.as_deref()).map_err(prepare)?;
    let (replies, theirs) = seqpacket::pair().map_err(prepare)?;
    let pidfds = seqpacket::vouch(replies.as_fd()).map_err(prepare)?;
    seqpacket::set_send_buffer(theirs.as_fd(), CHANNEL_BUFFER).map_err(prepare)?;
    let their_end = files::inode(theirs.as_fd()).map_err(prepare)?;
    let kit = match pool.runtime {
        Runtime::Php => Some(
            memfd::sealed(concat!("preforkd-", env!("CARGO_PKG_VERSION"), ".php"), php_kit().as_bytes())
                .map_err(prepare)?,
        ),
        Runtime::Python => Some(
            memfd::sealed(concat!("preforkd-", env!("CARGO_PKG_VERSION"), ".py"), PYTHON_KIT.as_bytes())
                .map_err(prepare)?,
        ),
        Runtime::Native => None,
    };
    let mut argv: Vec<OsString> = match &pool.command {
        Some(command) => command.iter().map(OsString::from).collect(),
        None => pool.interpreter.iter().map(OsString::from).collect(),
    };
    let mut fds = vec![
        (outlets.stdin.as_fd(), 0),
        (outlets.out.as_fd(), 1),
        (outlets.error.as_fd(), 2),
        (orders.theirs.as_fd(), 3),
        (theirs.as_fd(), 4),
    ];
    if let Some(kit) = &kit {
        argv.push("/proc/self/fd/5".into());
        fds.push((kit.as_fd(), 5));
    }
    let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(k, _)| !k.to_string_lossy().starts_with("PREFORKD_") && !pool.env.contains_key(&*k.to_string_lossy()))
        .collect();
    if let Some((home, name)) = identity.as_ref().and_then(|i| i.home.as_ref()) {
        env.retain(|(k, _)| k != "HOME" && k != "USER" && k != "LOGNAME");
        env.extend([("HOME", home), ("USER", name), ("LOGNAME", name)].map(|(k, v)| (k.into(), v.into())));
    }
    env.retain(|(k, _)| !pool.env.contains_key(&*k.to_string_lossy()));
    env.extend(pool.env.iter().map(|(k, v)| (k.into(), v.into())));
    let config = serde_json::to_string(&config(pool, number)).map_err(|e| prepare(e.into()))?;
    env.push((channel::ENV.into(), config.into()));
    env.push((channel::TREE_ENV.into(), channel::NO_TREE.into()));
    let limits = [
        (Limit::Memory, pool.limits.memory),
        (Limit::OpenFiles, pool.limits.open_files),
        (Limit::Core, pool.limits.core),
    ];
    let program = Program {
        argv,
        env,
        cwd: Some(pool.cwd.clone()),
        fds,
        identity,
        limits: limits.into_iter().filter_map(|(l, v)| Some((l, v?))).collect(),
        sibling: true,
        ..Program::default()
    };
    let (pid, handle) = spawn(&program).map_err(StartError::Spawn)?;
    Ok(Started { pid, handle, replies, pidfds, their_end })
}

fn php_kit() -> String {
    let parts = PHP_KIT.map(|part| part.strip_prefix(PHP_BEGINS).unwrap_or(part));
    format!("{PHP_BEGINS}{}", parts.concat())
}

fn config(pool: &Pool, generation: u32) -> ZygoteConfig {
    ZygoteConfig {
        protocol: channel::VERSION,
        pool: pool.name.clone(),
        generation,
        preload: pool.preload.as_ref().map(|p| p.to_string_lossy().into_owned()),
        cwd: pool.cwd.to_string_lossy().into_owned(),
        entries: pool.entries.clone(),
        shutdown: match pool.shutdown {
            processfile::Shutdown::Fast => Shutdown::Fast,
            processfile::Shutdown::Full => Shutdown::Full,
        },
        cpu_time: pool.limits.cpu_time.map(|t| t.as_secs()),
        huge_pages: pool.huge_pages == HugePages::Auto,
    }
}
