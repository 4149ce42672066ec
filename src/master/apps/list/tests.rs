use super::*;

fn wait_for(list: &List) {
    for _ in 0..1000 {
        if list.tried() == list.version() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("not saved within 5 s");
}

#[test]
fn a_damaged_list_is_kept_aside_and_the_one_before_used() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("apps.json");
    let mut list = List::new(path.clone()).unwrap();
    assert!(matches!(list.read(), (None, None)));
    for next_id in [7, 8] {
        list.change();
        list.write(&Saved { version: VERSION, next_id, ..Saved::default() }).unwrap();
        wait_for(&list);
    }
    assert_eq!(list.read().0.unwrap().next_id, 8);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (saved, why) = list.read();
    assert_eq!(saved.unwrap().next_id, 7);
    assert!(why.unwrap().contains("apps.json.damaged"));
    assert_eq!(fs::read(path.with_extension("json.damaged")).unwrap(), &bytes[..bytes.len() / 2]);
}

#[test]
fn a_list_of_before_it_was_known_whose_an_app_is_is_read() {
    let text = r#"{"version": 1, "next_id": 3, "environments": [{}], "pools": [], "workers": [],
                       "apps": [{"app": {"name": "web"}, "env": 0}]}"#;
    let saved: Saved = serde_json::from_str(text).unwrap();
    assert!(!saved.apps[0].declared, "it stays, for it may have come by `start`");
}

#[test]
fn a_list_that_cannot_be_written_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    let mut list = List::new(tmp.path().join("gone/apps.json")).unwrap();
    list.change();
    list.write(&Saved::default()).unwrap();
    wait_for(&list);
    assert!(list.failure().unwrap().contains("No such file"));
}

#[test]
fn a_list_with_an_id_that_leaves_none_for_the_next_is_damaged() {
    let tmp = tempfile::tempdir().unwrap();
    let list = List::new(tmp.path().join("apps.json")).unwrap();
    let worker = |id| SavedWorker { id, app: "a".into(), instance: 0, added_at: 0, wanted: true };
    for (next_id, id) in [(u32::MAX, 0), (0, u32::MAX), (MOST_ID + 1, 0)] {
        let saved = Saved { version: VERSION, next_id, workers: vec![worker(id)], ..Saved::default() };
        fs::write(&list.path, serde_json::to_vec(&saved).unwrap()).unwrap();
        let (read, why) = list.read();
        assert!(read.is_none() && why.unwrap().contains("ids of workers"));
    }
}

#[test]
fn a_mutated_list_is_read_or_kept_aside() {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released/0.1.0/apps.json");
    let tmp = tempfile::tempdir().unwrap();
    let list = List::new(tmp.path().join("apps.json")).unwrap();
    crate::mutation::walk(1000, &[fs::read(released).unwrap()], |_, bytes| {
        fs::write(&list.path, bytes).unwrap();
        match list.read() {
            (Some(saved), None) => assert!(saved.version == VERSION && saved.next_id <= MOST_ID),
            (None, Some(why)) => assert!(why.contains("apps.json.damaged") && !list.path.exists()),
            (saved, why) => panic!("{saved:?}: {why:?}"),
        }
    });
}
