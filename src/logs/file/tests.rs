use super::*;
use crate::logs::Files;
use crate::sys::memfd;
use crate::sys::stage::Stage;
use std::fs;
use std::io::Read;

fn config(path: &Path) -> FileConfig {
    FileConfig {
        path: path.into(),
        identity: None,
        max_size: None,
        max_age: None,
        max_files: 3,
        compress: false,
        json: false,
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn idle(files: &Files) {
    for _ in 0..1000 {
        if files.is_idle() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("still compressing");
}

#[test]
fn rotated_by_size_between_lines_with_none_lost() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    let mut files = Files::default();
    let file = files.open(FileConfig { max_size: Some(1000), max_files: 1000, ..config(&path) }).unwrap();
    let all: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    for chunk in all.as_bytes().chunks(777) {
        assert_eq!(file.borrow_mut().write(chunk, true, Part::default()), 0);
    }
    let mut seen = String::new();
    for number in (1..1000).rev() {
        if let Ok(text) = fs::read_to_string(chain::rotated(&path, number)) {
            assert!(text.len() <= 1000 && text.ends_with('\n'), "{number}: {}", text.len());
            assert!(text.len() > 900 || number == 1, "{number}: {}", text.len());
            seen += &text;
        }
    }
    assert!(seen + &text(&path) == all);
}

#[test]
fn the_latest_stays_plain_and_the_others_are_compressed() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    fs::write(chain::rotated(&path, 1), "left 1\n").unwrap();
    fs::write(chain::rotated(&path, 2), "left 2\n").unwrap();
    let mut files = Files::default();
    let file = files.open(FileConfig { max_size: Some(10), max_files: 5, compress: true, ..config(&path) }).unwrap();
    idle(&files);
    assert!(chain::compressed(&path, 2).exists() && !chain::rotated(&path, 2).exists(), "a former one's leftover");
    for n in 0..20 {
        file.borrow_mut().write(format!("a line {n}\n").as_bytes(), false, Part::default());
    }
    idle(&files);
    assert_eq!((text(&path), text(&chain::rotated(&path, 1))), ("a line 19\n".into(), "a line 18\n".into()));
    for (number, n) in [(2, 17), (3, 16), (4, 15), (5, 14)] {
        let mut plain = String::new();
        let packed = fs::File::open(chain::compressed(&path, number)).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, format!("a line {n}\n"));
    }
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 6);
    assert!(files.notices().is_empty());
}

#[test]
fn a_line_without_end_is_cut_at_last() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    let file = Files::default().open(FileConfig { max_size: Some(1000), ..config(&path) }).unwrap();
    for _ in 0..40 {
        file.borrow_mut().write(&[b'x'; 50_000], true, Part::default());
    }
    let first = fs::metadata(chain::rotated(&path, 1)).unwrap().len();
    assert!((OVERLONG..OVERLONG + 100_000).contains(&first), "{first}");
}

#[test]
fn rotated_by_age() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    let file =
        Files::default().open(FileConfig { max_age: Some(Duration::from_millis(300)), ..config(&path) }).unwrap();
    file.borrow_mut().write(b"young\n", false, Part::default());
    assert!(!chain::rotated(&path, 1).exists());
    std::thread::sleep(Duration::from_millis(400));
    file.borrow_mut().write(b"old\n", false, Part::default());
    assert_eq!((text(&chain::rotated(&path, 1)), text(&path)), ("young\n".into(), "old\n".into()));
}

#[test]
fn renamed_or_emptied_by_somebody_else() {
    let tmp = tempfile::tempdir().unwrap();
    let (path, aside) = (tmp.path().join("l"), tmp.path().join("aside"));
    let mut files = Files::default();
    let file = files.open(FileConfig { max_size: Some(100), ..config(&path) }).unwrap();
    file.borrow_mut().write(b"one\n", false, Part::default());
    fs::rename(&path, &aside).unwrap();
    file.borrow_mut().write(b"two\n", false, Part::default());
    assert!(files.reopen().is_empty());
    file.borrow_mut().write(b"three\n", false, Part::default());
    assert_eq!((text(&aside), text(&path)), ("one\ntwo\n".into(), "three\n".into()));
    file.borrow_mut().write(&[b'x'; 90], true, Part::default());
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    file.borrow_mut().write(b"\nfour\n", true, Part::default());
    assert_eq!(text(&path), "\nfour\n");
    assert!(!chain::rotated(&path, 1).exists());
    file.borrow_mut().flush().unwrap();
    file.borrow_mut().write(b"five\n", false, Part::default());
    assert_eq!(text(&path), "five\n");
}

#[test]
fn fault_11_a_full_disk_drops_counts_and_tells_once() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    let mut files = Files::default();
    let file = files.open(config(&path)).unwrap();
    file.borrow_mut().write(b"before\nopen", false, Part::default());
    // Every write to it fails with ENOSPC (full(4)).
    let real =
        std::mem::replace(&mut file.borrow_mut().file, fs::File::options().write(true).open("/dev/full").unwrap());
    for _ in 0..10 {
        assert_eq!(file.borrow_mut().write(&[b'x'; 100], true, Part::default()), 100);
    }
    let notices = files.notices();
    assert!(matches!(&notices[..], [Notice::Losing(p, why)] if *p == path && why.contains("No space")), "{notices:?}");
    file.borrow_mut().file = real;
    assert_eq!(file.borrow_mut().write(b"after\n", false, Part::default()), 0);
    assert_eq!(files.notices(), [Notice::Recovered(path.clone(), 1000)]);
    assert_eq!(text(&path), "before\nopen\npreforkd: 1000 bytes of output lost: no storage space\nafter\n");
}

#[test]
fn one_object_a_path_and_another_writer_begins_a_line() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    let mut files = Files::default();
    let (a, b) = (files.open(config(&path)).unwrap(), files.open(config(&path)).unwrap());
    assert!(Rc::ptr_eq(&a, &b));
    a.borrow_mut().write(b"a begins", false, Part::default());
    b.borrow_mut().write(b"b\n", false, Part::default());
    a.borrow_mut().write(b" and ends\n", true, Part::default());
    assert_eq!(text(&path), "a begins\nb\n and ends\n");
    drop((a, b));
    assert!(!files.has(&path));
}

#[test]
fn a_rotation_that_fails_is_told_once_and_the_file_grows() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    fs::create_dir(chain::rotated(&path, 1)).unwrap();
    let mut files = Files::default();
    let file = files.open(FileConfig { max_size: Some(10), max_files: 1, ..config(&path) }).unwrap();
    for _ in 0..5 {
        assert_eq!(file.borrow_mut().write(b"12345678\n", false, Part::default()), 0);
    }
    assert_eq!(text(&path).len(), 45);
    let notices = files.notices();
    assert!(matches!(&notices[..], [Notice::NotRotated(p, _)] if *p == path), "{notices:?}");
}

#[test]
fn with_the_rights_of_another_user() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if crate::sys::process::effective_uid() != 0 {
        return crate::sys::skipped("with_the_rights_of_another_user", "needs root");
    }
    let nobody = crate::sys::users::resolve(Some("nobody"), None).unwrap();
    let tmp = tempfile::tempdir().unwrap();
    let (open, ours) = (tmp.path().join("open"), tmp.path().join("ours"));
    for (folder, mode) in [(&open, 0o777), (&ours, 0o700), (&tmp.path().to_owned(), 0o755)] {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut files = Files::default();
    let config = |path: &Path| FileConfig {
        identity: nobody.clone().map(Box::new),
        max_size: Some(10),
        compress: true,
        ..config(path)
    };
    let path = open.join("l");
    let file = files.open(config(&path)).unwrap();
    for n in 0..3 {
        file.borrow_mut().write(format!("a line {n}\n").as_bytes(), false, Part::default());
    }
    idle(&files);
    for path in [path.clone(), chain::rotated(&path, 1), chain::compressed(&path, 2)] {
        assert_eq!(fs::metadata(&path).unwrap().uid(), nobody.as_ref().unwrap().uid(), "{}", path.display());
    }
    assert_eq!(files.open(config(&ours.join("l"))).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    std::os::unix::fs::symlink(ours.join("target"), open.join("link")).unwrap();
    assert!(files.open(config(&open.join("link"))).is_err());
    assert!(!ours.join("target").exists());
}

#[test]
fn what_others_wrote_before_a_write_is_not_taken_for_it() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("l");
    let mut stage = Stage::open(memfd::growing("t").unwrap()).unwrap();
    let marks = stage.marks().clone();
    let open = || Files::marked(marks.clone()).open(config(&path)).unwrap();
    let file = open();
    file.borrow_mut().shared = true;
    let mut other = File::options().append(true).open(&path).unwrap();
    stage.begin_without(crate::sys::stage::Kind::Flush, "out", 0);
    for text in ["one\n", "and one more\n"] {
        other.write_all(b"the daemon says something\n").unwrap();
        let before = other.metadata().unwrap().len();
        file.borrow_mut().write(text.as_bytes(), true, Part::default());
        let write = stage.left().unwrap().write;
        assert_eq!((write.size, write.length), (before, text.len() as u64));
        assert_eq!(open().borrow().has_of(&write), write.length);
        // As it is for whoever comes after one that was killed before, or in the middle.
        for there in [0, 2] {
            other.set_len(before + there).unwrap();
            assert_eq!(open().borrow().has_of(&write), there);
        }
    }
}
