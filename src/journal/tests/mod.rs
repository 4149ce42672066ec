//! A journal against a list of records: cut, damaged, without room, written anew.

mod ahead;
mod damaged;
mod random;
mod room;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::value::RawValue;

use super::frame::{HEAD, Head, look_at_head};
use super::*;
use crate::wire::status::RunError;

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn queued(number: u32, request: &str) -> Record {
    let (id, pool) = (format!("run-{number}"), "billing".to_owned());
    Record::Queued { slot: number, id, pool, request: json(request), queued_at_ns: 1_795_000_000_000_000_000 }
}

fn some_records() -> Vec<Record> {
    let error = RunError { class: "E".into(), message: "mal \u{0} ü".into(), trace: Some("#0".into()) };
    let ended = |id: &str, result, error, stdout, stderr, timed_out| Record::Ended {
        slot: u32::MAX,
        id: id.to_owned(),
        result,
        error,
        stdout,
        stderr,
        timed_out,
    };
    vec![
        queued(0, "{\"entry\": \"x\",  \"params\": [1.50, null]}"),
        ended("run-0", Some(json("[true]")), None, Some("out".to_owned()), None, false),
        ended("run-1", None, Some(error.clone()), None, Some(String::new()), true),
        ended("run-2", None, Some(RunError { trace: None, ..error }), None, None, false),
        Record::Freed { id: "run-0".to_owned() },
    ]
}

/// A journal with these records, closed again.
fn written(path: &Path, records: &[Record]) {
    let (mut journal, old) = Journal::open(path).unwrap();
    assert!(old.is_empty() && journal.torn().is_none());
    records.iter().for_each(|record| journal.append(record));
    journal.flush().unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), journal.size());
}

/// Written anew, all at once.
fn renewed(journal: &mut Journal, records: &[Record]) -> io::Result<()> {
    journal.begin_anew()?;
    for record in records {
        journal.keep(record.into());
    }
    while !journal.replace()? {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(())
}

fn read(path: &Path) -> Vec<Record> {
    let (journal, records) = Journal::open(path).unwrap();
    assert_eq!(journal.torn(), None);
    records
}

#[test]
fn what_was_flushed_is_there_again_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    assert_eq!(read(&path), some_records());
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.append(&queued(7, "7"));
    assert!(journal.buffered() > 0);
    drop(journal);
    assert_eq!(read(&path), some_records());
    assert_ne!(queued(7, "7"), queued(7, "8"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_others_may_read_is_closed_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &[]);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    read(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let said = || Journal::open(&path).unwrap_err().to_string().replace(path.to_str().unwrap(), "J");
    let foreign = "J is not a journal of preforkd, or its head is damaged; move it away to begin a new one";
    for bytes in ["x", "somebody's letter to his aunt", "preforkd----------------"] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(said(), foreign);
        assert_eq!(fs::read(&path).unwrap(), bytes.as_bytes());
    }
    let mut later = frame::head();
    later[8] = 9;
    let sum = crc32fast::hash(&later[..12]);
    later[12..].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, later).unwrap();
    assert_eq!(
        said(),
        "J is a journal of format 9, this preforkd reads 1; start the version that wrote it, \
         or move it away to begin a new one"
    );
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    assert!(said().starts_with("cannot open the journal J: "), "{}", said());
}

#[test]
fn a_journal_of_which_only_the_head_was_begun_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for length in 0..HEAD {
        fs::write(&path, &frame::head()[..length]).unwrap();
        assert_eq!(read(&path), []);
        assert_eq!(look_at_head(&fs::read(&path).unwrap()), Head::Good);
    }
}

#[test]
fn a_torn_end_is_kept_aside_told_and_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    let good = fs::read(&path).unwrap();
    let tails: [(&[u8], &str); 3] = [
        (&[0; 5], "a record is cut off"),
        (&[0; 40], "a record's checksum is wrong"),
        (&[255; 40], "a record is cut off, or its length is wrong"),
    ];
    for (number, (tail, why)) in tails.into_iter().enumerate() {
        fs::write(&path, [&good, tail].concat()).unwrap();
        let (mut journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, some_records());
        let torn = journal.torn().unwrap();
        assert_eq!((torn.at, torn.bytes, torn.why), (good.len() as u64, tail.len() as u64, why));
        let kept = dir.path().join(format!("journal.torn-{}", number + 1));
        assert_eq!(torn.kept, Ok(kept.clone()));
        assert_eq!(fs::read(&kept).unwrap(), tail);
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(torn.to_string().contains(&format!("{why} at byte {}; the last {} bytes", good.len(), tail.len())));
        assert_eq!(fs::read(&path).unwrap(), good);
        journal.append(&queued(9, "9"));
        journal.flush().unwrap();
        assert_eq!(read(&path).last(), Some(&queued(9, "9")));
    }
}

/// Frames that are whole in themselves, but not where they stand.
#[test]
fn a_record_that_is_missing_or_there_twice_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut ends = vec![HEAD];
    let (mut journal, _) = Journal::open(&path).unwrap();
    for record in some_records() {
        journal.append(&record);
        journal.flush().unwrap();
        ends.push(journal.size() as usize);
    }
    let bytes = fs::read(&path).unwrap();
    for at in 1..4 {
        let (start, end) = (ends[at], ends[at + 1]);
        for changed in [[&bytes[..start], &bytes[end..]].concat(), [&bytes[..end], &bytes[start..]].concat()] {
            fs::write(&path, &changed).unwrap();
            let (journal, found) = Journal::open(&path).unwrap();
            assert!(journal.torn().is_some());
            assert!(some_records().starts_with(&found) && found.len() >= at, "{at} {}", found.len());
        }
    }
}

#[test]
fn what_is_written_anew_is_what_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    fs::write(dir.path().join("journal.new"), "left over").unwrap();
    let (mut journal, _) = Journal::open(&path).unwrap();
    let request = format!("\"{}\"", "x".repeat(10_000));
    for number in 0..1000 {
        journal.append(&queued(number, &request));
        if number >= 10 {
            journal.append(&Record::Freed { id: format!("run-{number}") });
        }
        journal.flush().unwrap();
    }
    assert!(journal.is_stale(), "{} {}", journal.size(), journal.live_estimate());
    let alive: Vec<Record> = (0..10).map(|number| queued(number, &request)).collect();
    let expected = journal.live_estimate();
    journal.append(&queued(10, "1"));
    let all = || alive.iter().cloned().chain([queued(10, "1")]);
    renewed(&mut journal, &all().collect::<Vec<_>>()).unwrap();
    assert!(!journal.is_stale());
    assert_eq!((journal.size(), journal.buffered()), (journal.live_estimate(), 0));
    assert!(journal.size() > expected && journal.size() < expected + 200);
    journal.append(&queued(11, "2"));
    journal.flush().unwrap();
    assert_eq!(read(&path), all().chain([queued(11, "2")]).collect::<Vec<_>>());
    assert!(!dir.path().join("journal.new").exists());
}

#[test]
fn what_was_being_written_anew_does_not_outlive_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (path, new) = (dir.path().join("journal"), dir.path().join("journal.new"));
    written(&path, &some_records());
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.begin_anew().unwrap();
    journal.keep((&queued(7, "7")).into());
    journal.renew().unwrap();
    drop(journal);
    assert!(new.exists(), "as a master that was killed leaves it");
    assert_eq!(read(&path), some_records());
    assert!(!new.exists());
}

#[test]
fn writing_it_anew_may_fail_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.append(&queued(7, "7"));
    // A folder of that name cannot be removed as a file is.
    fs::create_dir(dir.path().join("journal.new")).unwrap();
    assert!(renewed(&mut journal, &[]).is_err());
    journal.flush().unwrap();
    assert_eq!(read(&path), some_records().into_iter().chain([queued(7, "7")]).collect::<Vec<_>>());
}
