//! The memory of warm processes: huge pages, and what a run that does nothing copies of it.

use std::process::Command;

use serde_json::{Value, json};

use crate::house::{Client, Setup, eventually, machine, native, processes};

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
            Setup::app("php", &[("boot.php", PHP), ("exits.php", "<?php exit(0);")], with)
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
            // The second child tells of the first one's fork.
            for _ in 0..2 {
                let ended = client.run(&entry(runtime, "noop"), json!(null));
                assert_eq!(ended["exit_code"], 0, "{runtime}: {ended}");
            }
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

/// Counted by the kernel, so that no busy machine changes it. A bound is about a quarter above what was counted on Debian 12, since
/// another build of an interpreter touches other pages.
#[test]
fn a_run_that_does_nothing_copies_few_pages() {
    let fast = json!({});
    let idle = json!({"idle": 4});
    // PHP's own way walks through the preload: what the fast one is for.
    let full = json!({"shutdown": "full"});
    for (runtime, keys, entry, faults) in [
        ("php", &fast, "noop", 60..=150),
        ("php", &idle, "noop", 60..=155),
        ("php", &fast, "exits.php", 60..=180),
        ("php", &full, "exits.php", 300..=20_000),
        ("python", &fast, "boot:noop", 200..=500),
        ("python", &idle, "boot:noop", 200..=550),
        ("native", &fast, "noop", 8..=33),
        ("native", &idle, "noop", 8..=36),
    ] {
        let daemon = setup(runtime, keys).start();
        let mut client = daemon.client();
        let counted = (0..3).map(|_| {
            let ended = client.run(entry, json!(null));
            assert_eq!(ended["exit_code"], 0, "{runtime} {entry}: {ended}");
            ended["usage"]["minor_faults"].as_u64().unwrap()
        });
        let counted = counted.min().unwrap();
        assert!(faults.contains(&counted), "{runtime} {keys} {entry}: {counted} faults, not {faults:?}");
    }
}

/// What an idle child has for itself, of a process of some tens of megabytes: a quarter above what was seen.
#[test]
fn an_idle_child_shares_nearly_all_of_its_memory() {
    for (runtime, most) in [("php", 200), ("python", 1500), ("native", 48)] {
        let daemon = setup(runtime, &json!({"idle": 1})).start();
        let zygote = daemon.client().pool("app")["zygote_pid"].as_u64().unwrap() as u32;
        let idle = eventually("the idle child waits", || {
            let all = processes::descendants(daemon.pid());
            all.iter().map(|p| p.pid).find(|pid| *pid != zygote && processes::title(*pid) == "preforkd: app idle")
        });
        // It may be about to touch its last pages.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let rollup = std::fs::read_to_string(format!("/proc/{idle}/smaps_rollup")).unwrap();
        let kb = |key: &str| -> u64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (own, all) = (kb("Private_Dirty:"), kb("Anonymous:"));
        assert!(own <= most && all >= MEGABYTES << 10, "{runtime}: {own} kB of its own, of {all}");
    }
}
