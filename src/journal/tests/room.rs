//! Journals on a disk that is full, for which a limit on the size of files stands.

use std::fs;
use std::process::Command;

use super::*;

/// Whether the caller runs under such a limit, in blocks of 512 bytes. Where it does not it has been run once more by a shell that
/// sets it, and has passed there.
fn limited(test: &str, blocks: u32) -> bool {
    const LIMITED: &str = "PREFORKD_TEST_FILE_LIMIT";
    if std::env::var_os(LIMITED).is_some() {
        return true;
    }
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec timeout 60 \"$0\" --exact \"$1\" --nocapture");
    let out = Command::new("sh")
        .args(["-c", &script, std::env::current_exe().unwrap().to_str().unwrap()])
        .arg(format!("journal::tests::room::{test}"))
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    false
}

/// Of no file more than so many bytes are written from now on.
fn limit(bytes: &str) {
    let pid = std::process::id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap().success());
}

#[test]
fn a_write_that_fails_halfway_leaves_whole_records_and_is_tried_again() {
    if !limited("a_write_that_fails_halfway_leaves_whole_records_and_is_tried_again", 64) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    let request = format!("\"{}\"", "x".repeat(1000));
    let mut number = 0;
    let error = loop {
        // Three at a time: some of a flush would fit, all of it would not.
        (0..3).for_each(|more| journal.append(&queued(number + more, &request)));
        match journal.flush() {
            Ok(()) => number += 3,
            Err(error) => break error,
        }
        assert!(number < 1000, "the limit does not hold");
    };
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    let expected = |to| (0..to).map(|number| queued(number, &request)).collect::<Vec<_>>();
    assert!(number > 0);
    assert_eq!(fs::metadata(&path).unwrap().len(), journal.size());
    assert_eq!(read(&path), expected(number));
    assert!(journal.flush().is_err());
    assert_eq!(read(&path), expected(number));
    limit("unlimited");
    journal.flush().unwrap();
    assert_eq!(read(&path), expected(number + 3));
}

#[test]
fn a_damaged_end_that_cannot_be_kept_aside_is_left_until_it_can() {
    if !limited("a_damaged_end_that_cannot_be_kept_aside_is_left_until_it_can", 64) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    let good = fs::read(&path).unwrap();
    let tail = vec![255; 64 << 10];
    limit("unlimited");
    fs::write(&path, [&good[..], &tail].concat()).unwrap();
    limit("32768");
    let as_it_was = |what: &str| {
        assert_eq!(fs::read(&path).unwrap(), [&good[..], &tail].concat(), "{what}");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["journal"], "{what}");
    };

    let (mut journal, records) = Journal::open(&path).unwrap();
    assert_eq!(records, some_records());
    let told = journal.torn().unwrap().to_string();
    let expected = format!("at byte {}; the last {} bytes cannot be kept elsewhere and stay", good.len(), tail.len());
    assert!(told.contains(&expected) && told.contains("File too large"), "{told}");
    as_it_was("opened");
    journal.flush().unwrap();
    as_it_was("nothing to write");
    journal.append(&queued(7, "7"));
    assert_eq!(journal.flush().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    as_it_was("something to write");
    assert!(renewed(&mut journal, &[]).is_err());
    as_it_was("to be written anew");
    drop(journal);

    let (mut journal, records) = Journal::open(&path).unwrap();
    assert_eq!(records, some_records());
    journal.append(&queued(8, "8"));
    assert!(journal.flush().is_err());
    limit("unlimited");
    journal.flush().unwrap();
    let kept = dir.path().join("journal.torn-1");
    assert_eq!(journal.torn().unwrap().kept, Ok(kept.clone()));
    assert_eq!(fs::read(kept).unwrap(), tail);
    assert_eq!(read(&path), some_records().into_iter().chain([queued(8, "8")]).collect::<Vec<_>>());
}
