//! The memory of warm processes: huge pages, and what a run that does nothing copies of it.

use std::process::Command;

use serde_json::{Value, json};

use crate::house::{Client, Setup, machine, native};

/// As large as it takes for a good part of it to become huge.
const MEGABYTES: u64 = 20;

const PHP: &str = "<?php\n$data = [];\nfor ($i = 0; $i < 20 * 256; $i++) { $data[] = str_repeat(chr(33 + $i % 90), 4000); }\n\
    function noop($params) { }\nfunction sum($params) { global $data; foreach ($data as &$d) { $d[0] = 'x'; } return count($data); }\n";
const PYTHON: &str = "data = [bytearray(b'x' * 4000) for _ in range(20 * 256)]\ndef noop(params): pass\n\
    def sum(params):\n    for d in data:\n        d[0] = 0\n    return len(data)\n";

/// Where huge pages are everybody's (`always`), nothing is to be told from the outside of who asked for them.
fn unasked() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").is_ok_and(|text| text.contains("[always]"))
}

/// Whether the kernel puts memory into huge pages when it is asked to (Linux 6.1, and not off altogether).
fn kernel_can() -> bool {
    let script = "import mmap\nm = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
        m.write(b'x' * (4 << 20))\nm.madvise(25)\n";
    Command::new("python3").args(["-c", script]).stderr(std::process::Stdio::null()).status().unwrap().success()
}

fn setup(runtime: &str, keys: &Value) -> Setup {
    let mut with = keys.clone();
    match runtime {
        "php" => {
            with["preload"] = json!("app/boot.php");
            Setup::app("php", &[("boot.php", PHP)], with)
        }
        "python" => {
            with["preload"] = json!("app/boot.py");
            Setup::app("python", &[("boot.py", PYTHON)], with)
        }
        _ => {
            with["env"] = json!({"PREFORKD_BENCH_MB": MEGABYTES.to_string()});
            Setup::empty()
                .pool(json!({"name": "app", "runtime": "native", "command": [native()], "output": "none"}), with)
        }
    }
}

fn entry(runtime: &str, function: &str) -> String {
    if runtime == "python" { format!("boot:{function}") } else { function.to_owned() }
}

fn memory(client: &mut Client) -> (u64, u64) {
    let pool = client.pool("app");
    (pool["memory_bytes"].as_u64().unwrap(), pool["huge_bytes"].as_u64().unwrap())
}

#[test]
fn a_preload_is_put_into_huge_pages_unless_the_pool_says_off() {
    let can = kernel_can();
    if !can {
        machine::skipped("a_preload_is_put_into_huge_pages", "this kernel gives none (Linux 6.1, not `never`)");
    }
    for runtime in ["php", "python", "native"] {
        for (setting, wanted) in [(json!({}), can), (json!({"huge_pages": "off"}), false)] {
            let daemon = setup(runtime, &setting).start();
            let mut client = daemon.client();
            let (all, huge) = memory(&mut client);
            assert!(all >= MEGABYTES << 20 && huge <= all, "{runtime} {setting}: {huge} of {all}");
            assert!((huge >= MEGABYTES << 19) == wanted || unasked(), "{runtime} {setting}: {huge} of {all}");
            // At most twice what it was, and the interpreter itself.
            assert!(all < (2 * MEGABYTES + 30) << 20, "{runtime} {setting}: {all}");
            assert_eq!(client.pool("app")["fork_us"], Value::Null, "{runtime}: nothing has been forked");
            let ended = client.run(&entry(runtime, "noop"), json!(null));
            assert_eq!(ended["exit_code"], 0, "{runtime}: {ended}");
            let fork = client.pool("app")["fork_us"].as_u64();
            assert!(fork.is_some_and(|us| (1..10_000_000).contains(&us)), "{runtime}: {fork:?}");
            if runtime != "native" {
                // All of it is written to in the child, which splits what is huge.
                let ended = client.run(&entry(runtime, "sum"), json!([]));
                assert_eq!(
                    (&ended["exit_code"], &ended["result"]),
                    (&json!(0), &json!(20 * 256)),
                    "{runtime}: {ended}"
                );
            }
        }
    }
}
