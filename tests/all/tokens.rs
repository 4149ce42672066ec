//! Tokens, and the addresses that need them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{Client, Setup, machine};
use crate::security::{RUN, no_root, stranger};

fn token_file(setup: &Setup, mode: u32) -> String {
    let path = setup.path().join("tokens");
    fs::write(&path, "# two\nrun tok-of-run\nadmin tok-of-admin\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn tokens_give_roles_and_wrong_ones_cost_time() {
    if no_root("tokens_give_roles_and_wrong_ones_cost_time") {
        return;
    }
    let setup = Setup::native(json!({}));
    let tokens = token_file(&setup, 0o600);
    let daemon = setup.arguments(&["--token-file", &tokens]).start();
    let place = daemon.address().to_string();
    let call = |method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
    };
    let said = stranger(&place, &["auth tok-of-run", RUN, &call("info", json!({})), "bye"]);
    assert!(said.contains(r#""error_text":"OK""#) && said.contains("\"running\"") && said.contains("-32001"), "{said}");
    let said = stranger(&place, &[&call("auth", json!({"token": "tok-of-admin"})), &call("info", json!({})), "bye"]);
    assert!(said.contains(r#"{"role":"admin"}"#) && said.contains("keeper_pid"), "{said}");
    // Never less than before.
    let mut admin = daemon.client();
    assert_eq!(admin.ok("auth", json!({"token": "tok-of-run"})), json!({"role": "admin"}));

    for wrong in ["tok-of-ru", "tok-of-run2", "TOK-OF-RUN", "run tok-of-run", "\u{0}"] {
        let started = Instant::now();
        let mut client = daemon.tcp();
        let id = client.send("auth", json!({"token": wrong}));
        admin.ok("ping", json!({}));
        assert!(started.elapsed() < Duration::from_millis(400), "others are not held up");
        let refusal = client.receive(id).unwrap_err();
        assert_eq!(refusal.kind, "unauthenticated", "{wrong:?}");
        assert!(started.elapsed() >= Duration::from_millis(500), "{wrong:?}: {:?}", started.elapsed());
    }
    let said = stranger(&place, &["auth nonsense", RUN, "bye"]);
    assert!(said.contains("Wrong token") && said.contains("-32000"), "{said}");
    assert!(!daemon.log().contains("nonsense") && !daemon.log().contains("tok-of"), "{}", daemon.log());
}

#[test]
fn a_token_file_for_all_to_read_or_without_tokens_is_refused() {
    let setup = Setup::native(json!({}));
    let tokens = token_file(&setup, 0o644);
    assert!(setup.arguments(&["--token-file", &tokens]).refused().contains("chmod 600"));
    let setup = Setup::native(json!({}));
    let tokens = token_file(&setup, 0o600);
    fs::write(&tokens, "# none\n").unwrap();
    assert!(setup.arguments(&["--token-file", &tokens]).refused().contains("token"));
    assert!(Setup::native(json!({})).arguments(&["--token-file", "/no/such/file"]).refused().contains("/no/such/file"));
}

#[test]
fn an_address_for_all_needs_tokens() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let said = Setup::native(json!({})).arguments(&["--listen", address]).refused();
        assert!(said.contains("token") && said.contains(address.rsplit_once(':').unwrap().0), "{said}");
    }
    let setup = Setup::native(json!({}));
    let tokens = token_file(&setup, 0o600);
    let daemon = setup.arguments(&["--listen", "0.0.0.0:0", "--token-file", &tokens]).start();
    let port = daemon.address().port();
    let mut client = Client::tcp(([127, 0, 0, 1], port).into()).unwrap();
    assert_eq!(client.ok("ping", json!({}))["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_third_wrong_token_ends_the_connection() {
    let setup = Setup::native(json!({}));
    let tokens = token_file(&setup, 0o600);
    let daemon = setup.arguments(&["--token-file", &tokens]).start();
    let mut client = daemon.tcp();
    for _ in 0..3 {
        assert_eq!(client.command("auth nonsense"), json!({"error_text": "Wrong token"}));
    }
    client.expect_end();
}

#[test]
fn loopback_of_both_families_is_ours_and_an_address_of_the_network_is_not() {
    let setup = Setup::native(json!({}));
    let tokens = token_file(&setup, 0o600);
    let words = ["--listen", "[::]:0", "--listen", "127.0.0.1:0", "--token-file", &tokens];
    if fs::metadata("/proc/net/if_inet6").is_err() {
        return machine::skipped(
            "loopback_of_both_families_is_ours_and_an_address_of_the_network_is_not",
            "no IPv6 here",
        );
    }
    let daemon = setup.arguments(&words).start();
    let port = daemon.address().port();
    let mut tried = 0;
    for (address, expected) in [("::1", true), ("127.0.0.1", true)] {
        let Ok(mut client) = Client::tcp(SocketAddr::new(address.parse().unwrap(), port)) else { continue };
        tried += 1;
        assert_eq!(client.call("ping", json!({})).is_ok(), expected, "{address}");
    }
    assert!(tried >= 1);
    // The machine's own address: the peer may be anybody who has a route.
    let addresses = machine::run(Command::new("hostname").arg("-I"));
    for address in String::from_utf8_lossy(&addresses.stdout).split_whitespace() {
        let Ok(mut client) = Client::tcp(SocketAddr::new(address.parse().unwrap(), port)) else { continue };
        assert_eq!(client.refused("ping", json!({})).kind, "unauthenticated", "{address}");
        assert_eq!(client.ok("auth", json!({"token": "tok-of-run"})), json!({"role": "run"}));
        assert_eq!(client.run("noop", json!(null))["exit_code"], 0);
    }
}
