//! The table of workers: the rows that are seen, with the columns there is room for.

use std::time::{Duration, SystemTime};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::draw::{put, style};
use super::sample::Row;
use super::screen::Screen;
use crate::cli::columns::shorten;
use crate::cli::workers::{self, title};
use crate::cli::{escape, human, terminal};
use crate::wire::apps::WorkerState;

/// A column, and from which width of the screen on it is there.
struct Column {
    heading: &'static str,
    width: u16,
    right: bool,
    from: u16,
    text: fn(&Row) -> String,
}

/// The name is between the first and these, as wide as the rest lets it be.
const COLUMNS: [Column; 8] = [
    Column { heading: "NAMESPACE", width: 14, right: false, from: 105, text: |row| row.worker.namespace.to_string() },
    Column { heading: "STATE", width: 8, right: false, from: 0, text: |row| row.worker.state.to_string() },
    Column { heading: "PID", width: 7, right: true, from: 60, text: |row| or_dash(row.worker.pid) },
    Column { heading: "UPTIME", width: 11, right: true, from: 50, text: uptime },
    Column { heading: "↺", width: 5, right: true, from: 40, text: |row| row.worker.restarts.to_string() },
    Column {
        heading: "CPU",
        width: 7,
        right: true,
        from: 75,
        text: |row| or_dash(row.cpu.map(|cpu| format!("{cpu:.1}%"))),
    },
    Column { heading: "MEM", width: 8, right: true, from: 70, text: |row| or_dash(row.memory.map(human::size)) },
    Column { heading: "USER", width: 12, right: false, from: 120, text: |row| or_dash(row.worker.user.as_deref()) },
];
const ID: u16 = 5;
/// More is left blank at the right.
const NAME: u16 = 60;
const GAP: u16 = 1;

/// Nanoseconds since the epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Of one that waits: when it is tried again.
fn uptime(row: &Row) -> String {
    match (row.worker.uptime_ms, row.worker.next_try_at) {
        (_, Some(next)) if row.worker.state == WorkerState::Backoff => match next.0.saturating_sub(now()) {
            0 => "now".to_owned(),
            wait => format!("in {}", human::span(Duration::from_nanos(wait))),
        },
        (Some(ms), _) => human::span(Duration::from_millis(ms)),
        (None, _) => "-".to_owned(),
    }
}

/// The heading and the rows around the chosen one.
pub fn draw(buffer: &mut Buffer, area: Rect, screen: &mut Screen) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let page = usize::from(area.height - 1).max(1);
    screen.page = page;
    let shown = screen.shown();
    let at = shown.iter().position(|row| Some(row.worker.id) == screen.chosen()).unwrap_or(0);
    let top = screen.top.clamp((at + 1).saturating_sub(page), at).min(shown.len().saturating_sub(page));
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| area.width >= column.from).collect();
    let taken: u16 = columns.iter().map(|column| column.width + GAP).sum();
    let name = area.width.saturating_sub(taken + ID + GAP).min(NAME);
    let label = style(screen, terminal::Style::Label);
    let mut line = Cells { buffer, rest: Rect { height: 1, ..area } };
    line.put("ID", ID, true, label);
    line.put("NAME", name, false, label);
    columns.iter().for_each(|column| line.put(column.heading, column.width, column.right, label));
    for (row, y) in shown[top..].iter().zip(area.y + 1..area.bottom()) {
        let chosen = Some(row.worker.id) == screen.chosen();
        let plain = style(screen, terminal::Style::Normal);
        let mut line = Cells { buffer, rest: Rect { y, height: 1, ..area } };
        line.put(&row.worker.id.to_string(), ID, true, plain);
        line.put(&escape::line(&title(&row.worker)), name, false, plain);
        for column in &columns {
            let state = column.heading == "STATE";
            let how = if state { style(screen, workers::style(row.worker.state)) } else { plain };
            line.put(&escape::line(&(column.text)(row)), column.width, column.right, how);
        }
        if chosen {
            buffer.set_style(Rect { y, height: 1, ..area }, plain.add_modifier(Modifier::REVERSED));
        }
    }
    if shown.is_empty() {
        let text = match screen.all() {
            None => "",
            Some([]) => "no workers; `preforkd start FILE` adds some",
            Some(_) => "no worker passes the filter; Esc ends it",
        };
        put(
            buffer,
            Rect { y: area.y + 1, height: area.height - 1, ..area },
            text,
            style(screen, terminal::Style::Normal),
        );
    }
    screen.top = top;
}

/// One line, filled from the left.
struct Cells<'a> {
    buffer: &'a mut Buffer,
    rest: Rect,
}

impl Cells<'_> {
    fn put(&mut self, text: &str, width: u16, right: bool, style: ratatui::style::Style) {
        use unicode_width::UnicodeWidthStr;
        let width = width.min(self.rest.width);
        let text = shorten(text, width.into());
        let indent = if right { width.saturating_sub(text.width() as u16) } else { 0 };
        let x = self.rest.x + indent;
        put(self.buffer, Rect { x, width: width - indent, ..self.rest }, &text, style);
        let step = (width + GAP).min(self.rest.width);
        self.rest = Rect { x: self.rest.x + step, width: self.rest.width - step, ..self.rest };
    }
}
