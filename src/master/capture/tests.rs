use std::io::Write;

use super::*;
use crate::sys::memfd;

fn numbers(upto: u32) -> String {
    (1..=upto).map(|n| format!("{n}\n")).collect()
}

#[test]
fn what_a_small_scratch_pipe_does_not_take_is_read_and_there_for_the_next() {
    let mut scratch = Scratch::sized(8192).unwrap();
    let mut stage = Stage::open(memfd::growing("stage").unwrap()).unwrap();
    let (mut capture, mut writer) = Capture::new(1, "out").unwrap();
    assert_eq!(capture.much * 2, pipe::capacity(capture.as_fd()).unwrap());
    assert_eq!(capture.text(&mut scratch).unwrap(), (String::new(), true));
    let all = numbers(10_000);
    writer.write_all(&all.as_bytes()[..5000]).unwrap();
    assert_eq!(capture.text(&mut scratch).unwrap(), (all[..5000].to_owned(), true));
    writer.write_all(&all.as_bytes()[5000..]).unwrap();
    let (first, whole) = capture.text(&mut scratch).unwrap();
    assert!(!whole && all.starts_with(&first) && first.len() < all.len());
    assert_eq!(
        capture.drain(&mut stage).unwrap_err().kind(),
        io::ErrorKind::NotFound,
        "nothing is taken without a tail"
    );
    assert_eq!(pipe::unread(capture.as_fd()).unwrap(), all.len());
    capture.tail = Some(Tail::new(KEPT).unwrap());
    capture.drain(&mut stage).unwrap();
    writer.write_all(b"end\n").unwrap();
    let expected = (all + "end\n", true);
    assert_eq!(capture.text(&mut scratch).unwrap(), expected);
    let [pipe, tail] = [capture.as_fd(), capture.tail().unwrap().as_fd()].map(|fd| fd.try_clone_to_owned().unwrap());
    let next = Capture::adopt(1, "out", pipe, Some(tail)).unwrap();
    assert_eq!(next.text(&mut scratch).unwrap(), expected);
}
