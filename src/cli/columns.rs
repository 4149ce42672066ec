//! Tables: columns as wide as they must be, fitted to the terminal. First the
//! long columns are shortened (`…`), then the least important ones left out.

use unicode_width::UnicodeWidthStr;

use super::escape;
use super::terminal::{Style, Terminal};

const GAP: usize = 2;

/// One column's heading and how it gives way.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    right: bool,
    /// Width down to which it may be shortened.
    least: Option<usize>,
    /// The highest is left out first; 0 stays.
    dispensable: u8,
}

impl Column {
    /// A column of text that stays whole.
    pub const fn text(title: &'static str) -> Column {
        Column { title, right: false, least: None, dispensable: 0 }
    }

    /// A column of numbers.
    pub const fn number(title: &'static str) -> Column {
        Column { title, right: true, least: None, dispensable: 0 }
    }

    /// May be shortened to `least` columns.
    pub const fn shrinks_to(mut self, least: usize) -> Column {
        self.least = Some(least);
        self
    }

    /// May be left out; the highest `order` goes first.
    pub const fn dispensable(mut self, order: u8) -> Column {
        self.dispensable = order;
        self
    }
}

/// What stands in one column of one row.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Escaped here, so that whatever a user's program chose may be passed in.
    pub fn new(text: &str) -> Cell {
        Cell::styled(text, Style::Normal)
    }

    /// The same in a style.
    pub fn styled(text: &str, style: Style) -> Cell {
        Cell { text: escape::line(text).into_owned(), style }
    }

    /// What does not apply is a dash.
    pub fn maybe(value: Option<impl ToString>) -> Cell {
        value.map_or_else(|| Cell::new("-"), |value| Cell::new(&value.to_string()))
    }
}

/// The table as text, each line with its newline. Rows are as long as `columns`.
pub fn render(terminal: &Terminal, columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let mut widths: Vec<Option<usize>> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let longest = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.text.width()).max();
            Some(longest.unwrap_or(0).max(column.title.width()))
        })
        .collect();
    if let Some(limit) = terminal.width {
        fit(columns, &mut widths, limit);
    }
    let mut out = String::new();
    let heading: Vec<Cell> =
        columns.iter().map(|column| Cell { text: column.title.to_owned(), style: Style::Label }).collect();
    push_row(&mut out, terminal, columns, &widths, &heading);
    for row in rows {
        push_row(&mut out, terminal, columns, &widths, row);
    }
    out
}

/// `None` is a column left out.
fn fit(columns: &[Column], widths: &mut [Option<usize>], limit: usize) {
    let spare = |i: usize, width: Option<usize>| match (width, columns[i].least) {
        (Some(width), Some(least)) => width.saturating_sub(least),
        _ => 0,
    };
    loop {
        let shown = widths.iter().flatten().count();
        let total = widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1);
        let mut excess = total.saturating_sub(limit);
        let all_spare: usize = widths.iter().enumerate().map(|(i, width)| spare(i, *width)).sum();
        let next = (0..columns.len())
            .filter(|i| widths[*i].is_some() && columns[*i].dispensable > 0)
            .max_by_key(|i| columns[*i].dispensable);
        if let (true, Some(i)) = (all_spare < excess, next) {
            widths[i] = None;
            continue;
        }
        // The one with the most to spare gives first, so that short ones stay whole.
        while let Some((spare, i)) = (0..columns.len()).map(|i| (spare(i, widths[i]), i)).max() {
            let less = spare.min(excess);
            if less == 0 {
                return;
            }
            widths[i] = widths[i].map(|width| width - less);
            excess -= less;
        }
        return;
    }
}

fn push_row(out: &mut String, terminal: &Terminal, columns: &[Column], widths: &[Option<usize>], row: &[Cell]) {
    let start = out.len();
    let mut first = true;
    for ((column, width), cell) in columns.iter().zip(widths).zip(row) {
        let Some(width) = *width else { continue };
        if !first {
            out.push_str(&" ".repeat(GAP));
        }
        first = false;
        let text = shorten(&cell.text, width);
        let padding = " ".repeat(width.saturating_sub(text.width()));
        let painted = terminal.paint(cell.style, &text);
        let (before, after) = if column.right { (&*padding, "") } else { ("", &*padding) };
        out.push_str(before);
        out.push_str(&painted);
        out.push_str(after);
    }
    let used = start + out[start..].trim_end_matches(' ').len();
    out.truncate(used);
    out.push('\n');
}

/// At most `width` columns of `text`, the cut marked.
pub fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("ID").shrinks_to(8),
        Column::text("ENTRY").shrinks_to(10),
        Column::number("PID").dispensable(1),
        Column::text("STARTED").dispensable(2),
    ];

    fn row(cells: [&str; 4]) -> Vec<Cell> {
        cells.iter().map(|text| Cell::new(text)).collect()
    }

    fn width(columns: usize) -> Terminal {
        Terminal { width: Some(columns), ..Terminal::PLAIN }
    }

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let rows = [row(["a", "漢字", "7", "now"]), row(["long-id", "x", "12345", "-"])];
        assert_eq!(
            render(&Terminal::PLAIN, &COLUMNS, &rows),
            "ID       ENTRY    PID  STARTED\n\
             a        漢字       7  now\n\
             long-id  x      12345  -\n"
        );
    }

    #[test]
    fn a_pipe_gets_everything_in_full() {
        let long = "e".repeat(500);
        let text = render(&Terminal::PLAIN, &COLUMNS, &[row(["a", &long, "1", "x"])]);
        assert!(text.contains(&long));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_while_anything_can_give_way() {
        let rows = [row([&"i".repeat(36), &"e".repeat(60), "12345", "2026-11-20T23:11:02.123456Z"])];
        for columns in 20..160 {
            let text = render(&width(columns), &COLUMNS, &rows);
            for line in text.lines() {
                assert!(line.width() <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn long_columns_shrink_before_any_is_left_out() {
        let rows = [row(["id", &"e".repeat(60), "12345", "started"])];
        let text = render(&width(50), &COLUMNS, &rows);
        assert!(text.contains("PID") && text.contains("STARTED") && text.contains('…'), "{text}");
        let text = render(&width(25), &COLUMNS, &rows);
        assert!(text.contains("PID") && !text.contains("STARTED"), "{text}");
        assert_eq!(text.lines().nth(1).unwrap().width(), 25, "what a column left is used: {text}");
    }

    #[test]
    fn colours_do_not_count_as_width_and_users_cannot_bring_their_own() {
        let colourful = Terminal { width: Some(40), colour: true, person: true };
        let cells = vec![
            Cell::styled("running", Style::Good),
            Cell::new("\x1b[31mred"),
            Cell::maybe(None::<u32>),
            Cell::new("x"),
        ];
        let text = render(&colourful, &COLUMNS, &[cells]);
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with("\x1b[32mrunning\x1b[0m  "), "{line:?}");
        assert!(line.contains(r"\x1b[31mred"), "{line:?}");
        assert_eq!(line.matches('\x1b').count(), 2);
    }

    #[test]
    fn shortening_respects_wide_characters() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("漢字漢字", 4), "漢…");
        assert_eq!(shorten("abc", 3), "abc");
    }
}
