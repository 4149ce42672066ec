//! Files that a released version has left behind are read for ever: tests/data/released/VERSION has its table (packed, without
//! the zeros behind its last row), its journal, its list of apps, and what it said of them itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::house::{Client, Setup, eventually, machine, native, preforkd};

/// The size of a table: 131,072 rows of 72 words, 16,384 exits of 16, and 512 words.
const TABLE: u64 = (131_072 * 72 + 16_384 * 16 + 512) * 8;

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released").join(version)
}

fn setup() -> Setup {
    // Callers' environments are part of the list.
    Setup::native(json!({"output": "capture", "max_running": 2})).wrapped(&["env", "-i", "PATH=/usr/bin:/bin"])
}

/// What is in the files, with what differs from machine to machine.
fn places(setup: &Path) -> [(&'static str, String); 2] {
    [("@NATIVE@", native().to_string_lossy().into_owned()), ("@HERE@", setup.to_string_lossy().into_owned())]
}

const ENDED: [&str; 6] = ["done", "seven", "error", "killed", "captured", "late"];

fn workers(client: &mut Client) -> Value {
    let list = client.ok("apps.list", json!({}));
    let keys = ["id", "name", "instance", "added_at"];
    let workers = list["workers"].as_array().unwrap().iter();
    workers.map(|w| keys.iter().map(|key| ((*key).to_owned(), w[*key].clone())).collect::<Value>()).collect()
}

/// What is in the file of that name.
fn left(version: &str, name: &str) -> Vec<u8> {
    let file = File::open(folder(version).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut bytes = Vec::new();
    let read = if name.ends_with(".gz") {
        GzDecoder::new(file).read_to_end(&mut bytes)
    } else {
        (&file).read_to_end(&mut bytes)
    };
    read.unwrap();
    bytes
}

/// A daemon that is going to find what that version has left behind, once `change` has been at it.
fn heir(version: &str, mut change: impl FnMut(&str, &mut Vec<u8>)) -> Setup {
    let setup = setup().file("web.sh", "exec sleep 1000\n");
    let dir = setup.dir();
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["table.gz", "journal", "apps.json"] {
        let mut bytes = left(version, name);
        if name == "apps.json" {
            let mut text = String::from_utf8(bytes).unwrap();
            for (name, path) in places(setup.path()) {
                text = text.replace(name, &path);
            }
            bytes = text.into_bytes();
        }
        change(name, &mut bytes);
        let path = dir.join(name.trim_end_matches(".gz"));
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
        file.write_all(&bytes).unwrap();
        if name == "table.gz" {
            file.set_len(TABLE).unwrap();
        }
    }
    setup
}

#[test]
fn what_0_1_0_has_left_behind_is_read_for_ever() {
    let said: Value = serde_json::from_slice(&left("0.1.0", "said.json")).unwrap();

    let daemon = heir("0.1.0", |_, _| ()).start();
    let mut client = daemon.client();
    for id in ENDED {
        let (was, is) = (&said["runs"][id], client.ok("status", json!({"id": id})));
        for (key, value) in was.as_object().unwrap() {
            assert_eq!(&is[key], value, "{key} of {id}: {is}");
        }
    }
    for id in ["alive-0", "alive-1"] {
        let status = client.ok("status", json!({"id": id}));
        assert_eq!(status["state"], "unknown", "{status}");
        assert!(status["error"]["message"].is_string(), "{status}");
    }
    let queued = client.wait("queued");
    assert_eq!((&queued["state"], &queued["result"]), (&json!("exited"), &json!("in the end")));
    assert_eq!(client.refused("status", json!({"id": "freed"})).kind, "run_not_found");
    assert_eq!(workers(&mut client), said["workers"]);
    eventually("those are up that were to be", || {
        let list = client.ok("apps.list", json!({}));
        let of = |state: &str| -> BTreeSet<u64> {
            let workers = list["workers"].as_array().unwrap().iter();
            workers.filter(|w| w["state"] == state).map(|w| w["id"].as_u64().unwrap()).collect()
        };
        (of("running").len() == 2 && of("stopped").len() == 1).then_some(())
    });
    let run = client.ok("run", json!({"pool": "later", "entry": "exit", "params": {"code": 9}, "wait": true}));
    assert_eq!(run["exit_code"], 9);
    assert!(!daemon.dir().join("apps.json.damaged").exists());
}

/// Where rows begin in the table, in bytes.
const ROWS: usize = (512 + 16_384 * 16) * 8;

#[test]
fn what_is_left_behind_and_damaged_holds_no_daemon_up() {
    for seed in 0..12 {
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let daemon = heir("0.1.0", |name, bytes| match name {
            // Words of rows, whatever they mean.
            "table.gz" => {
                for _ in 0..rng.random_range(1..30) {
                    let at = ROWS + rng.random_range(0..(bytes.len() - ROWS) / 8) * 8;
                    let word: u64 = match rng.random_range(0..4) {
                        0 => rng.random(),
                        1 => u64::MAX,
                        2 => rng.random_range(0..10),
                        _ => 1 << rng.random_range(0..64),
                    };
                    bytes.splice(at..(at + 8).min(bytes.len()), word.to_le_bytes());
                }
            }
            "journal" if seed % 3 == 0 => {
                let at = rng.random_range(16..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            "apps.json" if seed % 3 == 1 => {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = *b"9\"{,x".choose(&mut rng).unwrap();
            }
            _ => {}
        })
        .start();
        let mut client = daemon.client();
        for method in ["runs", "apps.list", "pools", "info"] {
            client.ok(method, json!({}));
        }
        let run = client.ok("run", json!({"pool": "fixture", "entry": "exit", "params": {"code": 9}, "id": "new"}));
        assert_eq!(client.wait("new")["exit_code"], 9, "{run}");
        let table = daemon.cli(&["table"]);
        assert!(table.status.success(), "{table:?}");
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    }
}

#[test]
#[ignore = "writes the files of this version; once a release"]
fn write_the_files_of_this_version() {
    let file = json!({
        "pools": [{"name": "later", "runtime": "native", "command": [native()], "output": "none"}],
        "apps": [{"name": "web", "script": "web.sh", "interpreter": "bash", "instances": 2, "env": {"KEY": "value"}},
                 {"name": "off", "script": "web.sh", "interpreter": "bash"}],
    });
    let setup = setup().file("web.sh", "exec sleep 1000\n").file("more.json", &file.to_string());
    let daemon = setup.start();
    let cli = |words: &[&str]| {
        let mut command = Command::new(preforkd());
        command.args(words).env_clear().env("PATH", "/usr/bin:/bin").env("PREFORKD_DIR", daemon.dir());
        let done = machine::run(command.current_dir(daemon.path()));
        assert!(done.status.success(), "{words:?}: {done:?}");
    };
    cli(&["start", "more.json"]);
    cli(&["restart", "web"]);
    cli(&["stop", "off"]);
    let mut client = daemon.client();
    let mut run = |id: &str, entry: &str, params: Value, wait: bool| {
        client.ok(
            "run",
            json!({"pool": "fixture", "entry": entry, "params": params, "id": id, "wait": wait,
                                "timeout": if id == "late" { "100ms" } else { "1h" }}),
        )
    };
    run("done", "echo", json!({"a": [1, 2.5, null, "ü"]}), true);
    run("seven", "exit", json!({"code": 7}), true);
    run("error", "fail", json!({}), true);
    run("killed", "signal", json!({"signal": 9}), true);
    run("captured", "print", json!({"stdout": "out\n", "stderr": "err\n"}), true);
    run("late", "sleep", json!({"ms": 60_000}), true);
    run("freed", "noop", json!({}), true);
    run("alive-0", "sleep", json!({"ms": 60_000}), false);
    run("alive-1", "sleep", json!({"ms": 60_000}), false);
    run("queued", "echo", json!("in the end"), false);
    client.ok("free", json!({"id": "freed"}));
    client.ok("apps.save", json!({}));
    let statuses: serde_json::Map<String, Value> =
        ENDED.iter().map(|id| ((*id).to_owned(), client.ok("status", json!({"id": id})))).collect();
    let said = json!({"runs": statuses, "workers": workers(&mut client)});
    let setup = daemon.crash();

    let to = folder(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(&to).unwrap();
    fs::write(to.join("said.json"), serde_json::to_string_pretty(&said).unwrap() + "\n").unwrap();
    fs::copy(setup.dir().join("journal"), to.join("journal")).unwrap();
    let mut apps = fs::read_to_string(setup.dir().join("apps.json")).unwrap();
    for (name, path) in places(setup.path()) {
        apps = apps.replace(&path, name);
    }
    fs::write(to.join("apps.json"), apps).unwrap();
    let mut table = fs::read(setup.dir().join("table")).unwrap();
    assert_eq!(table.len() as u64, TABLE);
    table.truncate(table.iter().rposition(|&byte| byte != 0).unwrap() + 1);
    let mut packed = GzEncoder::new(File::create(to.join("table.gz")).unwrap(), Compression::best());
    packed.write_all(&table).unwrap();
    packed.finish().unwrap();
}
