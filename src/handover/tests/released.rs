//! The state as a released version wrote it: it has to be readable for ever. tests/data/released/VERSION/state.

use super::super::*;

/// What is in the file of 0.1.0: no field is empty, so that none can come to mean something else unseen.
pub(super) fn of_0_1_0() -> State {
    let rpc = || Asker { client: 1, form: Form::Rpc("\"a\"".into(), Some((2, 3))) };
    let ticket = || Asker { client: 2, form: Form::Ticket(4) };
    let member = |pid| Member { pid, group: pid + 1, handle: pid + 2 };
    let waiter = |asker| Waiter {
        asker,
        number: 31,
        for_end: true,
        duplicate: true,
        asked_to_run: true,
        by: Some(32_000_000_000),
    };
    State {
        daemon: Daemon {
            version: "0.1.0".into(),
            began_at: 1_000,
            frozen_at: 2_000,
            asked_at: 3_000,
            askers: 4,
            counts: (5, 6),
            asker: Some(rpc()),
            unclaimed: vec![Exit { seq: 1, pid: 2, inode: 3, how: (2, 11), usage: [1, 2, 3, 4, 5, 6, 7], at: 8 }],
            claimed: vec![9, u64::MAX],
        },
        clients: vec![Client {
            fd: 1,
            tcp: true,
            role: 2,
            flags: flags::FIRST | flags::EOF | flags::GONE | flags::CLOSING | flags::LAST | flags::PENALTY,
            unread: b"{\"jsonrpc\"".to_vec(),
            unwritten: b"{\"result\":1}\n".to_vec(),
            pending: 300,
            request_by: Some(1 << 40),
            answer_by: Some(70_000),
            wrong_tokens: 2,
            tickets: (3, vec![Some(b"OK".to_vec()), Some(b"x".to_vec())]),
            batches: vec![(5, 1, vec![b"1".to_vec()])],
            next_batch: 6,
            subscription: Some(Subscription {
                events: Some((Some(vec!["run".into()]), Some(vec!["all".into()]))),
                logs: Some((Some(vec!["web".into()]), 2)),
                lost: 7,
            }),
        }],
        pools: vec![Pool {
            name: "billing".into(),
            current: Some(3),
            last_number: 4,
            error: Some("the preload has failed".into()),
            down: true,
            failures: 2,
            totals: (100, 7),
            untold: true,
            counters: (8, 9),
            idle: vec![Idle { generation: 3, number: 10, nonce: 11, order: (12, 13), carried: true, channel: 14 }],
            generations: vec![Generation {
                number: 3,
                their_end: 15,
                zygote: Some((16, 17)),
                ready: Some("{\"runtime\":\"PHP 8.2.29\",\"via\":\"ffi\",\"warnings\":[]}".into()),
                started_at: 18,
                preload_by: Some(19),
                preload_ms: Some(20),
                orders: Some((21, 22)),
                retired: true,
                silent: true,
            }],
        }],
        runs: vec![Run {
            slot: 23,
            request: Some("{\"entry\":\"e\"}".into()),
            told: true,
            recovered: true,
            asked_at: 24,
            order: (25, 26),
            ordered: (27, 28),
            carried: true,
            early_signal: Some((15, Some(10_000_000_000))),
            ending: true,
            tree: vec![member(29)],
            error: Some("{\"class\":\"E\",\"message\":\"m\"}".into()),
            waiters: vec![waiter(rpc()), waiter(ticket())],
        }],
        waiting: Waiting {
            reloads: vec![("billing".into(), 4, Asker { client: 3, form: Form::Silent })],
            workers: vec![WorkersAsked {
                asker: rpc(),
                ids: vec![1, 2],
                missing: vec![2],
                until: 1,
                gone: vec!["{\"id\":3}".into()],
                answer: Some("{\"saved\":true}".into()),
            }],
            wrong_tokens: vec![ticket()],
        },
        output: vec![Output {
            name: "worker/web/1/out".into(),
            held: b"begun".to_vec(),
            mid_line: true,
            lost: 34,
            recent: b"line\n".to_vec(),
            watched: b"be".to_vec(),
        }],
        trees: vec![Tree {
            nonce: 35,
            leader: Some(36),
            members: vec![member(37)],
            cgroup: Some("run-38".into()),
            grace: 39,
        }],
    }
}

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released/0.1.0/state")
}

#[test]
fn the_state_of_0_1_0_is_read_for_ever() {
    let bytes = std::fs::read(path()).unwrap();
    assert_eq!(decode(&bytes).unwrap(), of_0_1_0());
}

#[test]
fn with_a_section_of_a_later_version_it_is_read_all_the_same() {
    let mut bytes = std::fs::read(path()).unwrap();
    super::envelope::put(&mut bytes, 4242, &("of a later version", vec![7u8; 300])).unwrap();
    super::envelope::seal(&mut bytes);
    assert_eq!(decode(&bytes).unwrap(), of_0_1_0());
}

/// The places of the sections in the file.
pub(super) fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap()) as usize;
        found.push(at..at + 16 + length);
        at += 16 + length;
    }
    found
}

#[test]
fn without_any_one_section_the_others_are_read_and_of_a_later_version_any_is_refused_by_name() {
    let bytes = std::fs::read(path()).unwrap();
    let sections = sections(&bytes);
    assert_eq!(sections.len(), 7);
    for (section, tag) in sections.into_iter().zip(1..) {
        let mut later = bytes.clone();
        later[section.start + 4] = 2;
        super::envelope::seal(&mut later);
        assert_eq!(decode(&later), Err(DecodeError::Section { tag, found: 2, known: 1 }));
        let mut less = bytes.clone();
        less.drain(section);
        super::envelope::seal(&mut less);
        let mut expected = of_0_1_0();
        match tag {
            1 => expected.daemon = Daemon::default(),
            2 => expected.clients.clear(),
            3 => expected.pools.clear(),
            4 => expected.runs.clear(),
            5 => expected.waiting = Waiting::default(),
            6 => expected.output.clear(),
            _ => expected.trees.clear(),
        }
        assert_eq!(decode(&less).unwrap(), expected, "section {tag}");
    }
}

#[test]
#[ignore = "writes the state of this version; once a release"]
fn write_the_state_of_this_version() {
    let released = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released");
    let folder = released.join(env!("CARGO_PKG_VERSION"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("state"), encode(&of_0_1_0()).unwrap()).unwrap();
}
