//! What is on the screen, and what keys and messages make of it. Nothing is drawn or asked for here.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::Message;
use super::log::Log;
use super::order::{Order, Verb, start_or_stop};
use super::sample::Row;
use crate::cli::escape;
use crate::cli::workers::title;
use crate::wire::apps::WorkerState;

/// How far the arrows to the sides move the log, in columns.
const SIDEWAYS: isize = 16;
/// A message gives its place back to the keys after this.
const NEWS: Duration = Duration::from_secs(6);
/// The longest filter, in characters.
const FILTER: usize = 64;

/// A message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Escaped.
    pub text: String,
    /// It is bad news.
    pub bad: bool,
}

/// What follows from a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Do(Order),
    /// With this exit code.
    Quit(u8),
}

/// What keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Normal,
    /// They are the filter's text.
    Filter,
    /// `y`, or not.
    Confirm(Order),
    Help,
}

/// Which part has the larger share, and is moved by the arrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Table,
    Log,
}

/// All that is shown.
#[derive(Debug)]
pub struct Screen {
    /// The daemon's folder.
    pub dir: String,
    pub colour: bool,
    pub mode: Mode,
    pub front: Front,
    /// The text that the workers shown have in them.
    pub filter: String,
    /// The chosen worker's.
    pub log: Log,
    /// The first row shown, among those that pass the filter.
    pub top: usize,
    /// Rows that are seen at once; whoever draws says how many.
    pub page: usize,
    rows: Option<Vec<Row>>,
    heard: Instant,
    /// The notice is that the workers could not be asked for.
    silent: bool,
    /// The last message, and since when.
    notice: Option<(Notice, Instant)>,
    chosen: Option<u32>,
    chosen_at: Instant,
}

impl Screen {
    pub fn new(dir: &str, colour: bool) -> Screen {
        Screen {
            dir: escape::line(dir).into_owned(),
            colour,
            mode: Mode::Normal,
            front: Front::Table,
            filter: String::new(),
            log: Log::default(),
            top: 0,
            page: 1,
            rows: None,
            heard: Instant::now(),
            silent: false,
            notice: None,
            chosen: None,
            chosen_at: Instant::now(),
        }
    }

    /// All workers, whatever the filter; None: not known yet.
    pub fn all(&self) -> Option<&[Row]> {
        self.rows.as_deref()
    }

    /// Those that pass the filter.
    pub fn shown(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        self.rows.iter().flatten().filter(|row| wanted.is_empty() || row.has(&wanted)).collect()
    }

    /// What was said last, as long as it is news.
    pub fn notice(&self) -> Option<&Notice> {
        let (notice, since) = self.notice.as_ref()?;
        (self.silent || since.elapsed() < NEWS).then_some(notice)
    }

    fn tell(&mut self, text: &str, bad: bool) {
        self.notice = Some((Notice { text: escape::line(text).into_owned(), bad }, Instant::now()));
    }

    /// How old what is shown is.
    pub fn age(&self) -> Duration {
        self.heard.elapsed()
    }

    /// The chosen worker's id.
    pub fn chosen(&self) -> Option<u32> {
        self.chosen
    }

    /// The same, once it has been chosen for so long.
    pub fn chosen_since(&self, settled: Duration) -> Option<u32> {
        self.chosen.filter(|_| self.chosen_at.elapsed() >= settled)
    }

    /// The chosen worker.
    pub fn chosen_row(&self) -> Option<&Row> {
        self.rows.iter().flatten().find(|row| Some(row.worker.id) == self.chosen)
    }

    /// Takes in what is told.
    pub fn take(&mut self, message: Message) -> Act {
        match message {
            Message::Input(Event::Key(key)) if key.kind != KeyEventKind::Release => return self.key(key),
            // A new size, or what nobody asked for: it is drawn again anyway.
            Message::Input(_) => {}
            Message::InputEnded => return Act::Quit(1),
            Message::Signal(signal) => return Act::Quit(128 + u8::try_from(signal).unwrap_or(0)),
            Message::Workers(rows) => self.replace(rows),
            Message::Unreachable(why) => {
                self.silent = true;
                self.tell(&why, true);
            }
            Message::Log { of, lines } if Some(of) == self.chosen => lines.into_iter().for_each(|l| self.log.push(l)),
            Message::Log { .. } => {}
            Message::Done(Ok(text)) => self.tell(&text, false),
            Message::Done(Err(text)) => self.tell(&text, true),
        }
        Act::Nothing
    }

    fn replace(&mut self, rows: Vec<Row>) {
        let at = self.place();
        if std::mem::take(&mut self.silent) {
            self.notice = None;
        }
        self.rows = Some(rows);
        self.heard = Instant::now();
        self.stay_near(at);
    }

    /// Where the chosen one is among those shown.
    fn place(&self) -> usize {
        self.shown().iter().position(|row| Some(row.worker.id) == self.chosen).unwrap_or(0)
    }

    /// Where the chosen one is not shown any more, whoever is in its place is chosen.
    fn stay_near(&mut self, at: usize) {
        let shown = self.shown();
        if shown.iter().any(|row| Some(row.worker.id) == self.chosen) {
            return;
        }
        let next = shown.get(at.min(shown.len().saturating_sub(1))).map(|row| row.worker.id);
        self.choose(next);
    }

    fn choose(&mut self, id: Option<u32>) {
        if id != self.chosen {
            (self.chosen, self.chosen_at, self.log) = (id, Instant::now(), Log::default());
        }
    }

    fn go(&mut self, rows: isize) {
        let shown = self.shown();
        let at = self.place().saturating_add_signed(rows).min(shown.len().saturating_sub(1));
        let id = shown.get(at).map(|row| row.worker.id);
        self.choose(id);
    }

    fn key(&mut self, key: KeyEvent) -> Act {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Act::Quit(0) } else { Act::Nothing };
        }
        match &self.mode {
            Mode::Normal => return self.command(key.code),
            Mode::Filter => self.edit(key.code),
            Mode::Help => self.mode = Mode::Normal,
            Mode::Confirm(order) => {
                let order = order.clone();
                self.mode = Mode::Normal;
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    return self.order(order);
                }
                self.tell("nothing was done", false);
            }
        }
        Act::Nothing
    }

    fn edit(&mut self, key: KeyCode) {
        let at = self.place();
        match key {
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Normal;
            }
            KeyCode::Enter => self.mode = Mode::Normal,
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER => self.filter.push(c),
            KeyCode::Up => self.go(-1),
            KeyCode::Down => self.go(1),
            _ => {}
        }
        self.stay_near(at);
    }

    fn command(&mut self, key: KeyCode) -> Act {
        let page = isize::try_from(self.page).unwrap_or(isize::MAX);
        match key {
            KeyCode::Char('q') => return Act::Quit(0),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.edit(KeyCode::Esc),
            KeyCode::Tab | KeyCode::BackTab => {
                self.front = if self.front == Front::Table { Front::Log } else { Front::Table };
            }
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-page),
            KeyCode::PageDown => self.step(page),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN + 1),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Left => self.log.shift(-SIDEWAYS),
            KeyCode::Right => self.log.shift(SIDEWAYS),
            KeyCode::Char('r') => return self.chosen_order(|_| Verb::Restart),
            KeyCode::Char('l') => return self.chosen_order(|_| Verb::Reload),
            KeyCode::Char('s') => return self.chosen_order(start_or_stop),
            KeyCode::Char('d') => {
                if let Some(order) = self.for_chosen(|_| Verb::Delete) {
                    self.mode = Mode::Confirm(order);
                }
            }
            _ => {}
        }
        Act::Nothing
    }

    /// Down by that many rows or lines, whichever is in front.
    fn step(&mut self, down: isize) {
        match self.front {
            Front::Table => self.go(down),
            Front::Log => self.log.scroll(-down),
        }
    }

    fn for_chosen(&self, verb: fn(WorkerState) -> Verb) -> Option<Order> {
        let worker = &self.chosen_row()?.worker;
        let name = escape::line(&title(worker)).into_owned();
        Some(Order { verb: verb(worker.state), id: worker.id, name })
    }

    fn chosen_order(&mut self, verb: fn(WorkerState) -> Verb) -> Act {
        match self.for_chosen(verb) {
            Some(order) => self.order(order),
            None => Act::Nothing,
        }
    }

    fn order(&mut self, order: Order) -> Act {
        self.tell(&format!("{}: {} …", order.name, order.verb.doing()), false);
        Act::Do(order)
    }
}
