//! `preforkd monit`: the workers on a live screen.
//!
//! `feed` has a connection a thread, and all of them, the keys and the signals end in one channel. Here it is read,
//! `screen` decides what that means, and `draw` paints it: at most once a [`FRAME`], and only what can be seen.

mod draw;
mod feed;
mod log;
mod order;
mod sample;
mod screen;
mod table;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Context, Error};
use feed::Feed;
use log::Line;
use sample::Row;
use screen::{Act, Screen};

const KEYS: &str = "\
Keys:
  arrows, j k, PgUp PgDn, Home End   choose a worker; with the log in front: scroll
  r restart   s stop, or start   l reload   d delete, after a question
  / filter by name, namespace, state or id   Esc no filter
  Tab table or log   ? help   q quit";

/// Between two pictures: output that streams by does not cost more than this.
const FRAME: Duration = Duration::from_millis(50);
/// A worker has to stay chosen for this long before its log is asked for: a key that is held down asks for none.
const SETTLED: Duration = Duration::from_millis(150);
/// Without any message: what is shown gets older, and that is shown.
const TICK: Duration = Duration::from_secs(1);
/// Messages that may wait; those who send more wait themselves, and the daemon counts what they miss.
const WAITING: usize = 256;

/// Watch the workers on a live screen, with keys to act
#[derive(Debug, Args)]
#[command(after_help = KEYS)]
pub struct Monit {}

/// Whatever the screen is told of.
#[derive(Debug)]
enum Message {
    Input(Event),
    /// The terminal has gone.
    InputEnded,
    Signal(i32),
    Workers(Vec<Row>),
    /// They cannot be asked for.
    Unreachable(String),
    /// Of worker `of`, which may not be the chosen one any more.
    Log {
        of: u32,
        lines: Vec<Line>,
    },
    /// How an act ended: for people.
    Done(Result<String, String>),
}

impl Monit {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        if context.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Error::Usage(
                "`monit` is a screen for a terminal, which this is not; use `preforkd list` (or `list --json`)".into(),
            ));
        }
        // Before the screen: that there is no daemon is told as everywhere.
        drop(context.client()?);
        let (sender, messages) = mpsc::sync_channel(WAITING);
        listen_to_signals(sender.clone())?;
        let dirs = context.dirs()?;
        let mut screen = Screen::new(&dirs.runtime.to_string_lossy(), context.terminal.colour);
        let mut terminal = match ratatui::try_init() {
            Ok(terminal) => terminal,
            Err(error) => {
                ratatui::restore();
                return Err(Error::Failed(format!("cannot make a screen of this terminal: {error}")));
            }
        };
        listen_to_keys(sender.clone());
        let ended = watch(&mut terminal, &mut screen, &messages, Feed::start(dirs.socket(), sender));
        ratatui::restore();
        ended
    }
}

fn watch(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    messages: &Receiver<Message>,
    mut feed: Feed,
) -> Result<u8, Error> {
    loop {
        terminal.draw(|frame| draw::draw(frame, screen))?;
        let drawn = Instant::now();
        feed.follow(screen.chosen_since(SETTLED));
        let mut until = drawn + if feed.follows(screen.chosen()) { TICK } else { SETTLED };
        let mut urgent = false;
        loop {
            let message = match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => break,
                // Nobody is left who could tell anything.
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            };
            // A key is answered at once, the rest with the next picture.
            urgent |= matches!(message, Message::Input(_));
            until = if urgent { Instant::now() } else { until.min(drawn + FRAME) };
            match screen.take(message) {
                Act::Nothing => {}
                Act::Quit(code) => return Ok(code),
                Act::Do(order) => feed.act(order),
            }
        }
    }
}

/// The screen has to be left properly, whoever wants us to end.
fn listen_to_signals(sender: SyncSender<Message>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT])
        .map_err(|error| Error::Failed(format!("cannot catch signals: {error}")))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(Message::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn listen_to_keys(sender: SyncSender<Message>) {
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(Message::Input(event)).is_err() {
                return;
            }
        }
        // An error means that the screen has gone already; then nobody reads this.
        let _ = sender.send(Message::InputEnded);
    });
}

#[cfg(test)]
mod tests;
