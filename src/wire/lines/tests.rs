use super::*;
use proptest::prelude::*;

type Lines = Vec<Result<Vec<u8>, LineTooLong>>;

/// All lines of `bytes` up to the first that is too long.
fn model(bytes: &[u8], max_line: usize) -> Lines {
    let mut lines = Vec::new();
    let mut pieces: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let unfinished = pieces.pop().unwrap_or_default();
    let content = |piece: &[u8]| piece.strip_suffix(b"\r").unwrap_or(piece).to_vec();
    for piece in pieces {
        if content(piece).len() > max_line {
            lines.push(Err(LineTooLong { max_line }));
            return lines;
        }
        lines.push(Ok(content(piece)));
    }
    if content(unfinished).len() > max_line {
        lines.push(Err(LineTooLong { max_line }));
    }
    lines
}

fn drain(buffer: &mut LineBuffer, lines: &mut Lines) {
    while let Some(line) = buffer.next_line() {
        let failed = line.is_err();
        lines.push(line.map(<[u8]>::to_vec));
        if failed {
            return;
        }
    }
}

fn by_chunks(bytes: &[u8], max_line: usize, sizes: &[usize], drain_every: usize) -> (Lines, LineBuffer) {
    let mut buffer = LineBuffer::new(max_line);
    let mut lines = Vec::new();
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    let mut round = 0;
    while !rest.is_empty() && !matches!(lines.last(), Some(Err(_))) {
        let size = sizes.next().copied().unwrap_or(1).max(1).min(rest.len());
        buffer.push(&rest[..size]);
        rest = &rest[size..];
        round += 1;
        if round % drain_every == 0 || rest.is_empty() {
            drain(&mut buffer, &mut lines);
            assert!(buffer.partial() <= max_line + 1, "nothing but one unfinished line is held");
        }
    }
    (lines, buffer)
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        4 => prop::collection::vec(any::<u8>(), 0..12),
        1 => (0usize..40_000).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_models_lines(
        bytes in stream(),
        max_line in prop_oneof![0usize..16, 30_000usize..40_000],
        sizes in prop::collection::vec(1usize..20_000, 1..8),
        drain_every in 1usize..4,
    ) {
        let expected = model(&bytes, max_line);
        let (lines, _) = by_chunks(&bytes, max_line, &sizes, drain_every);
        prop_assert_eq!(&lines, &expected);
    }

    #[test]
    fn short_chunks_too(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..64), max_line in 0usize..6) {
        let expected = model(&bytes, max_line);
        for size in 1..4 {
            prop_assert_eq!(&by_chunks(&bytes, max_line, &[size], 1).0, &expected);
        }
    }
}

#[test]
fn empty_lines_and_one_carriage_return() {
    let (lines, _) = by_chunks(b"\n\r\na\r\r\n\rb\nc", 8, &[3], 1);
    let expected: Vec<&[u8]> = vec![b"", b"", b"a\r", b"\rb"];
    assert_eq!(lines, expected.into_iter().map(|line| Ok(line.to_vec())).collect::<Lines>());
}

#[test]
fn the_limit_is_exact_and_too_long_is_for_good() {
    let mut buffer = LineBuffer::new(4);
    buffer.push(b"abcd\r\nabcd\nabcde\nok\n");
    assert_eq!(buffer.next_line(), Some(Ok(&b"abcd"[..])));
    assert_eq!(buffer.next_line(), Some(Ok(&b"abcd"[..])));
    for _ in 0..3 {
        assert_eq!(buffer.next_line(), Some(Err(LineTooLong { max_line: 4 })));
        buffer.push(b"ok\n");
        assert_eq!(buffer.partial(), 0, "what comes after is dropped");
    }
}

#[test]
fn a_line_without_an_end_is_noticed_before_it_fills_memory() {
    let mut buffer = LineBuffer::new(100_000);
    let mut fed = 0;
    while buffer.next_line().is_none() {
        buffer.push(&[b'x'; 10_000]);
        fed += 10_000;
        assert!(fed <= 110_000);
    }
    assert_eq!(buffer.next_line(), Some(Err(LineTooLong { max_line: 100_000 })));
}

#[test]
fn the_limit_may_change_between_lines() {
    let mut buffer = LineBuffer::new(2);
    buffer.push(b"ab\nabcdef\n");
    assert_eq!(buffer.next_line(), Some(Ok(&b"ab"[..])));
    buffer.set_max(6);
    assert_eq!(buffer.next_line(), Some(Ok(&b"abcdef"[..])));
    assert_eq!(buffer.next_line(), None);
}

#[test]
fn an_empty_buffer_owns_no_memory() {
    let mut buffer = LineBuffer::new(1 << 20);
    buffer.push(b"ping\n");
    assert_eq!(buffer.next_line(), Some(Ok(&b"ping"[..])));
    assert_eq!(buffer.next_line(), None);
    assert_eq!(buffer.buffer.capacity(), 0);
    buffer.push(b"half");
    assert_eq!(buffer.next_line(), None);
    assert_eq!(buffer.partial(), 4);
}

#[test]
fn one_byte_at_a_time_is_not_quadratic() {
    let mut buffer = LineBuffer::new(1 << 20);
    let mut moved = 0;
    for _ in 0..1 << 20 {
        let before = buffer.buffer.as_ptr();
        buffer.push(b"x");
        moved += usize::from(before != buffer.buffer.as_ptr());
        assert_eq!(buffer.next_line(), None);
        assert_eq!(buffer.searched, buffer.buffer.len(), "no byte is searched twice");
    }
    assert!(moved < 24, "moved {moved} times");
    assert!(buffer.buffer.capacity() <= 4 << 20);
}

#[test]
fn reading_on_with_lines_untaken_is_not_quadratic() {
    let mut buffer = LineBuffer::new(64);
    for _ in 0..1 << 16 {
        buffer.push(b"0123456789abcde\n");
    }
    let mut moved = 0;
    for _ in 0..1 << 16 {
        assert_eq!(buffer.next_line(), Some(Ok(&b"0123456789abcde"[..])));
        let before = buffer.start;
        buffer.push(b"0123456789abcde\n");
        moved += usize::from(buffer.start < before);
    }
    assert!(moved < 8, "moved {moved} times");
}
