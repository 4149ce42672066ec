//! Journals that are damaged so that their checksums are wrong, and such that lie behind right ones.

use super::super::*;
use super::frame::{self, Chain, HEAD, Next};
use super::{some_records, written};
use crate::mutation::walk;
use std::fs;

fn corpus(dir: &Path) -> Vec<Vec<u8>> {
    let path = dir.join("good");
    written(&path, &some_records());
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released/0.1.0/journal");
    vec![fs::read(path).unwrap(), fs::read(released).unwrap(), frame::head().to_vec()]
}

#[test]
fn a_mutated_journal_is_read_up_to_its_damage_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = corpus(dir.path());
    walk(500, &corpus, |_, bytes| {
        let place = tempfile::tempdir_in(dir.path()).unwrap();
        let path = place.path().join("journal");
        fs::write(&path, bytes).unwrap();
        match Journal::open(&path) {
            Ok((journal, records)) => {
                // What was cut off is beside it, and the rest is a journal.
                let kept = journal.torn().map_or(0, |torn| fs::metadata(torn.kept.as_ref().unwrap()).unwrap().len());
                assert!(journal.size() + kept == bytes.len() as u64 || bytes.len() < HEAD);
                drop(journal);
                let (again, same) = Journal::open(&path).unwrap();
                assert!(again.torn().is_none() && same == records);
            }
            Err(JournalError::NotAJournal(_) | JournalError::Version { .. }) => {
                assert_eq!(fs::read(&path).unwrap(), bytes)
            }
            Err(e) => panic!("{e}"),
        }
    });
}

/// The bodies of a journal's records.
fn bodies(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut at) = (Vec::new(), HEAD);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        found.push(bytes[at + 12..at + 12 + length].to_vec());
        at += 12 + length;
    }
    found
}

#[test]
fn a_mutated_record_is_one_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let corpus: Vec<Vec<u8>> = corpus(dir.path()).iter().flat_map(|bytes| bodies(bytes)).collect();
    walk(20_000, &corpus, |_, body| {
        if let Some(record) = Record::decode(body) {
            let mut bytes = Vec::new();
            frame::encode((&record).into(), &mut bytes, &mut Chain::new());
            assert_eq!(&bytes[12..], body);
            let next = frame::next(&mut &bytes[..], bytes.len() as u64, &mut Chain::new()).unwrap();
            assert!(matches!(next, Next::Record(same, _) if same == record));
        }
    });
}
