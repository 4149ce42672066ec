mod damaged;

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::sys::reap::{Exit, How, Rusage};
use crate::wire::status::State;

fn table() -> (tempfile::TempDir, Table) {
    let tmp = tempfile::tempdir().unwrap();
    let table = Table::open(&tmp.path().join("table"), true).unwrap();
    (tmp, table)
}

fn exit(pid: u32, how: How) -> Exit {
    Exit { pid, inode: u64::from(pid) + 7, how, usage: Rusage { user_us: 3, ..Rusage::default() } }
}

#[test]
fn a_run_s_life_is_read_back_by_another_mapping() {
    let (tmp, table) = table();
    let reader = Reader::open(&tmp.path().join("table")).unwrap();
    assert_eq!(reader.rows().count(), 0);
    let entry = "e".repeat(255);
    table.claim(
        7,
        &Claim {
            id: &"i".repeat(64),
            pool: &"p".repeat(64),
            entry: &entry,
            state: State::Queued,
            worker: false,
            queued_at: 5,
            timeout: Some(Duration::ZERO),
            kill_timeout: Duration::from_secs(1),
        },
    );
    table.set_starting(7, 3, u64::MAX, 9);
    table.set_running(7, 4321, 6, 66);
    let row = reader.rows().next().unwrap();
    assert_eq!((row.slot, row.state, row.pid, row.generation), (7, State::Running, 4321, 3));
    assert_eq!((row.id.len(), row.pool.len(), row.entry.as_str()), (64, 64, entry.as_str()));
    assert_eq!(
        (row.timeout, row.kill_timeout.as_secs(), row.started_mono, row.kill_at),
        (Some(Duration::ZERO), 1, 66, 0)
    );
    assert_eq!((row.nonce, row.fork_seq, row.usage), (u64::MAX, 9, None));
    assert!(table.ring_writer().push(&exit(4321, How::Dumped(11)), 8));
    table.set_timed_out(7);
    table.set_exited(7, &table.exit(0));
    let row = table.record(7).unwrap();
    assert_eq!(
        (row.state, row.exit_code(), row.signal(), row.core_dumped()),
        (State::Exited, None, Some(11), Some(true))
    );
    assert_eq!((row.ended_at, row.timed_out, row.usage.unwrap().user_us, row.generation), (8, true, 3, 3));
    table.clear(7);
    assert!(table.record(7).is_none() && reader.rows().next().is_none());
}

#[test]
fn a_file_of_another_kind_is_refused_by_readers_and_made_anew_by_the_keeper() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("table");
    std::fs::write(&path, "hello").unwrap();
    assert!(Reader::open(&path).is_err());
    Table::open(&path, true).unwrap();
    assert_eq!(Reader::open(&path).unwrap().rows().count(), 0);
}

#[test]
fn a_restart_keeps_the_runs_and_a_new_master_keeps_the_ring() {
    let (tmp, table) = table();
    table.claim(
        0,
        &Claim {
            id: "a",
            pool: "p",
            entry: "e",
            state: State::Running,
            worker: false,
            queued_at: 1,
            timeout: None,
            kill_timeout: Duration::ZERO,
        },
    );
    assert!(table.ring_writer().push(&exit(5, How::Exited(0)), 1));
    let again = Table::open(&tmp.path().join("table"), false).unwrap();
    assert_eq!((again.ring_head(), again.record(0).unwrap().id.as_str()), (1, "a"));
    let fresh = Table::open(&tmp.path().join("table"), true).unwrap();
    assert_eq!((fresh.ring_head(), fresh.record(0).is_some()), (0, true));
}

#[test]
fn a_full_ring_refuses_and_says_so_and_the_reader_sees_it() {
    let (_tmp, table) = table();
    let w = table.ring_writer();
    for i in 0..RING {
        assert!(w.push(&exit(i as u32 + 1, How::Exited(0)), i));
    }
    assert!(!table.ring_advance(0));
    assert!(!w.push(&exit(1, How::Exited(0)), 0));
    assert!(table.ring_advance(1), "stalled");
    assert!(!table.ring_advance(1), "told once");
    assert!(w.push(&exit(99, How::Exited(1)), 0));
    assert_eq!((table.exit(RING).pid, table.exit(1).pid), (99, 2));
}

#[test]
fn a_sleeper_is_woken_once_and_learns_what_is_safe() {
    let (_tmp, table) = table();
    let (w, mut r) = (table.ring_writer(), RingReader::new(&table));
    assert!(w.push(&exit(1, How::Exited(0)), 0));
    assert!(!w.wake_needed(), "nobody sleeps");
    assert_eq!(r.arm(&table), 1);
    assert!(w.push(&exit(2, How::Exited(0)), 0));
    assert!(w.wake_needed());
    assert!(w.push(&exit(3, How::Exited(0)), 0));
    assert!(!w.wake_needed());
    assert_eq!((r.woken(&table, || 1), table.ring_head()), (Some(2), 3));
    assert_eq!(r.arm(&table), 3);
    assert!(w.push(&exit(4, How::Exited(0)), 0) && w.wake_needed());
    // Something else ends the poll before the wake-up comes; armed again, the writer announces more.
    assert_eq!(r.arm(&table), 4);
    assert!(w.push(&exit(5, How::Exited(0)), 0) && w.wake_needed());
    assert_eq!(r.woken(&table, || 2), None, "two are on their way, and which of them was that?");
    assert_eq!(r.woken(&table, || panic!("no need to count")), None, "only one is left");
    assert_eq!(r.arm(&table), 5);
    assert!(w.push(&exit(6, How::Exited(0)), 0) && w.wake_needed());
    assert_eq!(r.woken(&table, || panic!("no need to count")), Some(6), "all have come: exact again");
    // One on its way over an arming needs no counting either.
    r.arm(&table);
    assert!(w.push(&exit(7, How::Exited(0)), 0) && w.wake_needed());
    r.arm(&table);
    assert_eq!(r.woken(&table, || panic!("no need to count")), None);
    assert!(w.push(&exit(8, How::Exited(0)), 0) && w.wake_needed());
    assert_eq!(r.woken(&table, || panic!("no need to count")), Some(8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a plain queue: the same exits in the same order, none lost at the full mark.
    #[test]
    fn ring_is_a_queue(steps in prop::collection::vec((any::<bool>(), 1u32..400), 1..60)) {
        let (_tmp, table) = table();
        let w = table.ring_writer();
        let mut model = VecDeque::new();
        let mut next = 1;
        for (push, n) in steps {
            for _ in 0..n * 16 {
                if push {
                    let how = match next % 3 { 0 => How::Exited(next as i32 % 256), 1 => How::Killed(9), _ => How::Dumped(11) };
                    let pushed = w.push(&exit(next, how), next.into());
                    prop_assert_eq!(pushed, model.len() < RING as usize);
                    if pushed { model.push_back((next, how)); next += 1; }
                } else if let Some((pid, how)) = model.pop_front() {
                    let got = table.exit(table.ring_tail());
                    prop_assert_eq!((got.pid, got.how, got.inode, got.at), (pid, how, u64::from(pid) + 7, u64::from(pid)));
                    let _ = table.ring_advance(table.ring_tail() + 1);
                }
            }
        }
        prop_assert_eq!(table.ring_head() - table.ring_tail(), model.len() as u64);
    }

    /// No content of a table file makes a reader panic.
    #[test]
    fn damaged_slots_are_read_without_panic(words in prop::collection::vec(any::<u64>(), slot::SLOT_WORDS)) {
        let _ = record::read(0, |i| words[i % slot::SLOT_WORDS]);
    }
}
