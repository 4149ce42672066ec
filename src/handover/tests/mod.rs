mod damaged;
mod released;

use std::os::fd::AsFd;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn state() -> State {
    State {
        daemon: Daemon {
            version: "0.1.0".into(),
            began_at: 1,
            askers: 7,
            asker: Some(Asker { client: 0, form: Form::Rpc("\"a\"".into(), Some((1, 2))) }),
            unclaimed: vec![Exit { seq: 1, pid: 2, inode: 3, how: (1, 0), usage: [1, 2, 3, 4, 5, 6, 7], at: 9 }],
            claimed: vec![4],
            ..Daemon::default()
        },
        clients: vec![Client {
            unread: b"{\"jsonrpc\"".to_vec(),
            unwritten: vec![b'x'; 70_000],
            tickets: (3, vec![None, Some(b"OK".to_vec())]),
            batches: vec![(1, 1, vec![vec![], b"1".to_vec()])],
            subscription: Some(Subscription { events: Some((None, Some(vec!["all".into()]))), logs: None, lost: 2 }),
            ..Client::default()
        }],
        pools: vec![Pool { name: "p".into(), idle: vec![Idle::default()], ..Pool::default() }],
        runs: vec![Run { request: Some("{}".into()), ..Run::default() }],
        waiting: Waiting { wrong_tokens: vec![Asker { client: 0, form: Form::Ticket(1) }], ..Waiting::default() },
        output: vec![Output {
            name: "log/a/0/out".into(),
            held: b"e".to_vec(),
            mid_line: false,
            lost: 0,
            recent: Vec::new(),
            watched: Vec::new(),
        }],
        trees: vec![Tree { nonce: 1, leader: Some(0), members: vec![], cgroup: Some("w".into()), grace: 5 }],
    }
}

#[test]
fn there_and_back_and_every_changed_byte_is_found_out() {
    let bytes = encode(&state()).unwrap();
    assert_eq!(decode(&bytes).unwrap(), state());
    for at in (0..bytes.len()).step_by(if bytes.len() > 10_000 { 97 } else { 1 }) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(decode(&bad).is_err(), "byte {at}");
    }
    for cut in [0, 7, 23, 24, bytes.len() - 1] {
        assert!(decode(&bytes[..cut]).is_err());
    }
}

#[test]
fn a_section_that_is_not_known_is_skipped_and_one_that_is_missing_is_empty() {
    let mut bytes = vec![0; 24];
    envelope::put(&mut bytes, 4242, &"of a later version").unwrap();
    envelope::put(&mut bytes, 1, &state().daemon).unwrap();
    envelope::seal(&mut bytes);
    let read = decode(&bytes).unwrap();
    assert_eq!(read.daemon, state().daemon);
    assert!(read.clients.is_empty() && read.runs.is_empty());
}

#[test]
fn a_section_of_a_later_version_is_refused_by_name() {
    let mut bytes = encode(&State::default()).unwrap();
    bytes[28..32].copy_from_slice(&9u32.to_le_bytes());
    envelope::seal(&mut bytes);
    assert_eq!(decode(&bytes), Err(DecodeError::Section { tag: 1, found: 9, known: 1 }));
}

#[test]
fn the_channel_carries_any_number_of_descriptors() {
    for count in [0, 1, 5, 6, 333] {
        let (old, new) = Channel::pair(Duration::from_secs(5)).unwrap();
        let new = Channel::inherited(new);
        assert_eq!(old.heard().unwrap(), Said::Nothing);
        let files: Vec<_> = (0..count).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let taking = std::thread::spawn(move || {
            new.say(&Said::Prepared).unwrap();
            let (state, fds) = new.take().unwrap();
            new.say(&Said::Taken).unwrap();
            (state, fds.len())
        });
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        old.give(&encode(&state()).unwrap(), &fds).unwrap();
        assert_eq!(taking.join().unwrap(), (state(), count));
        assert_eq!(old.heard().unwrap(), Said::Prepared);
        assert_eq!(old.heard().unwrap(), Said::Taken);
        assert_eq!(old.heard().unwrap(), Said::Gone);
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_refused_and_not_believed(bytes in proptest::collection::vec(any::<u8>(), 0..300), sealed: bool) {
        let mut bytes = bytes;
        if sealed && bytes.len() >= 24 {
            envelope::seal(&mut bytes);
        }
        let _ = decode(&bytes); // a Result whatever it is: no panic, no huge allocation
    }
}
