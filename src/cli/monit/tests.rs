//! The screen as it looks, and what keys do: with a backend that keeps the picture.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::order::{Order, Verb};
use super::*;
use crate::cli::workers::tests::worker;

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

fn row(known: Value) -> Row {
    Row { worker: worker(known), cpu: Some(12.34), memory: Some(3 << 20) }
}

fn many(count: u32) -> Vec<Row> {
    (0..count)
        .map(|id| row(json!({"id": id, "name": format!("app-{id}"), "pid": 1000 + id, "uptime_ms": 62_000})))
        .collect()
}

fn screen(rows: Vec<Row>) -> Screen {
    let mut screen = Screen::new("/run/preforkd", true);
    assert_eq!(screen.take(Message::Workers(rows)), Act::Nothing);
    screen
}

fn backend(screen: &mut Screen, (width, height): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, screen)).unwrap();
    terminal.backend().clone()
}

fn picture(screen: &mut Screen, size: (u16, u16)) -> Vec<String> {
    let backend = backend(screen, size);
    let cells = backend.buffer().content();
    cells
        .chunks(size.0.into())
        .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect()
}

fn press(screen: &mut Screen, key: KeyCode) -> Act {
    screen.take(Message::Input(Event::Key(KeyEvent::new(key, KeyModifiers::NONE))))
}

fn typed(screen: &mut Screen, text: &str) {
    for c in text.chars() {
        assert_eq!(press(screen, KeyCode::Char(c)), Act::Nothing);
    }
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn three_workers_with_what_they_use() {
    let mut rows = many(2);
    rows.push(row(json!({"id": 7, "name": "mail", "instance": 2, "state": "fatal", "restarts": 16, "user": "www",
        "reason": "16 exits in a row"})));
    rows[2].cpu = None;
    rows[2].memory = None;
    let mut screen = screen(rows);
    let narrow = picture(&mut screen, (80, 24));
    assert_eq!(words(&narrow[0]), "3 workers, 2 up, 1 in trouble CPU 24.7% RSS 6.00 MiB /run/preforkd");
    assert_eq!(words(&narrow[1]), "ID NAME STATE PID UPTIME ↺ CPU MEM");
    assert_eq!(words(&narrow[2]), "0 app-0 running 1000 1 min 2 s 0 12.3% 3.00 MiB");
    assert_eq!(words(&narrow[4]), "7 mail (2) fatal - - 16 - -");
    let wide = picture(&mut screen, (200, 50));
    assert_eq!(words(&wide[1]), "ID NAME NAMESPACE STATE PID UPTIME ↺ CPU MEM USER");
    assert_eq!(words(&wide[4]), "7 mail (2) default fatal - - 16 - - www");
}

#[test]
fn without_workers_it_says_what_to_do() {
    for size in SIZES {
        let mut unknown = Screen::new("/run/preforkd", true);
        assert!(picture(&mut unknown, size)[0].starts_with("asking the daemon"));
        let lines = picture(&mut screen(vec![]), size);
        assert!(lines[2].contains("preforkd start FILE"), "{lines:#?}");
        assert!(lines.last().unwrap().contains("q quit"), "{lines:#?}");
    }
}

#[test]
fn of_a_thousand_the_chosen_one_is_always_seen() {
    for size in SIZES {
        let mut screen = screen(many(1000));
        let check = |screen: &mut Screen, id: u32| {
            let backend = backend(screen, size);
            let buffer = backend.buffer();
            let marked: Vec<u16> =
                (0..size.1).filter(|y| buffer[(10, *y)].modifier.contains(Modifier::REVERSED)).collect();
            assert_eq!(marked.len(), 1, "one row is marked");
            let text: String = (0..size.0).map(|x| buffer[(x, marked[0])].symbol()).collect();
            assert!(text.contains(&format!("app-{id} ")), "{text}");
        };
        check(&mut screen, 0);
        press(&mut screen, KeyCode::End);
        check(&mut screen, 999);
        press(&mut screen, KeyCode::Up);
        check(&mut screen, 998);
        press(&mut screen, KeyCode::PageUp);
        let page = screen.page as u32;
        assert!(page >= 10, "{page}");
        check(&mut screen, 998 - page);
        press(&mut screen, KeyCode::Home);
        press(&mut screen, KeyCode::Char('j'));
        check(&mut screen, 1);
    }
}

#[test]
fn the_chosen_one_stays_chosen_and_its_place_is_taken_when_it_goes() {
    let mut screen = screen(many(5));
    (0..3).for_each(|_| drop(press(&mut screen, KeyCode::Down)));
    assert_eq!(screen.chosen(), Some(3));
    screen.take(Message::Workers(many(5).split_off(2)));
    assert_eq!(screen.chosen(), Some(3));
    let mut left = many(5).split_off(2);
    left.remove(1);
    screen.take(Message::Workers(left));
    assert_eq!(screen.chosen(), Some(4), "it was the second of three; there is another one now");
    screen.take(Message::Workers(many(1)));
    assert_eq!(screen.chosen(), Some(0), "the last one that is left");
}

#[test]
fn no_name_and_no_line_steers_the_terminal() {
    let evil = "\u{1b}[31mred\u{7}\u{202e}漢字".repeat(20);
    let mut rows = many(1);
    rows[0] = row(json!({"name": evil, "namespace": evil, "user": evil, "state": "backoff", "reason": evil,
        "last_exit": {"pid": 9, "exit_code": null, "signal": 9, "signal_name": evil, "core_dumped": false,
        "at": "1970-01-01T00:00:01.000000Z"}}));
    let mut screen = screen(rows);
    let log_line = crate::wire::apps::LogLine {
        name: "web".into(),
        worker: Some(0),
        stream: "err".into(),
        at: None,
        text: evil.clone().into(),
    };
    screen.take(Message::Log { of: 0, lines: vec![Line::of(&log_line)] });
    for message in [Message::Done(Err(evil.clone())), Message::Unreachable(evil.clone())] {
        screen.take(message);
        for size in SIZES {
            for line in picture(&mut screen, size) {
                assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
            }
        }
    }
    press(&mut screen, KeyCode::Char('d'));
    let lines = picture(&mut screen, (200, 50));
    assert!(lines.last().unwrap().starts_with(r"Delete \x1b[31mred\x07"), "{lines:#?}");
}

#[test]
fn every_size_can_be_drawn() {
    let mut screen = screen(many(30));
    screen.take(Message::Log { of: 0, lines: vec![Line { error: false, text: "漢字".repeat(60) }; 9] });
    for mode in ["", "?", "/", "d"] {
        typed(&mut screen, mode);
        for width in [1, 2, 3, 5, 7, 20, 39, 40, 61, 80, 106, 121, 300] {
            for height in [1, 2, 3, 4, 6, 10, 24] {
                for line in picture(&mut screen, (width, height)) {
                    assert!(
                        line.width() <= usize::from(width) + line.matches('漢').count() + line.matches('字').count()
                    );
                }
            }
        }
        press(&mut screen, KeyCode::Esc);
    }
}

#[test]
fn the_log_is_the_chosen_ones_and_follows() {
    let mut screen = screen(many(2));
    let say = |text: &str| vec![Line { error: text == "oops", text: text.to_owned() }];
    screen.take(Message::Log { of: 0, lines: say("hello") });
    screen.take(Message::Log { of: 0, lines: say("oops") });
    screen.take(Message::Log { of: 1, lines: say("of another one") });
    let lines = picture(&mut screen, (80, 24));
    assert!(lines[4].starts_with("── app-0 ─"), "{lines:#?}");
    assert_eq!((&*lines[5], &*lines[6], &*lines[7]), ("out hello", "err oops", ""));
    let backend = backend(&mut screen, (80, 24));
    assert_eq!((backend.buffer()[(0, 5)].fg, backend.buffer()[(0, 6)].fg), (Color::Reset, Color::Red));
    (0..100).for_each(|n| drop(screen.take(Message::Log { of: 0, lines: say(&format!("line {n}")) })));
    assert_eq!(picture(&mut screen, (80, 24))[22], "out line 99");
    press(&mut screen, KeyCode::Tab);
    press(&mut screen, KeyCode::Up);
    let lines = picture(&mut screen, (80, 24));
    assert!(lines[22] == "out line 98" && lines[4].contains("1 lines back"), "{lines:#?}");
    press(&mut screen, KeyCode::Tab);
    press(&mut screen, KeyCode::Down);
    assert_eq!(picture(&mut screen, (80, 24))[5], "", "another one is chosen, and its log is not there yet");
}

#[test]
fn keys_act_on_the_chosen_one() {
    let mut rows = many(2);
    rows.push(row(json!({"id": 2, "name": "down", "state": "stopped"})));
    let mut screen = screen(rows);
    press(&mut screen, KeyCode::Down);
    let order = |verb, id: u32, name: &str| Act::Do(Order { verb, id, name: name.to_owned() });
    assert_eq!(press(&mut screen, KeyCode::Char('r')), order(Verb::Restart, 1, "app-1"));
    assert!(picture(&mut screen, (80, 24))[23].starts_with("app-1: restarting"));
    assert_eq!(press(&mut screen, KeyCode::Char('l')), order(Verb::Reload, 1, "app-1"));
    assert_eq!(press(&mut screen, KeyCode::Char('s')), order(Verb::Stop, 1, "app-1"));
    press(&mut screen, KeyCode::Down);
    assert_eq!(press(&mut screen, KeyCode::Char('s')), order(Verb::Start, 2, "down"));
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Act::Quit(0));
    assert_eq!(screen.take(Message::Signal(SIGTERM)), Act::Quit(143));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.take(Message::Input(Event::Key(interrupt))), Act::Quit(0));
}

#[test]
fn a_deletion_is_asked_about() {
    let mut screen = screen(many(1));
    for no in [KeyCode::Esc, KeyCode::Enter, KeyCode::Char('n'), KeyCode::Char('d')] {
        assert_eq!(press(&mut screen, KeyCode::Char('d')), Act::Nothing);
        assert!(picture(&mut screen, (80, 24))[23].starts_with("Delete app-0 (id 0)?"));
        assert_eq!(press(&mut screen, no), Act::Nothing);
    }
    press(&mut screen, KeyCode::Char('d'));
    // It is that worker that is deleted, whoever is chosen by now.
    screen.take(Message::Workers(vec![row(json!({"id": 9, "name": "other"}))]));
    let order = Order { verb: Verb::Delete, id: 0, name: "app-0".to_owned() };
    assert_eq!(press(&mut screen, KeyCode::Char('y')), Act::Do(order));
}

#[test]
fn a_filter_narrows_the_table() {
    let mut screen = screen(many(1000));
    press(&mut screen, KeyCode::Char('/'));
    typed(&mut screen, "PP-99q");
    press(&mut screen, KeyCode::Backspace);
    let lines = picture(&mut screen, (80, 24));
    assert!(lines[23].starts_with("/PP-99█"), "{lines:#?}");
    assert_eq!(screen.shown().len(), 11);
    assert!(words(&lines[2]).starts_with("99 app-99 running"), "{lines:#?}");
    assert_eq!(screen.chosen(), Some(99), "one that is seen is chosen");
    press(&mut screen, KeyCode::Enter);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Act::Quit(0), "keys are commands again");
    press(&mut screen, KeyCode::Esc);
    assert_eq!((screen.shown().len(), screen.chosen()), (1000, Some(99)));
    typed(&mut screen, "/nothing-has-that");
    assert!(picture(&mut screen, (80, 24))[2].contains("no worker passes"));
    assert_eq!(press(&mut screen, KeyCode::Enter), Act::Nothing);
    assert_eq!(press(&mut screen, KeyCode::Char('r')), Act::Nothing, "there is nobody to restart");
}

#[test]
fn a_daemon_that_is_gone_is_told_until_it_is_back() {
    let mut screen = screen(many(1));
    screen.take(Message::Unreachable("no daemon".to_owned()));
    let lines = picture(&mut screen, (80, 24));
    assert!(lines[23].starts_with("no daemon") && lines[2].contains("app-0"), "{lines:#?}");
    screen.take(Message::Workers(many(1)));
    assert!(picture(&mut screen, (80, 24))[23].contains("q quit"));
}

#[test]
fn help_is_over_the_rest_until_a_key() {
    let mut screen = screen(many(3));
    press(&mut screen, KeyCode::Char('?'));
    for size in SIZES {
        let text = picture(&mut screen, size).join("\n");
        assert!(text.contains("delete, after a question") && text.contains("the workers go on"), "{text}");
    }
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Act::Nothing, "it only ends the help");
    assert!(!picture(&mut screen, (80, 24)).join("\n").contains("after a question"));
}

#[test]
fn without_colours_there_are_none() {
    let mut rows = many(3);
    rows[1] = row(json!({"id": 1, "state": "fatal"}));
    let mut screen = screen(rows);
    screen.colour = false;
    screen.take(Message::Done(Err("x".to_owned())));
    let backend = backend(&mut screen, (80, 24));
    assert!(backend.buffer().content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}
