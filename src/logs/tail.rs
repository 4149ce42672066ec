//! The last lines of a log, read from its end.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memrchr;

use super::{PIECE, chain};
use crate::sys::logfile;
use crate::sys::users::{Identity, acting_as};

/// How much is read at a time.
const BLOCK: u64 = 64 * 1024;
/// How much is read at most, for all lines together.
const MOST: u64 = 8 << 20;

/// The last `count` lines of the log at `path`, oldest first, from its rotated files too as far as they are not
/// compressed. Of a longer line only its first [`PIECE`] bytes. A file that is not there has none.
pub fn last_lines(path: &Path, identity: Option<&Identity>, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let read = || {
        let (mut lines, mut budget) = (VecDeque::new(), MOST);
        for number in 0..u32::MAX {
            let rotated = chain::rotated(path, number);
            let path = if number == 0 { path } else { &rotated };
            match logfile::open_for_reading(path) {
                Ok(file) => read_back(&file, count, &mut budget, &mut lines)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound && number > 0 => break,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display()))),
            }
            if lines.len() >= count || budget == 0 {
                break;
            }
        }
        Ok(lines.into())
    };
    match identity {
        None => read(),
        Some(identity) => acting_as(identity, read),
    }
}

/// Puts the last lines of `file` before `lines`, until there are `count`.
fn read_back(file: &File, count: usize, budget: &mut u64, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
    let meta = file.metadata()?;
    if !meta.is_file() || count == 0 {
        return Ok(());
    }
    let mut from = meta.len();
    // What has been read and not told: the end of a line whose beginning is before it.
    let mut open: Vec<u8> = Vec::new();
    let mut at_end = true;
    while from > 0 && *budget > 0 {
        let size = BLOCK.min(from).min(*budget);
        from -= size;
        *budget -= size;
        let mut block = vec![0; size as usize];
        file.read_exact_at(&mut block, from)?;
        if std::mem::take(&mut at_end) && block.last() == Some(&b'\n') {
            block.pop();
        }
        let mut to = block.len();
        while let Some(at) = memrchr(b'\n', &block[..to]) {
            put(lines, &block[at + 1..to], &mut open);
            if lines.len() >= count {
                return Ok(());
            }
            to = at;
        }
        block.truncate(to);
        block.append(&mut open);
        // Only the beginning of a line is told, and that is still to come.
        block.truncate(PIECE);
        open = block;
    }
    if from == 0 && meta.len() > 0 {
        put(lines, &[], &mut open);
    }
    Ok(())
}

fn put(lines: &mut VecDeque<Vec<u8>>, beginning: &[u8], open: &mut Vec<u8>) {
    let mut line = beginning.to_vec();
    line.append(open);
    line.truncate(PIECE);
    lines.push_front(line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn texts(path: &Path, count: usize) -> Vec<String> {
        let lines = last_lines(path, None, count).unwrap();
        lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn the_last_ones_in_order_across_rotations_and_blocks() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("l");
        assert!(texts(&path, 3).is_empty());
        let all: Vec<String> = (0..30_000).map(|n| format!("line {n}")).collect();
        let file = |lines: &[String]| lines.join("\n") + "\n";
        fs::write(&path, file(&all[20_000..])).unwrap();
        fs::write(chain::rotated(&path, 1), file(&all[10_000..20_000])).unwrap();
        fs::write(chain::rotated(&path, 2), file(&all[..10_000])).unwrap();
        for count in [0, 1, 10, 9_999, 10_000, 10_001, 25_000, 30_000, 40_000] {
            assert!(texts(&path, count) == all[30_000 - count.min(30_000)..], "{count}");
        }
        fs::write(&path, "a\n\nopen").unwrap();
        assert_eq!(texts(&path, 4), ["line 19999", "a", "", "open"]);
    }

    #[test]
    fn of_a_very_long_line_its_beginning_is_told() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("l");
        fs::write(&path, format!("first\nbegin{}\nlast\n", "x".repeat(1_000_000))).unwrap();
        let lines = texts(&path, 3);
        assert_eq!((&*lines[0], &*lines[2], lines[1].len()), ("first", "last", PIECE));
        assert!(lines[1].starts_with("beginxx"));
    }

    #[test]
    fn a_link_is_not_read() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tmp.path().join("l")).unwrap();
        assert!(last_lines(&tmp.path().join("l"), None, 5).is_err());
    }
}
