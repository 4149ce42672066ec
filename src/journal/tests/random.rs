//! Any records, cut and damaged anywhere.

use std::collections::BTreeMap;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::{HEAD, Head, RunError, json, look_at_head, queued, read, renewed, written};

fn any_record() -> impl Strategy<Value = Record> {
    let id = "[a-zA-Z0-9._:-]{1,64}";
    let any_json = || {
        prop_oneof!["[0-9]{1,9}", "\\[(\"[a-zü]{0,40}\",){0,5}1\\]", Just("null".to_owned())]
            .prop_map(|text| json(if text.starts_with('0') { "0" } else { &text }))
    };
    let output = || proptest::option::of("(?s).{0,60}");
    let error = (".{0,9}", ".{0,30}", proptest::option::of(".{0,30}")).prop_map(|(class, message, trace)| RunError {
        class: class.into(),
        message: message.into(),
        trace: trace.map(Into::into),
    });
    prop_oneof![
        (any::<u32>(), id, "[a-z]{1,9}", any_json(), any::<u64>()).prop_map(
            |(slot, id, pool, request, queued_at_ns)| Record::Queued { slot, id, pool, request, queued_at_ns }
        ),
        (
            any::<u32>(),
            id,
            proptest::option::of(any_json()),
            proptest::option::of(error),
            output(),
            output(),
            any::<bool>()
        )
            .prop_map(|(slot, id, result, error, stdout, stderr, timed_out)| Record::Ended {
                slot,
                id,
                result,
                error,
                stdout,
                stderr,
                timed_out,
            }),
        id.prop_map(|id| Record::Freed { id }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn cut_at_any_byte_it_replays_to_a_prefix(records in vec(any_record(), 0..8), cut in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &records);
        let bytes = fs::read(&path).unwrap();
        let cut = cut.index(bytes.len() + 1);
        fs::write(&path, &bytes[..cut]).unwrap();
        let (journal, found) = Journal::open(&path).unwrap();
        prop_assert!(records.starts_with(&found));
        let good = journal.size() as usize;
        match journal.torn() {
            None => prop_assert!(cut <= HEAD || good == cut),
            Some(torn) => prop_assert_eq!(&fs::read(torn.kept.as_ref().unwrap()).unwrap(), &bytes[good..cut]),
        }
        prop_assert_eq!(found.len() == records.len(), cut == bytes.len() || records.is_empty());
        drop(journal);
        prop_assert_eq!(read(&path), found);
    }

    #[test]
    fn damaged_anywhere_it_tells_nothing_that_was_not_written(
        records in vec(any_record(), 1..8),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..20), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &records);
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte, taken) in damage {
            let at = at.index(bytes.len());
            let end = (at + taken).min(bytes.len());
            bytes.splice(at..end, [byte]);
            if bytes.is_empty() { break }
        }
        fs::write(&path, &bytes).unwrap();
        match Journal::open(&path) {
            Ok((_, found)) => prop_assert!(records.starts_with(&found)),
            Err(_) => prop_assert!(look_at_head(&bytes[..bytes.len().min(HEAD)]) != Head::Good),
        }
    }

    #[test]
    fn no_bytes_behind_a_good_head_panic(tail in vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        fs::write(&path, [&frame::head()[..], &tail].concat()).unwrap();
        prop_assert_eq!(Journal::open(&path).unwrap().1, []);
        let _ = Record::decode(&tail);
    }

    /// It is a map, from ids to the latest that was said of them, however many records of what else happened have gone by.
    #[test]
    fn whatever_happens_while_it_is_written_anew_is_in_it(steps in vec((0u8..10, 0u32..4), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let (mut expected, mut number) = (BTreeMap::new(), 0u32);
        // The id that is looked at next.
        let mut renewal: Option<u32> = None;
        for (step, id) in steps {
            match step {
                0..=2 => {
                    number += 1;
                    expected.insert(id, number);
                    journal.append(&queued(id, &number.to_string()));
                }
                3..=4 => {
                    expected.remove(&id);
                    journal.append(&Record::Freed { id: format!("run-{id}") });
                }
                5 => journal.flush().unwrap(),
                6 if renewal.is_none() => {
                    journal.begin_anew().unwrap();
                    renewal = Some(0);
                }
                _ => match renewal {
                    Some(4) if journal.replace().unwrap() => renewal = None,
                    // By the next time it is on the disk.
                    Some(4) => std::thread::sleep(std::time::Duration::from_millis(1)),
                    Some(at) => {
                        if let Some(number) = expected.get(&at) {
                            journal.keep((&queued(at, &number.to_string())).into());
                        }
                        renewal = Some(at + 1);
                    }
                    None => {}
                },
            }
        }
        journal.flush().unwrap();
        let size = journal.size();
        drop(journal);
        prop_assert_eq!(fs::metadata(&path).unwrap().len(), size);
        let mut found = BTreeMap::new();
        for record in read(&path) {
            match record {
                Record::Queued { slot, request, .. } => drop(found.insert(slot, request.get().parse::<u32>().unwrap())),
                Record::Freed { id } => drop(found.remove(&id["run-".len()..].parse::<u32>().unwrap())),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn it_is_a_list_that_can_be_closed_and_written_anew(steps in vec((0u8..8, any_record()), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let (mut flushed, mut waiting): (Vec<Record>, Vec<Record>) = Default::default();
        for (step, record) in steps {
            match step {
                0..=3 => {
                    journal.append(&record);
                    waiting.push(record);
                }
                4..=5 => {
                    journal.flush().unwrap();
                    flushed.append(&mut waiting);
                }
                6 => {
                    flushed.append(&mut waiting);
                    flushed.retain(|record| !matches!(record, Record::Freed { .. }));
                    renewed(&mut journal, &flushed).unwrap();
                    prop_assert_eq!(journal.live_estimate(), journal.size());
                }
                _ => {
                    drop(journal);
                    waiting.clear();
                    let (again, records) = Journal::open(&path).unwrap();
                    prop_assert_eq!(&records, &flushed);
                    journal = again;
                }
            }
        }
    }
}
