//! The files that a rotated log leaves: `NAME.1`, `NAME.2.gz`, … from the latest to the oldest.
//!
//! The latest stays as it is, so that its lines can be shown; those after it are compressed, if that is wanted. A file
//! that was to be compressed and is not, because the daemon ended meanwhile, is found and done by the next one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `NAME.N`
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    with(path, &format!(".{number}"))
}

/// `NAME.N.gz`
pub fn compressed(path: &Path, number: u32) -> PathBuf {
    with(path, &format!(".{number}.gz"))
}

/// `PATH` and this behind it.
pub fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Makes room for a new first one, and moves `path` there. The oldest go, so that `keep` are left. Files before a gap
/// move alone: what is behind it keeps its number.
pub fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        return fs::remove_file(path);
    }
    let mut last = 0;
    while last < u32::MAX && exists(path, last + 1) {
        last += 1;
        if last >= keep {
            remove(&rotated(path, last))?;
            remove(&compressed(path, last))?;
        }
    }
    for number in (1..=last.min(keep - 1)).rev() {
        rename(&rotated(path, number), &rotated(path, number + 1))?;
        rename(&compressed(path, number), &compressed(path, number + 1))?;
    }
    fs::rename(path, rotated(path, 1))
}

/// Those that are still to be compressed. Remains of a compression that did not come to its end are removed.
pub fn uncompressed(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for number in 1..u32::MAX {
        let (plain, done) = (rotated(path, number), compressed(path, number));
        let is_there = fs::symlink_metadata(&plain).is_ok();
        if !is_there && fs::symlink_metadata(&done).is_err() {
            break;
        }
        if !is_there || number == 1 {
            continue;
        }
        remove(&unfinished(&plain))?;
        if fs::symlink_metadata(&done).is_ok() {
            // It got its name when it was whole; only the removal was still to come.
            remove(&plain)?;
        } else {
            found.push(plain);
        }
    }
    Ok(found)
}

/// Where the compressed bytes of `plain` are gathered.
pub fn unfinished(plain: &Path) -> PathBuf {
    with(plain, ".gz.tmp")
}

fn exists(path: &Path, number: u32) -> bool {
    [rotated(path, number), compressed(path, number)].iter().any(|p| fs::symlink_metadata(p).is_ok())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap()))
            .collect();
        all.sort();
        all
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn each_moves_up_by_one_and_the_oldest_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("l");
        for n in 0..5 {
            fs::write(&path, n.to_string()).unwrap();
            rotate(&path, 3).unwrap();
            if n == 2 {
                fs::rename(rotated(&path, 2), compressed(&path, 2)).unwrap();
            }
        }
        assert_eq!(names(tmp.path()), pairs(&[("l.1", "4"), ("l.2", "3"), ("l.3", "2")]));
        fs::write(&path, "5").unwrap();
        rotate(&path, 1).unwrap();
        assert_eq!(names(tmp.path()), pairs(&[("l.1", "5")]));
        fs::write(&path, "6").unwrap();
        rotate(&path, 0).unwrap();
        assert_eq!(names(tmp.path()), pairs(&[("l.1", "5")]));
    }

    #[test]
    fn a_gap_is_filled_and_what_a_crash_left_is_found() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("l");
        for (name, text) in [("l", "now"), ("l.1", "a"), ("l.3.gz", "c")] {
            fs::write(tmp.path().join(name), text).unwrap();
        }
        rotate(&path, 5).unwrap();
        assert_eq!(names(tmp.path()), pairs(&[("l.1", "now"), ("l.2", "a"), ("l.3.gz", "c")]));
        for (name, text) in [("l.2.gz.tmp", "half"), ("l.3", "c plain")] {
            fs::write(tmp.path().join(name), text).unwrap();
        }
        assert_eq!(uncompressed(&path).unwrap(), [rotated(&path, 2)]);
        assert_eq!(names(tmp.path()), pairs(&[("l.1", "now"), ("l.2", "a"), ("l.3.gz", "c")]));
    }
}
