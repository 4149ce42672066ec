//! Files that are large, deep, broken anywhere, or no text at all: bounded, and never a panic.

use std::fmt::Write;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{MAX_BYTES, load};
use super::Place;

/// Far above what it takes (a tenth of a second), far below what anything quadratic would.
const QUICK: Duration = Duration::from_secs(10);

fn many(key: &str) -> String {
    let mut text = "{pools:[".to_owned();
    for number in 0..10_000 {
        write!(text, "{{name:\"pool-{number}\",runtime:\"php\",{key}:4,preload:\"bootstrap.php\"}},").unwrap();
    }
    text + "]}"
}

#[test]
fn ten_thousand_pools_are_quick() {
    let (place, began) = (Place::new(), Instant::now());
    assert_eq!(place.parse(&many("idle")).unwrap().pools.len(), 10_000);
    assert!(began.elapsed() < QUICK, "{:?}", began.elapsed());
}

#[test]
fn ten_thousand_faults_in_one_line_are_quick_and_all_there() {
    let (place, began) = (Place::new(), Instant::now());
    let errors = place.parse(&many("idel")).unwrap_err().0;
    assert!(began.elapsed() < QUICK, "{:?}", began.elapsed());
    assert_eq!(errors.len(), 10_000);
    assert!(errors.iter().all(|error| error.message == "unknown key \"idel\"; did you mean \"idle\"?"));
    assert!(errors.windows(2).all(|pair| pair[0].column < pair[1].column));
    assert_eq!(errors[9_999].pool.as_deref(), Some("pool-9999"));
}

#[test]
fn faults_beyond_all_measure_are_counted() {
    let (place, began) = (Place::new(), Instant::now());
    let text = format!("{{{} pools:[]}}", "a:1,".repeat(1_000_000));
    let errors = place.errors(&text);
    assert!(began.elapsed() < QUICK * 3, "{:?}", began.elapsed());
    assert_eq!(errors.lines().count(), 10_001);
    assert_eq!(errors.lines().last(), Some("f: 990000 more errors are not shown"));
}

#[test]
fn deep_nesting_is_refused() {
    let place = Place::new();
    for open in ["[", "{a:"] {
        let errors = place.errors(&open.repeat(1_000_000));
        assert!(errors.ends_with(": lists and objects are nested too deep"), "{errors}");
    }
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let place = Place::new();
    let path = place.path().join("f");
    let said = || load(&path).unwrap_err().to_string().replace(path.to_str().unwrap(), "f");
    assert_eq!(said(), "f: cannot read the process file: No such file or directory (os error 2)");
    std::fs::write(&path, b"{pools:[\n{name:\"\xc3\xa4\xff").unwrap();
    assert_eq!(said(), "f:2:9: expected UTF-8, found the byte 0xff");
    std::fs::write(&path, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
    assert_eq!(said(), "f: expected a process file of at most 4 MiB");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(said(), "f: cannot read the process file: not a regular file");
}

const GOOD: &str = r#"{ // a comment with ü
  "pools": [ { name: "a", "runtime": "php", /* x */ "env": { "A": "\u00e4\\", "B": 1.5e3 }, "idle": 4,
    "limits": { "memory": "512M" }, "entries": ["App\\Jobs\\*",], "timeout": "5m" }, ],
}"#;

#[test]
fn a_file_cut_anywhere_is_refused() {
    let place = Place::new();
    assert!(place.parse(GOOD).is_ok());
    for (cut, _) in GOOD.char_indices() {
        let errors = place.parse(&GOOD[..cut]).expect_err(&GOOD[..cut]).0;
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| error.line > 0 && error.column > 0), "{errors:?}");
    }
}

proptest! {
    #[test]
    fn a_file_changed_anywhere_never_panics(at in 0..GOOD.len(), taken in 0usize..9, put in "[ -~ü\\n]{0,4}") {
        let place = Place::new();
        let mut text: Vec<u8> = GOOD.as_bytes().to_vec();
        let end = (at + taken).min(text.len());
        text.splice(at..end, put.bytes());
        let _ = place.parse(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = Place::new().parse(&text);
    }
}
