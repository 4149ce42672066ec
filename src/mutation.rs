//! For the tests of everything that reads bytes: a bounded random walk from a corpus, good and nasty. Nothing may panic, hang,
//! or ask for memory that the bytes do not account for.
//!
//! A walk is the same each time; `PREFORKD_SEED=N` takes another one. A failure prints its seed and the bytes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use crate::sys::allocation::largest;

/// What a reader may ask for at once: so many bytes, and so many for each byte that it reads.
const MEMORY: (usize, usize) = (2 << 20, 64);

/// Pieces that readers have opinions about.
const TOKENS: [&[u8]; 33] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"-0",
    b"1e999",
    b"99999999999999999999999",
    b"4294967295",
    b"\"id\":1,",
    b"\"params\":null,",
    b"[[[[[[[[[[[[[[[[",
    b" ",
    b"{\"a\":",
    b" HTTP/1.1",
    b"\xe2\x80\xa8",
    b"\n- &a ",
    b"*a",
    b"<<: ",
    // Numbers as bincode writes them: 2, 4 and 8 bytes follow.
    b"\xfb\xff\xff",
    b"\xfc\xff\xff\xff\x7f",
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\x7f",
];

fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..16)).min(bytes.len());
    match rng.random_range(0..10) {
        0 if at < bytes.len() => bytes[at] = rng.random(),
        1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => bytes.truncate(at),
        5 => {
            let from = rng.random_range(0..=other.len());
            bytes.splice(at..end, other[from..].iter().copied());
        }
        6 | 7 => {
            let lie = lie(rng, bytes.len() as u64).to_le_bytes();
            let width = [1, 2, 4, 8][rng.random_range(0..4)];
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, lie[..width].iter().copied());
        }
        _ => {
            let token = TOKENS[rng.random_range(0..TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
    }
}

/// What a length, a count or an index may say that is not true.
fn lie(rng: &mut StdRng, len: u64) -> u64 {
    let lies =
        [0, 1, 127, 128, 250, len.wrapping_sub(1), len, len + 1, 1 << 16, 1 << 31, 1 << 32, 1 << 40, 1 << 63, u64::MAX];
    lies[rng.random_range(0..lies.len())]
}

/// Says which bytes it was if a check panics.
struct Witness<'a>(u64, &'a [u8]);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = &self.1[..self.1.len().min(2000)];
            eprintln!("PREFORKD_SEED={}; {} bytes: {}", self.0, self.1.len(), shown.escape_ascii());
        }
    }
}

/// Has `check` read everything in the corpus, and as many bytes as there are rounds that have become of it.
pub fn walk(rounds: usize, corpus: &[Vec<u8>], mut check: impl FnMut(&mut StdRng, &[u8])) {
    let seed = std::env::var("PREFORKD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    println!("PREFORKD_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut step = |rng: &mut StdRng, bytes: &[u8]| {
        let _witness = Witness(seed, bytes);
        let asked_for = largest(|| check(rng, bytes));
        assert!(asked_for <= MEMORY.0 + MEMORY.1 * bytes.len(), "{asked_for} bytes of memory at once");
    };
    for bytes in corpus {
        step(&mut rng, bytes);
    }
    for _ in 0..rounds {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        for _ in 0..rng.random_range(1..5) {
            let other = &corpus[rng.random_range(0..corpus.len())];
            mutate(&mut rng, &mut bytes, other);
        }
        step(&mut rng, &bytes);
    }
}
