use super::*;

struct Folder(tempfile::TempDir, Watcher);

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str) {
        fs::write(self.path(name), "x").unwrap();
    }

    /// What of owner 1 has changed, by name.
    fn changed(&mut self) -> Vec<String> {
        let root = self.0.path().to_owned();
        let changes = self.1.read(&|_, path| !path.ends_with("skipped")).unwrap();
        let mut names: Vec<String> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Path(1, path) => Some(path.strip_prefix(&root).unwrap().display().to_string()),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir_all(dir.path().join("skipped")).unwrap();
    fs::write(dir.path().join("one"), "").unwrap();
    Folder(dir, Watcher::new().unwrap())
}

#[test]
fn changes_in_all_depths_and_in_folders_that_come_and_go() {
    let mut f = folder();
    let root = f.0.path().to_owned();
    f.1.add(1, &root, &|_, path| !path.ends_with("skipped")).unwrap();
    assert!(f.changed().is_empty());
    ["one", "a/two", "a/b/three", "skipped/four"].iter().for_each(|name| f.write(name));
    assert_eq!(f.changed(), ["a/b/three", "a/two", "one"]);
    fs::create_dir_all(f.path("new/deep")).unwrap();
    f.write("new/deep/five");
    assert_eq!(f.changed(), ["new/deep/five"], "also what was there before the folder was watched");
    f.write("new/deep/six");
    assert_eq!(f.changed(), ["new/deep/six"]);
    fs::rename(f.path("new"), f.path("moved")).unwrap();
    assert_eq!(f.changed(), ["moved/deep/five", "moved/deep/six", "new"]);
    f.write("moved/deep/six");
    assert_eq!(f.changed(), ["moved/deep/six"], "by its new name");
    fs::remove_dir_all(f.path("moved")).unwrap();
    assert!(f.changed().contains(&"moved".to_owned()));
    fs::remove_file(f.path("one")).unwrap();
    std::os::unix::fs::symlink("a", f.path("link")).unwrap();
    assert_eq!(f.changed(), ["link", "one"]);
    fs::create_dir(f.path("empty")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(f.path("socket")).unwrap();
    let _open = fs::File::create(f.path("open")).unwrap();
    assert!(f.changed().is_empty(), "nothing that counts");
    f.1.remove(1);
    f.write("a/two");
    assert!(f.changed().is_empty() && f.1.places.is_empty());
}

#[test]
fn a_file_alone_also_when_an_editor_replaces_it_and_two_owners() {
    let mut f = folder();
    let root = f.0.path().to_owned();
    f.1.add(1, &root.join("one"), &|_, _| true).unwrap();
    f.1.add(2, &root, &|_, _| true).unwrap();
    f.write("other");
    assert!(f.changed().is_empty());
    f.write("temporary");
    fs::rename(f.path("temporary"), f.path("one")).unwrap();
    assert_eq!(f.changed(), ["one"]);
    f.1.remove(2);
    f.write("one");
    assert_eq!(f.changed(), ["one"]);
    assert!(f.1.add(1, &root.join("none"), &|_, _| true).unwrap_err().to_string().contains("none"));
}
