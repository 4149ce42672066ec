use super::*;

fn open_from(path: &Path, ahead: Ahead) -> (Journal, Read) {
    Journal::open_from(path, Some(ahead)).unwrap()
}

#[test]
fn what_is_read_ahead_and_what_follows_is_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    let (mut journal, _) = Journal::open(&path).unwrap();
    let (ahead, before) = Ahead::read(&path).unwrap();
    let more = [queued(7, "7"), Record::Freed { id: "run-1".into() }];
    more.iter().for_each(|record| journal.append(record));
    journal.flush().unwrap();
    let (mut taken, records) = open_from(&path, ahead);
    // run-0, the first two, had been freed before.
    let expected: Vec<Record> = some_records().into_iter().filter(|r| RecordRef::from(r).id() != "run-0").collect();
    assert_eq!((before, records), (expected, Read::More(more.to_vec())));
    assert_eq!((taken.size(), taken.live_estimate()), (journal.size(), journal.live_estimate()));
    taken.append(&queued(8, "8"));
    taken.flush().unwrap();
    assert_eq!(read(&path).last(), Some(&queued(8, "8")));
}

#[test]
fn writing_it_anew_meanwhile_makes_another_file_and_nothing_is_taken_from_the_former() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    let (mut journal, _) = Journal::open(&path).unwrap();
    let (ahead, _) = Ahead::read(&path).unwrap();
    renewed(&mut journal, &[queued(7, "7")]).unwrap();
    assert_eq!(open_from(&path, ahead).1, Read::All(vec![queued(7, "7")]));
}

#[test]
fn a_damaged_end_is_cut_off_as_ever_and_a_half_written_one_is_read_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    written(&path, &some_records());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let (ahead, _) = Ahead::read(&path).unwrap();
    fs::write(&path, &whole).unwrap();
    assert!(open_from(&path, ahead).0.torn().is_none());

    let (ahead, _) = Ahead::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"no record at all"].concat()).unwrap();
    let (journal, records) = open_from(&path, ahead);
    assert_eq!((journal.torn().unwrap().at, records), (whole.len() as u64, Read::All(some_records())));
    assert!(Ahead::read(&dir.path().join("nowhere")).is_err());
}
