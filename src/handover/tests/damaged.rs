//! States and messages that are not what they should be: refused, and nothing that they say is believed.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::time::Duration;

use rand::RngExt;

use super::super::*;
use super::envelope::{put, seal};
use super::released::{of_0_1_0, sections};
use crate::mutation::walk;
use crate::sys::{memfd, seqpacket};

fn corpus() -> Vec<Vec<u8>> {
    [State::default(), super::state(), of_0_1_0()].iter().map(|state| encode(state).unwrap()).collect()
}

/// A Result whatever it is; what is a state can be handed on.
fn check(bytes: &[u8]) {
    if let Ok(state) = decode(bytes) {
        assert_eq!(decode(&encode(&state).unwrap()).unwrap(), state);
    }
}

#[test]
fn mutated_states_are_refused_or_read() {
    walk(400, &corpus(), |_, bytes| {
        check(bytes);
        let mut sealed = bytes.to_vec();
        if sealed.len() >= 24 {
            seal(&mut sealed);
            check(&sealed);
        }
    });
}

#[test]
fn mutated_sections_are_refused_or_read() {
    let states = corpus();
    let bodies: Vec<Vec<u8>> =
        states.iter().flat_map(|bytes| sections(bytes).into_iter().map(|at| bytes[at][16..].to_vec())).collect();
    walk(20_000, &bodies, |rng, body| {
        let mut bytes = vec![0; 24];
        put(&mut bytes, rng.random_range(1..8), &()).unwrap();
        bytes.extend_from_slice(body);
        bytes[32..40].copy_from_slice(&(body.len() as u64).to_le_bytes());
        seal(&mut bytes);
        check(&bytes);
    });
}

/// What counts most towards the limit for its size: numbers of a byte each.
#[test]
fn a_section_of_any_size_is_within_its_limit() {
    // The length of the list takes three or five bytes in place of one.
    for (body, more) in [(0x1_0000, 2), (0x1_0001, 2), (0x10_0000, 4), (0x10_0001, 4)] {
        let mut state = State::default();
        let others = encode(&state).unwrap()[24 + 8..].first_chunk().map(|c| u64::from_le_bytes(*c)).unwrap();
        state.daemon.claimed = vec![7; body - others as usize - more];
        let bytes = encode(&state).unwrap();
        assert_eq!(sections(&bytes)[0].len(), body + 16);
        assert_eq!(decode(&bytes).unwrap(), state);
    }
}

#[test]
fn whatever_the_other_master_sends_is_taken_refused_or_the_end() {
    let state = encode(&of_0_1_0()).unwrap();
    let messages: [&[u8]; 8] =
        [b"S\0\0\0\0", b"S\x02\0\0\0", b"S\xff\xff\x3f\0", b"F", b"P", b"T", b"Xno such luck", b""];
    walk(400, &messages.map(<[u8]>::to_vec), |rng, message| {
        let (old, new) = Channel::pair(Duration::from_secs(5)).unwrap();
        let new = Channel::inherited(new);
        let file = memfd::sealed("t", &state[..rng.random_range(0..=state.len())]).unwrap();
        for _ in 0..rng.random_range(1..4) {
            let fds = vec![file.as_fd(); rng.random_range(0..=seqpacket::MAX_FDS)];
            let other = messages[rng.random_range(0..messages.len())];
            for bytes in [message, other] {
                seqpacket::send(old.as_fd(), &[IoSlice::new(bytes)], &fds, false).unwrap();
                seqpacket::send(new.as_fd(), &[IoSlice::new(bytes)], &fds, false).unwrap();
            }
        }
        for _ in 0..8 {
            // Nothing, or a word, or a reason: it never waits, and never fails for what it hears.
            old.heard().unwrap();
        }
        drop(old);
        if let Ok((state, fds)) = new.take() {
            assert!(state == State::default() || state == of_0_1_0(), "{} descriptors", fds.len());
        }
    });
}
