//! Tables that are damaged: whoever opens one says so, or reads something that is no table's; nothing panics or goes on for ever.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::GzDecoder;

use super::super::*;
use super::{exit, table};
use crate::mutation::walk;
use crate::sys::reap::How;

/// The table of 0.1.0, without the zeros behind its last row.
fn released() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released/0.1.0/table.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Everything that is read of a table that is open, but its ring, which is the keeper's alone while it is open.
fn read_all(path: &Path) {
    if let Ok(reader) = Reader::open(path) {
        let rows = reader.rows().count();
        assert!(rows <= SLOTS as usize);
        reader.pids();
    }
    let table = Table::open(path, true).unwrap();
    assert_eq!(table.ring_head(), table.ring_tail());
    for slot in 0..table.slots_used() {
        if let Some(row) = table.record(slot) {
            assert!(row.entry.len() <= slot::ENTRY_MAX && row.id.len() <= slot::NAME_MAX);
        }
    }
    // And it can be used.
    for slot in 0..table.slots_used().min(8) {
        table.set_timed_out(slot);
        table.set_kill_at(slot, 9);
        table.set_exited(slot, &table.exit(0));
        table.clear(slot);
        assert_eq!(table.record(slot), None);
    }
    assert!(table.ring_writer().push(&exit(7, How::Exited(1)), 8));
    assert_eq!(table.exit(table.ring_tail()).pid, 7);
}

#[test]
fn a_table_with_mutated_header_and_rows_is_read_without_panic() {
    let (tmp, former) = table();
    drop(former);
    let path = tmp.path().join("table");
    let bytes = released();
    let rows_at = SLOTS_AT * 8;
    let (header, rows) = (bytes[..128].to_vec(), bytes[rows_at..].to_vec());
    let corpus: Vec<Vec<u8>> = rows.chunks(slot::SLOT_WORDS * 8).map(<[u8]>::to_vec).chain([header.clone()]).collect();
    walk(300, &corpus, |_, mutated| {
        let mut file = files::private_file(&path).unwrap();
        let mut put = |at: usize, bytes: &[u8]| {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(bytes).unwrap();
        };
        put(0, &header);
        put(rows_at, &rows);
        // A row somewhere among the others, or a header, or both.
        put(rows_at + 3 * slot::SLOT_WORDS * 8, &mutated[..mutated.len().min(64 * 1024)]);
        read_all(&path);
        put(0, &mutated[..mutated.len().min(128)]);
        read_all(&path);
    });
}

#[test]
fn exits_that_nobody_wrote_are_read_without_panic() {
    let (_tmp, table) = table();
    walk(2000, &[vec![0; ring::ENTRY_WORDS * 8], vec![0xff; ring::ENTRY_WORDS * 8]], |_, bytes| {
        for (word, bytes) in bytes.chunks_exact(8).take(ring::ENTRY_WORDS).enumerate() {
            let value = u64::from_le_bytes(bytes.try_into().unwrap());
            table.word(HEADER_WORDS + word).store(value, Ordering::Relaxed);
        }
        let entry = table.exit(0);
        assert_eq!(entry.seq, 0);
    });
}

#[test]
fn a_row_whose_lock_has_the_largest_number_can_be_written() {
    let (_tmp, table) = table();
    table.word(SLOTS_AT).store(u64::MAX, Ordering::Relaxed);
    table.set_timed_out(0);
    assert_eq!(table.word(SLOTS_AT).load(Ordering::Relaxed), 0);
}
