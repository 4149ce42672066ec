//! What brings news to the screen: a thread and a connection for each of the workers, the events, one log, and an act.
//!
//! None of them ends the screen. What cannot be asked for now is asked for again, as the daemon may be coming back.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::Message;
use super::log::Line;
use super::order::Order;
use super::sample::Sampler;
use crate::cli::client::{Manner, Nothing};
use crate::cli::logs::Notification;
use crate::cli::workers::usage_of;
use crate::cli::{Client, Error, escape};
use crate::wire::apps::{Gap, Logs, Workers};

/// Between two questions where nothing happens.
const POLL: Duration = Duration::from_secs(1);
/// Between two questions whatever happens: a crash loop does not keep the daemon busy with us.
const SOONEST: Duration = Duration::from_millis(200);
/// Lines of a log that are asked for at first.
const LINES: u32 = 200;

/// The threads, as the screen sees them.
#[derive(Debug)]
pub struct Feed {
    socket: PathBuf,
    sender: SyncSender<Message>,
    /// Something has happened: ask now.
    hurry: SyncSender<()>,
    followed: Option<(u32, Arc<Leash>)>,
}

/// What ends a thread that waits for its connection.
#[derive(Debug, Default)]
struct Leash {
    ended: AtomicBool,
    connection: Mutex<Option<UnixStream>>,
}

impl Feed {
    /// Starts with the workers and the events.
    pub fn start(socket: PathBuf, sender: SyncSender<Message>) -> Feed {
        let (hurry, hurried) = mpsc::sync_channel(1);
        let (path, to) = (socket.clone(), sender.clone());
        thread::spawn(move || poll(&path, &to, &hurried));
        let (path, wake) = (socket.clone(), hurry.clone());
        thread::spawn(move || heed_events(&path, &wake));
        Feed { socket, sender, hurry, followed: None }
    }

    /// Whether `worker`'s log is the one that comes.
    pub fn follows(&self, worker: Option<u32>) -> bool {
        self.followed.as_ref().map(|(id, _)| *id) == worker
    }

    /// From now on this worker's log comes, if it is not the one that does; None: no change.
    pub fn follow(&mut self, worker: Option<u32>) {
        let Some(id) = worker.filter(|_| !self.follows(worker)) else { return };
        if let Some((_, leash)) = self.followed.take() {
            leash.end();
        }
        let leash = Arc::new(Leash::default());
        let (socket, sender, held) = (self.socket.clone(), self.sender.clone(), Arc::clone(&leash));
        thread::spawn(move || follow_log(&socket, &sender, id, &held));
        self.followed = Some((id, leash));
    }

    /// Does what was asked for; how it ended comes as a message.
    pub fn act(&self, order: Order) {
        let (socket, sender, hurry) = (self.socket.clone(), self.sender.clone(), self.hurry.clone());
        thread::spawn(move || {
            let done = Client::connect(socket)
                .and_then(|mut client| client.call(order.verb.method(), &json!({"target": order.id}), Manner::CHANGE));
            let text = match done {
                Ok(_) => Ok(format!("{}: {}", order.name, order.verb.done())),
                Err(error) => Err(format!("{}: {error}", order.name)),
            };
            // The screen may have ended meanwhile, or be about to ask anyway.
            let _ = (sender.send(Message::Done(text)), hurry.try_send(()));
        });
    }
}

impl Leash {
    /// From now on `client` is what is waited for; false if the wait is over.
    fn hold(&self, client: &Client) -> io::Result<bool> {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.handle()?);
        Ok(!self.has_ended())
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(connection) = &*self.connection.lock().unwrap_or_else(PoisonError::into_inner) {
            // Fails only if it has ended already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// The workers, once a second, and when something has happened to them.
fn poll(socket: &Path, sender: &SyncSender<Message>, hurried: &Receiver<()>) {
    let (mut client, mut sampler) = (None, Sampler::default());
    loop {
        let message = match list(socket, &mut client) {
            Ok(Workers { workers }) => Message::Workers(sampler.rows(workers, Instant::now(), &usage_of)),
            Err(error) => {
                client = None;
                Message::Unreachable(error.to_string())
            }
        };
        if sender.send(message).is_err() {
            return;
        }
        thread::sleep(SOONEST);
        // Whether it is time or something has happened, the same is asked.
        let _ = hurried.recv_timeout(POLL - SOONEST);
    }
}

fn list(socket: &Path, client: &mut Option<Client>) -> Result<Workers<'static>, Error> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(socket.to_owned())?),
    };
    client.call("apps.list", &Nothing {}, Manner::READ)?.read()
}

/// Each event makes the workers be asked for at once; what it says they say, too.
fn heed_events(socket: &Path, hurry: &SyncSender<()>) {
    loop {
        if let Ok(mut client) = Client::connect(socket.to_owned()) {
            match client.call("events.subscribe", &json!({"kinds": ["state", "exit"]}), Manner::READ) {
                Ok(_) => {
                    while let Ok(Some(_)) = client.notification() {
                        match hurry.try_send(()) {
                            // One that has not been heeded yet is enough.
                            Ok(()) | Err(mpsc::TrySendError::Full(())) => {}
                            Err(mpsc::TrySendError::Disconnected(())) => return,
                        }
                    }
                }
                // It will not be allowed later either; there is still the question once a second.
                Err(Error::Refused(_)) => return,
                Err(_) => {}
            }
        }
        thread::sleep(POLL);
    }
}

#[derive(Serialize)]
struct LogsParams {
    target: u32,
    lines: u32,
    follow: bool,
}

fn follow_log(socket: &Path, sender: &SyncSender<Message>, id: u32, leash: &Leash) {
    let (mut lines, mut pause) = (LINES, SOONEST / 4);
    // False: nobody wants to hear it any more.
    let tell = |lines: Vec<Line>| {
        !leash.has_ended() && (lines.is_empty() || sender.send(Message::Log { of: id, lines }).is_ok())
    };
    while !leash.has_ended() {
        let started = Client::connect(socket.to_owned()).and_then(|mut client| {
            if !leash.hold(&client)? {
                return Err(Error::Reported);
            }
            let answer = client.call("apps.logs", &LogsParams { target: id, lines, follow: true }, Manner::CHANGE)?;
            Ok((client, answer))
        });
        match started {
            Ok((mut client, answer)) => {
                // After a pause the lines before it would come a second time.
                lines = 0;
                let first = answer.read::<Logs<'_>>().map(|logs| logs.lines.iter().map(Line::of).collect());
                if !tell(first.unwrap_or_default()) {
                    return;
                }
                pause = SOONEST / 4;
                while let Ok(Some(line)) = client.notification() {
                    let told = match serde_json::from_slice(&line) {
                        Ok(Notification::Log(line)) => Line::of(&line),
                        Ok(Notification::Gap(Gap { lost })) => Line::gap(lost),
                        // One of a later version; the lines still come.
                        Err(_) => continue,
                    };
                    if !tell(vec![told]) {
                        return;
                    }
                }
                if !tell(vec![Line::interrupted()]) {
                    return;
                }
            }
            // The worker has gone, or has no log.
            Err(Error::Refused(error)) => {
                tell(vec![Line { error: true, text: escape::line(&error.message).into_owned() }]);
                return;
            }
            Err(_) => {}
        }
        if !leash.has_ended() {
            thread::sleep(pause);
            pause = (pause * 2).min(POLL);
        }
    }
}
