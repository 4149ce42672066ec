//! The screen as a picture: a line of sums, the table, the log, and a line of keys. Rows that are not seen cost nothing.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Block, Clear, Widget};
use unicode_width::UnicodeWidthStr;

use super::screen::{Front, Mode, Notice, Screen};
use super::table;
use crate::cli::columns::shorten;
use crate::cli::workers::title as title_of;
use crate::cli::{escape, human, terminal};
use crate::wire::apps::{WorkerInfo, WorkerState};

/// What is shown is called old from here on.
const OLD: Duration = Duration::from_secs(3);

const HINTS: &str = "r restart  s stop/start  l reload  d delete  / filter  Tab log  ? help  q quit";

const HELP: [&str; 14] = [
    "↑ ↓  j k          choose a worker; scroll the log",
    "PgUp PgDn         the same, by pages",
    "Home End  g G     first, last",
    "← →               move the log sideways",
    "Tab               table or log in front",
    "",
    "r                 restart",
    "s                 stop, or start what is down",
    "l                 reload",
    "d                 delete, after a question",
    "/                 filter: name, namespace, state, id",
    "Esc               no filter",
    "q  Ctrl-C         quit; the workers go on",
    "",
];

/// Paints all of it.
pub fn draw(frame: &mut Frame, screen: &mut Screen) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let [head, middle, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let rows = u16::try_from(screen.shown().len()).unwrap_or(u16::MAX);
    let share = if screen.front == Front::Table { 60 } else { 30 };
    let most = (u32::from(middle.height) * share).div_ceil(100) as u16;
    let [above, below] =
        Layout::vertical([Constraint::Length(rows.max(1).saturating_add(1).min(most)), Constraint::Fill(1)])
            .areas(middle);
    sums(buffer, head, screen);
    table::draw(buffer, above, screen);
    log(buffer, below, screen);
    bottom(buffer, foot, screen);
    if screen.mode == Mode::Help {
        help(buffer, middle, screen);
    }
}

/// One text into `area`'s first line, cut where it ends. Returns the columns it took.
pub fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) -> u16 {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return 0;
    }
    let (end, _) = buffer.set_stringn(area.x, area.y, shorten(text, usize::from(area.width)), area.width.into(), style);
    end - area.x
}

/// The colours of everything else here, where colours are wanted.
pub fn style(screen: &Screen, style: terminal::Style) -> Style {
    let plain = Style::new();
    match (style, screen.colour) {
        (terminal::Style::Normal, _) => plain,
        (terminal::Style::Label, _) => plain.add_modifier(Modifier::BOLD),
        (terminal::Style::Good, true) => plain.fg(Color::Green),
        (terminal::Style::Waiting, true) => plain.fg(Color::Yellow),
        (terminal::Style::Bad, true) => plain.fg(Color::Red),
        (terminal::Style::Bad, false) => plain.add_modifier(Modifier::BOLD),
        (terminal::Style::Good | terminal::Style::Waiting, false) => plain,
    }
}

fn sums(buffer: &mut Buffer, area: Rect, screen: &Screen) {
    let label = style(screen, terminal::Style::Label);
    let Some(rows) = screen.all() else {
        put(buffer, area, "asking the daemon …", label);
        return;
    };
    let up = rows.iter().filter(|row| row.worker.pid.is_some()).count();
    let bad = rows.iter().filter(|row| matches!(row.worker.state, WorkerState::Fatal | WorkerState::Backoff)).count();
    // A sum of nothing would be -0.0.
    let cpu = rows.iter().filter_map(|row| row.cpu).fold(0.0, |sum, cpu| sum + cpu);
    let memory: u64 = rows.iter().filter_map(|row| row.memory).sum();
    let mut text = format!("{} workers, {up} up", rows.len());
    if bad > 0 {
        text.push_str(&format!(", {bad} in trouble"));
    }
    text.push_str(&format!("  CPU {cpu:.1}%  RSS {}", human::size(memory)));
    let used = put(buffer, area, &text, label);
    let rest = Rect { x: area.x + used, width: area.width - used, ..area };
    if screen.age() >= OLD {
        let text = format!("  no answer for {} s", screen.age().as_secs());
        put(buffer, rest, &text, style(screen, terminal::Style::Bad));
    } else if screen.dir.width() + 2 <= usize::from(rest.width) {
        let width = screen.dir.width() as u16;
        put(buffer, Rect { x: rest.right() - width, width, ..rest }, &screen.dir, Style::new());
    }
}

fn log(buffer: &mut Buffer, area: Rect, screen: &mut Screen) {
    if area.is_empty() {
        return;
    }
    let label = if screen.front == Front::Log { terminal::Style::Label } else { terminal::Style::Normal };
    let mut title = match screen.chosen_row() {
        Some(row) => about(&row.worker),
        None => "log".to_owned(),
    };
    match screen.log.back() {
        0 => {}
        back => title.push_str(&format!(", {back} lines back")),
    }
    let rule = "─".repeat(area.width.into());
    let line = Rect { height: 1, ..area };
    put(buffer, line, &rule, style(screen, label));
    if area.width > 6 {
        let inside = Rect { x: area.x + 2, width: area.width - 4, ..line };
        put(buffer, inside, &format!(" {} ", shorten(&title, usize::from(inside.width - 2))), style(screen, label));
    }
    let mut rest = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let reason = screen.chosen_row().and_then(|row| row.worker.reason.clone());
    if let (Some(reason), true) = (reason, rest.height > 1) {
        put(buffer, rest, &escape::line(&reason), style(screen, terminal::Style::Bad));
        rest = Rect { y: rest.y + 1, height: rest.height - 1, ..rest };
    }
    let bad = style(screen, terminal::Style::Bad);
    let right = screen.log.right();
    for (y, line) in (rest.y..).zip(screen.log.visible(rest.height.into())) {
        let row = Rect { y, height: 1, ..rest };
        let (mark, how) = if line.error { ("err ", bad) } else { ("out ", Style::new()) };
        let used = put(buffer, row, mark, how);
        let from = line.text.char_indices().nth(right).map_or(line.text.len(), |(at, _)| at);
        put(buffer, Rect { x: row.x + used, width: row.width - used, ..row }, &line.text[from..], Style::new());
    }
}

/// What the table has no room for.
fn about(worker: &WorkerInfo) -> String {
    let mut text = escape::line(&title_of(worker)).into_owned();
    if worker.asked_restarts > 0 {
        text.push_str(&format!(", restarts asked for: {}", worker.asked_restarts));
    }
    if let Some(exit) = &worker.last_exit {
        let how = match (exit.exit_code, exit.signal_name.as_deref(), exit.signal) {
            (Some(code), ..) => format!("code {code}"),
            (None, Some(name), _) => escape::line(name).into_owned(),
            (None, None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        text.push_str(&format!(", last exit: {how} {}", human::ago(table::now(), exit.at.0)));
    }
    if worker.log_lost > 0 {
        text.push_str(&format!(", {} of output lost", human::size(worker.log_lost)));
    }
    text
}

fn bottom(buffer: &mut Buffer, area: Rect, screen: &Screen) {
    let label = style(screen, terminal::Style::Label);
    match (&screen.mode, screen.notice()) {
        (Mode::Confirm(order), _) => {
            let text = format!("Delete {} (id {})? It is stopped and forgotten. y: yes", order.name, order.id);
            put(buffer, area, &text, style(screen, terminal::Style::Bad).add_modifier(Modifier::BOLD));
        }
        (Mode::Filter, _) => {
            put(buffer, area, &format!("/{}█  Enter keep, Esc no filter", screen.filter), label);
        }
        (_, Some(Notice { text, bad })) => {
            let how = if *bad { style(screen, terminal::Style::Bad) } else { label };
            put(buffer, area, text, how);
        }
        (_, None) if !screen.filter.is_empty() => {
            put(buffer, area, &format!("/{}  Esc: no filter  {HINTS}", screen.filter), Style::new());
        }
        (_, None) => {
            put(buffer, area, HINTS, Style::new());
        }
    }
}

fn help(buffer: &mut Buffer, area: Rect, screen: &Screen) {
    let width = HELP.iter().map(|line| line.width()).max().unwrap_or(0) as u16 + 4;
    let height = HELP.len() as u16 + 2;
    let area = area.centered(Constraint::Length(width), Constraint::Length(height)).intersection(area);
    Clear.render(area, buffer);
    let block = Block::bordered().title(" monit ").border_style(style(screen, terminal::Style::Label));
    let inner = block.inner(area);
    block.render(area, buffer);
    for (line, y) in HELP.iter().zip(inner.y..inner.bottom()) {
        put(buffer, Rect { x: inner.x + 1, y, width: inner.width.saturating_sub(2), height: 1 }, line, Style::new());
    }
}
