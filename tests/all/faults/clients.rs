//! Clients that are slow, rude or gone.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::{Client, Daemon, Setup, eventually, processes, within};

fn resident(daemon: &Daemon) -> u64 {
    processes::status_number(daemon.master(), "VmRSS").unwrap() * 1024
}

#[test]
fn fault_17_a_thousand_connections_of_one_byte_a_second_hold_nobody_up() {
    let daemon = Setup::native(json!({})).start();
    let address = daemon.address();
    let limit = Duration::from_millis(daemon.info()["limits"]["request_timeout_ms"].as_u64().unwrap());
    let started = Instant::now();
    let mut slow: Vec<Client> = (0..1000).map(|_| Client::tcp(address).unwrap()).collect();
    slow.iter_mut().for_each(|c| c.patience(Duration::from_secs(10)).unwrap());
    let mut quick = daemon.tcp();
    let mut worst = Vec::new();
    let line = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}}";
    for second in 0..limit.as_secs() as usize - 1 {
        for client in &mut slow {
            client.send_raw(&line[second..=second]).unwrap();
        }
        for _ in 0..10 {
            let asked = Instant::now();
            quick.ok("ping", json!({}));
            worst.push(asked.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(quick.run("noop", json!(null))["exit_code"], 0);
        std::thread::sleep(
            (started + Duration::from_secs(second as u64 + 1)).saturating_duration_since(Instant::now()),
        );
    }
    worst.sort_unstable();
    let high = worst[worst.len() * 95 / 100];
    assert!(high < Duration::from_millis(200), "95% of the pings within {high:?}");
    for client in &mut slow {
        let said = client.try_line().unwrap();
        assert!(said.is_none_or(|s| s.contains("-32010")));
    }
    let took = started.elapsed();
    // A busy machine is late to send, and to read.
    assert!(took < limit + Duration::from_secs(20), "all were closed after {took:?}");
    within(Duration::from_secs(5), "none is counted", || (daemon.info()["counts"]["connections"] == 2).then_some(()));
    drop(slow);
    daemon.fds_are(40);
}

#[test]
fn fault_18_bad_input_is_an_error_or_the_end_and_memory_stays_bounded() {
    let daemon = Setup::native(json!({})).start();
    daemon.client().ok("ping", json!({}));
    let before = resident(&daemon);
    let code = |bytes: &[u8]| {
        let mut client = daemon.tcp();
        client.send_raw(bytes).unwrap();
        let code = client.line()["error"]["code"].as_i64().unwrap();
        // The connection is of use afterwards.
        assert_eq!(client.ok("ping", json!({}))["version"], env!("CARGO_PKG_VERSION"));
        code
    };
    let call = |params: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"run\",\"params\":{params}}}\n");
    assert_eq!(code(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\n"), -32700);
    assert_eq!(code(b"{\"a\":\"\xff\xfe\"}\n"), -32700);
    assert_eq!(code(b"{\"a\":\"\\ud800\"}\n"), -32700);
    assert_eq!(code(b"[1,2\n"), -32700);
    assert_eq!(code(b"\x00\x01\x02\n"), -32700);
    assert_eq!(code(b"{\"a\":\"x\x00y\"}\n"), -32700);
    assert_eq!(code(b"5\n"), -32600);
    assert_eq!(code(b"{}\n"), -32600);
    assert_eq!(code(("[".repeat(100_000) + "\n").as_bytes()), -32700);
    assert_eq!(code(("{\"a\":".repeat(100_000) + "\n").as_bytes()), -32700);
    assert_eq!(code(("[".repeat(100_000) + &"]".repeat(100_000) + "\n").as_bytes()), -32700);
    assert_eq!(code(call("{\"entry\":\"noop\",\"entry\":\"echo\"}").as_bytes()), -32602);
    assert_eq!(code(call("{\"entry\":\"noop\",\"timeout\":1e999}").as_bytes()), -32602);
    assert_eq!(code(call(&format!("{{\"entry\":\"noop\",\"timeout\":{}}}", "9".repeat(5000))).as_bytes()), -32602);
    assert_eq!(code(call("{\"entry\":\"noop\",\"timeout\":-1}").as_bytes()), -32602);
    let huge = format!("{}\n", "8".repeat(400));
    let echoed = daemon.client().call("run", json!({"entry": "echo", "params": [1e300, -0.0, u64::MAX], "wait": true}));
    assert_eq!(echoed.unwrap()["result"], json!([1e300, -0.0, u64::MAX]));
    assert!(code(huge.as_bytes()) <= -32600);

    // Twenty megabytes and more without a newline.
    for _ in 0..3 {
        let mut client = daemon.tcp();
        let chunk = vec![b'x'; 1 << 16];
        let sent = (0..400).take_while(|_| client.send_raw(&chunk).is_ok()).count();
        assert!(sent < 400, "the daemon reads for ever");
    }
    let mut long = daemon.tcp();
    long.send_raw(&vec![b' '; (1 << 20) + 1]).unwrap();
    assert_eq!(long.line()["error"]["code"], -32010);
    long.expect_end();
    let after = resident(&daemon);
    assert!(after < before + (24 << 20), "from {before} to {after} bytes");
    assert_eq!(daemon.tcp().run("noop", json!(null))["exit_code"], 0);
}

#[test]
fn fault_19_clients_that_vanish_in_the_middle_of_an_answer_leave_nothing() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "echo", "params": "x".repeat(900_000), "id": "big", "wait": true}));
    // What it opens once and keeps is there from here on.
    daemon.tcp().ok("ping", json!({}));
    let master = daemon.master();
    let before = processes::fds(master).len();
    for n in 0..100 {
        let mut gone = if n % 2 == 0 { daemon.tcp() } else { daemon.client() };
        for _ in 0..4 {
            gone.send("status", json!({"id": "big"}));
        }
        gone.send("run", json!({"entry": "noop", "wait": true}));
    }
    eventually("their descriptors are closed", || (processes::fds(master).len() <= before).then_some(()));
    assert_eq!(daemon.master(), master, "it is still the same master");
    assert_eq!(client.run("noop", json!(null))["exit_code"], 0);
}

#[test]
fn fault_19_a_client_that_never_reads_fills_no_memory_and_is_closed() {
    let daemon = Setup::native(json!({})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "echo", "params": "x".repeat(900_000), "id": "big", "wait": true}));
    let limit = Duration::from_millis(daemon.info()["limits"]["answer_timeout_ms"].as_u64().unwrap());
    let before = resident(&daemon);
    let started = Instant::now();
    let mut deaf: Vec<Client> = (0..4).map(|_| daemon.tcp()).collect();
    for client in &mut deaf {
        client.patience(Duration::from_millis(300)).unwrap();
        // 450 MB of answers were they all made.
        for _ in 0..500 {
            if client
                .send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":{\"id\":\"big\"}}\n")
                .is_err()
            {
                break;
            }
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = resident(&daemon);
    assert!(after < before + (40 << 20), "from {before} to {after} bytes");
    assert_eq!(client.ok("ping", json!({}))["version"], env!("CARGO_PKG_VERSION"));
    within(limit + Duration::from_secs(8), "they are closed", || {
        (daemon.info()["counts"]["connections"] == 2).then_some(())
    });
    assert!(started.elapsed() >= limit - Duration::from_secs(1), "not before their time: {:?}", started.elapsed());
}
