//! Process files and what is imported, on a walk from whole ones: what is wrong is said with its place.

use std::path::{Path, PathBuf};

use super::super::import::{Around, import};
use super::super::{App, MAX_BYTES, load, parse, parse_apps};
use crate::mutation::walk;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Writes each text under this name and has it read.
fn walk_file(rounds: usize, name: &str, corpus: &[Vec<u8>], mut read: impl FnMut(&Path)) {
    let tmp = tempfile::tempdir().unwrap();
    let path: PathBuf = tmp.path().join(name);
    walk(rounds, corpus, |_, bytes| {
        std::fs::write(&path, bytes).unwrap();
        read(&path);
    });
}

/// Good, or wrong at a place, or (of a folder, a program) at none.
fn read(path: &Path) {
    if let Err(errors) = load(path) {
        assert!(!errors.0.is_empty() && errors.to_string().len() < 1 << 20);
    }
}

#[test]
fn mutated_json_is_read_or_refused() {
    let more: &[u8] = br#"{"apps": [{"name": "a", "script": "x.js", "instances": "max", "increment_var": "PORT", "env": {"PORT": 8080},
        "depends_on": ["b"], "sockets": ["127.0.0.1:80"], "max_memory_restart": "1G", "watch": ["src"], "limits": {"open_files": 10}},
        {"name": "b", "pool": "p", "entry": "E\\X"}],
        "pools": [{"name": "p", "runtime": "php", "idle": 2, "max_running": 8, "timeout": "5m", "env": {"A": 1.5e3}}]}"#;
    walk_file(800, "f.json", &[data("ecosystem/ecosystem.json"), more.to_vec()], read);
}

#[test]
fn mutated_yaml_is_read_or_refused() {
    let more: &[u8] = b"base: &b {a: 1, env: &e {X: 'y'}}\napps:\n- <<: [*b, {name: z}]\n  script: >-\n    folded\n    text\n  args: |\n    a b\n- {name: \"q\\u00e4\", env: *e}\n";
    walk_file(800, "f.yaml", &[data("ecosystem/ecosystem.yaml"), more.to_vec()], read);
}

#[test]
fn mutated_lists_of_apps_are_read_or_refused() {
    let corpus = [data("released/0.1.0/apps.json")];
    walk(2000, &corpus, |_, bytes| {
        let Ok(saved) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
        let app = |entry: &serde_json::Value| entry["app"].clone();
        let apps: Vec<serde_json::Value> = saved["apps"].as_array().into_iter().flatten().map(app).collect();
        let text = serde_json::json!({"apps": apps, "pools": saved["pools"]}).to_string();
        if let Ok((apps, _)) = parse_apps(&text, Path::new("/"), &[]) {
            // What is read is written so that it is read again.
            let written: Vec<serde_json::Value> = apps.iter().map(App::to_json).collect();
            let text = serde_json::json!({"apps": written, "pools": saved["pools"]}).to_string();
            let (again, _) = parse_apps(&text, Path::new("/"), &[]).unwrap();
            assert_eq!(again.iter().map(App::to_json).collect::<Vec<_>>(), written);
        }
    });
}

#[test]
fn mutated_files_of_other_supervisors_are_imported_or_refused() {
    let env = Default::default();
    let around = Around { env: &env, host: "h" };
    let imported = |path: &Path| {
        if let Ok(imported) = import(path, &around) {
            let read = parse_apps(&imported.text, Path::new("/"), &[]);
            // What came of it can be read, or it has been said that it cannot.
            assert!(read.is_ok_and(|(apps, _)| apps.len() == imported.apps) || !imported.remarks.is_empty());
        }
    };
    // Without its includes, which mutated could name anything on this machine.
    let conf = String::from_utf8(data("supervisord/supervisord.conf")).unwrap().replace("[include]", "[included]");
    walk_file(300, "supervisord.conf", &[conf.into_bytes()], imported);
    walk_file(300, "dump.pm2", &[data("pm2/dump.pm2")], imported);
}

/// Few bytes that become many when they are written out, or that take a time that grows with their square.
#[test]
fn what_yaml_can_make_of_a_small_file_is_bounded() {
    let long = "x".repeat(1 << 20);
    let aliases = format!("a: &a {long}\napps: [{}]\n", "*a,".repeat(200_000));
    let keys: String = (0..100_000).map(|n| format!("  k{n}: 1\n")).collect();
    let others: String = (0..100_000).map(|n| format!("  o{n}: 1\n")).collect();
    let merged = format!("a: &a\n{keys}b:\n  <<: *a\n{others}");
    let levels: String = (1..60).map(|n| format!("l{n}: &l{n} [*l{0}, *l{0}]\n", n - 1)).collect();
    let doubled = format!("l0: &l0 [x]\n{levels}apps: *l59\n");
    let deep = format!("apps: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let begun = std::time::Instant::now();
    for text in [aliases, merged, doubled, deep] {
        assert!(text.len() < MAX_BYTES as usize);
        let largest = crate::mutation::largest(|| {
            let errors = parse(&text, Path::new("/f.yaml")).unwrap_err();
            assert!(errors.0[0].line > 0, "{errors}");
        });
        assert!(largest < 256 << 20, "{largest} bytes at once");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
