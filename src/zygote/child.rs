//! The child's side of a fork: from the order to `_exit`.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::Value;

use super::{Run, Zygote, reply, send};
use crate::sys::clone::{become_run, close_now, exit_now};
use crate::sys::{memfd, process, seqpacket};
use crate::wire::channel::{ChildRequest, ErrorObject, Flags, Header, Order, RESULT_MAX, Refused, RefusedCode, Reply};

/// The exit code after an uncaught error.
const UNCAUGHT: i32 = 255;
/// The largest request, in bytes: a client's line has a limit of its own, far below.
const REQUEST_MAX: usize = 1 << 30;

/// Everything a child does. The zygote's memory is left as it is: no destructor runs. `buffer` holds the order in its first
/// `len` bytes; a request that comes later goes into it too, since its pages have been touched already.
pub(super) fn run(zygote: &Zygote, mut buffer: Box<[u8]>, len: usize, fds: Vec<OwnedFd>) -> ! {
    become_run();
    if let Some(seconds) = zygote.config.cpu_time {
        let _ = process::limit_cpu(seconds); // a limit below what was used already cannot be set later either
    }
    let code = match obey(zygote, &mut buffer, len, fds) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("preforkd: run in pool {}: {e}", zygote.config.pool);
            UNCAUGHT
        }
    };
    let _ = io::stdout().flush();
    exit_now(code)
}

fn obey(zygote: &Zygote, buffer: &mut [u8], len: usize, mut fds: Vec<OwnedFd>) -> io::Result<i32> {
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let (header, payload) = Header::<Order>::decode(&buffer[..len]).map_err(|e| bad(e.to_string()))?;
    if !header.flags.contains(Flags::CHANNEL) {
        return start(zygote, header, payload, fds);
    }
    zygote.show(["idle", ""]);
    let channel = fds.remove(0);
    let (len, extra) = seqpacket::receive(channel.as_fd(), buffer)?;
    close_now(channel);
    if len == 0 {
        // Maybe a thousand of us at once, and somebody waits for the next master to start.
        std::thread::sleep(std::time::Duration::from_millis(u64::from(std::process::id() % 256)));
        exit_now(0);
    }
    let (header, payload) = Header::<Order>::decode(&buffer[..len]).map_err(|e| bad(e.to_string()))?;
    if header.kind != Order::Request || extra.truncated || extra.fds.len() != header.flags.fd_count() {
        return Err(bad("not a request".into()));
    }
    start(zygote, header, payload, extra.fds)
}

fn start(zygote: &Zygote, header: Header<Order>, payload: &[u8], mut fds: Vec<OwnedFd>) -> io::Result<i32> {
    let slot = (header.slot, header.nonce);
    let replies = zygote.replies.as_fd();
    let large = if header.flags.contains(Flags::MEMFD) {
        fds.pop().map(|fd| memfd::read_whole(fd, REQUEST_MAX)).transpose()?
    } else {
        None
    };
    for (number, fd) in fds.into_iter().enumerate() {
        process::move_to(fd, number as i32)?;
    }
    let request: ChildRequest<'_> = match serde_json::from_slice(large.as_deref().unwrap_or(payload)) {
        Ok(request) => request,
        Err(e) => return refuse(replies, slot, RefusedCode::Error, format!("the request cannot be read: {e}")),
    };
    for (key, value) in request.env.iter().flat_map(|env| env.iter()) {
        process::set_env(key, value);
    }
    zygote.show([&request.entry, ""]);
    if let Some(mark) = &zygote.mark {
        mark.set(header.nonce);
    }
    let Some(handler) = zygote.entries.get(request.entry.as_ref()) else {
        let mut known: Vec<&str> = zygote.entries.keys().map(String::as_str).collect();
        known.sort_unstable();
        let message = format!(
            "no entry \"{}\" is registered in pool \"{}\"; there are: {}",
            request.entry,
            zygote.config.pool,
            known.join(", ")
        );
        return refuse(replies, slot, RefusedCode::NotFound, message);
    };
    let params = match request.params.as_deref().map(|p| serde_json::from_str(p.get())).transpose() {
        Ok(params) => params.unwrap_or(Value::Null),
        Err(e) => return refuse(replies, slot, RefusedCode::Error, format!("the params cannot be read: {e}")),
    };
    let run = Run {
        id: request.id,
        entry: request.entry,
        params,
        args: request.args.map(Cow::into_owned).unwrap_or_default(),
        replies,
        header: slot,
    };
    let started = Header { kind: Reply::Started, flags: Flags::NONE, slot: slot.0, nonce: slot.1 };
    let forking = zygote.forking.get().map(u32::to_le_bytes);
    send(replies, started, forking.as_ref().map_or(&[], |bytes| &bytes[..]))?;
    SLOT.store(slot.0, Ordering::Relaxed);
    NONCE.store(slot.1, Ordering::Relaxed);
    // A panic is an error of the run as any other; nothing of this process is used afterwards but its channels.
    let outcome = catch_unwind(AssertUnwindSafe(|| handler(&run)));
    match outcome {
        Ok(Ok(Value::Null)) => Ok(0),
        Ok(Ok(value)) => {
            let text = serde_json::to_vec(&value)?;
            if text.len() > RESULT_MAX {
                let message = format!("the result has {} bytes, at most {RESULT_MAX} are kept", text.len());
                fail(replies, slot, "ResultTooLarge", message)?;
                return Ok(0);
            }
            send(replies, Header { kind: Reply::Result, flags: Flags::NONE, slot: slot.0, nonce: slot.1 }, &text)?;
            Ok(0)
        }
        Ok(Err(e)) => {
            eprintln!("{e}");
            fail(replies, slot, "Error", e.to_string())?;
            Ok(UNCAUGHT)
        }
        Err(panic) => {
            let message = panic_message(&*panic);
            fail(replies, slot, "panic", message)?;
            Ok(UNCAUGHT)
        }
    }
}

/// The nonce of a process that is no run. Not 0: so the two lie with what is initialized, as the standard output does, in a page that
/// each child copies anyway.
const NO_RUN: u64 = u64::MAX;
/// The run of this process, for the panic hook.
static SLOT: AtomicU32 = AtomicU32::new(u32::MAX);
static NONCE: AtomicU64 = AtomicU64::new(NO_RUN);

/// Where a panic does not unwind, the hook is the last that runs: it tells the error and leaves as after any other.
pub(super) fn leave_by_panic_hook(replies: Arc<OwnedFd>) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let slot = (SLOT.load(Ordering::Relaxed), NONCE.load(Ordering::Relaxed));
        if slot.1 != NO_RUN {
            // If the channel fails there is nobody left to tell.
            let _ = fail(replies.as_fd(), slot, "panic", panic_message(info.payload()));
            let _ = io::stdout().flush();
            exit_now(UNCAUGHT)
        }
    }));
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
}

fn fail(replies: std::os::fd::BorrowedFd<'_>, slot: (u32, u64), class: &str, message: String) -> io::Result<()> {
    let error = ErrorObject { class: class.into(), message: message.into(), trace: None };
    reply(replies, Reply::Error, slot, Some(&error))
}

fn refuse(
    replies: std::os::fd::BorrowedFd<'_>,
    slot: (u32, u64),
    code: RefusedCode,
    message: String,
) -> io::Result<i32> {
    reply(replies, Reply::Refused, slot, Some(&Refused { code, message }))?;
    Ok(0)
}
