//! Who gets in, and what may be seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::house::{Daemon, Setup, eventually, machine, native, processes, within};

/// Some user who is neither root nor us.
const STRANGER: u32 = 64_123;

/// The system's, which all may run: the first on the path may lie in somebody's home.
const PYTHON: &str = "/usr/bin/python3";

/// As the stranger: connects, sends the lines, prints what comes until the end or a second of silence.
const TALK: &str = r#"
import socket, sys
where, lines = sys.argv[1], sys.argv[2:]
if where.startswith("/"):
    s = socket.socket(socket.AF_UNIX); s.connect(where)
else:
    host, port = where.rsplit(":", 1)
    s = socket.create_connection((host, int(port)))
s.settimeout(3)
try:
    for line in lines: s.sendall(line.encode() + b"\n")
    while True:
        data = s.recv(65536)
        if not data: print("END"); break
        sys.stdout.write(data.decode()); sys.stdout.flush()
except (TimeoutError, socket.timeout): print("SILENCE")
except (ConnectionResetError, BrokenPipeError): print("END")
"#;

fn as_stranger(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let uid = STRANGER.to_string();
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", program]);
    command
}

/// What a stranger is told.
pub fn stranger(place: &str, lines: &[&str]) -> String {
    let output = machine::run(as_stranger(PYTHON).arg("-c").arg(TALK).arg(place).args(lines));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub fn no_root(test: &str) -> bool {
    if !machine::is_root() {
        machine::skipped(test, "only root can become another user");
    }
    !machine::is_root()
}

fn runs_total(daemon: &Daemon) -> u64 {
    daemon.info()["counts"]["runs_total"].as_u64().unwrap()
}

pub const RUN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"run","params":{"entry":"noop"}}"#;

#[test]
fn files_are_the_owners_alone_whatever_the_umask() {
    let daemon = Setup::native(json!({"output": "log"})).wrapped(&["sh", "-c", "umask 0; exec \"$@\"", "sh"]).start();
    daemon.client().run("print", json!({"stdout": "x"}));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.dir()), 0o700);
    assert_eq!(mode(&daemon.socket()), 0o600);
    let mut seen = 0;
    for entry in fs::read_dir(daemon.dir()).unwrap().chain(fs::read_dir(daemon.dir().join("logs")).unwrap()) {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 6 && daemon.dir().join("table").exists() && daemon.dir().join("journal").exists(), "{seen}");
}

#[test]
fn a_folder_that_others_may_write_to_or_own_is_refused() {
    for mode in [0o777, 0o770, 0o1777] {
        let setup = Setup::native(json!({}));
        fs::create_dir(setup.dir()).unwrap();
        fs::set_permissions(setup.dir(), fs::Permissions::from_mode(mode)).unwrap();
        let said = setup.refused();
        assert!(said.contains("may write") && said.contains("dir"), "{said}");
    }
    let setup = Setup::native(json!({}));
    fs::write(setup.dir(), "a file").unwrap();
    assert!(setup.refused().contains("not a directory"));
    if !no_root("a_folder_that_others_may_write_to_or_own_is_refused") {
        let setup = Setup::native(json!({}));
        fs::create_dir(setup.dir()).unwrap();
        chown(setup.dir(), Some(STRANGER), None).unwrap();
        let said = setup.refused();
        assert!(said.contains(&STRANGER.to_string()), "it says whose it is: {said}");
    }
}

#[test]
fn another_user_is_nobody_over_tcp_and_over_the_socket() {
    if no_root("another_user_is_nobody_over_tcp_and_over_the_socket") {
        return;
    }
    let daemon = Setup::native(json!({})).start();
    assert!(stranger(daemon.socket().to_str().unwrap(), &[RUN]).contains("PermissionError"));
    // Were the modes wrong, the kernel's word about the peer still stands.
    fs::set_permissions(daemon.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    for place in [daemon.address().to_string(), daemon.socket().to_str().unwrap().to_owned()] {
        for method in
            ["run", "status", "wait", "kill", "free", "runs", "pools", "list", "reload", "ping", "info", "shutdown"]
        {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).to_string();
            let said = stranger(&place, &[&call, "bye"]);
            assert!(said.contains("-32000") && said.contains("unauthenticated"), "{place} {method}: {said}");
        }
        for command in
            ["run {\"hash\":1,\"class\":\"noop\"}", "check {\"hash\":1}", "stop", "restart", "terminate {\"hash\":1}"]
        {
            let said = stranger(&place, &[command, "bye"]);
            assert!(said.contains("Authentication required"), "{place} {command}: {said}");
        }
        let long = "x".repeat(1 << 16);
        assert!(stranger(&place, &[&long]).contains("END"), "a stranger's lines are short");
    }
    assert_eq!(runs_total(&daemon), 0);
}

#[test]
fn root_is_admitted_to_anothers_daemon() {
    if no_root("root_is_admitted_to_anothers_daemon") {
        return;
    }
    let uid = STRANGER.to_string();
    let setup = Setup::native(json!({}));
    if !machine::run(as_stranger("test").arg("-x").arg(native())).status.success() {
        return machine::skipped("root_is_admitted_to_anothers_daemon", "the build folder is not for others to read");
    }
    chown(setup.path(), Some(STRANGER), Some(STRANGER)).unwrap();
    let daemon =
        setup.wrapped(&["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--pdeathsig", "TERM"]).start();
    assert_eq!(processes::status_number(daemon.pid(), "Uid"), Some(u64::from(STRANGER)));
    assert_eq!(daemon.client().ok("info", json!({}))["keeper_pid"], daemon.pid());
    assert_eq!(daemon.tcp().run("noop", json!(null))["exit_code"], 0);
    assert!(
        stranger(&daemon.address().to_string(), &[RUN, "bye"]).contains("\"running\""),
        "its own user is in as well"
    );
}

#[test]
fn a_socket_that_has_been_closed_is_not_roots() {
    if no_root("a_socket_that_has_been_closed_is_not_roots") {
        return;
    }
    let daemon = Setup::native(json!({})).start();
    let address = daemon.address().to_string();
    let master = daemon.master();
    let closers = [
        "s.close()",
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()",
        "s.shutdown(socket.SHUT_WR); s.close()",
        "s.shutdown(socket.SHUT_RDWR)",
    ];
    let before = daemon.info()["counts"]["runs_total"].clone();
    for close in closers {
        // The master sees the connection only when its peer has been closed.
        processes::send(master, Signal::SIGSTOP);
        let script = format!(
            "import socket, struct, sys\nfor n in range(20):\n    s = socket.create_connection(('127.0.0.1', {}))\n    s.sendall(b'{RUN}\\n')\n    {close}\n",
            address.rsplit(':').next().unwrap()
        );
        let output = machine::run(as_stranger(PYTHON).arg("-c").arg(script));
        processes::send(master, Signal::SIGCONT);
        assert!(output.status.success(), "{output:?}");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(daemon.info()["counts"]["runs_total"], before, "{close}");
    }
    assert_eq!(daemon.tcp().run("noop", json!(null))["exit_code"], 0);
}

#[test]
fn what_a_browser_sends_is_closed_before_anything_is_read() {
    let daemon = Setup::native(json!({})).start();
    let body = RUN;
    for head in [
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "PUT /run HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "run {\"hash\":1,\"class\":\"noop\"} HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = daemon.tcp();
        let _ = client.send_raw(format!("{head}{body}\nrun {{\"hash\":9,\"class\":\"noop\"}}\n").as_bytes());
        client.expect_end();
    }
    assert_eq!(runs_total(&daemon), 0);
}

#[test]
fn params_results_environment_and_input_reach_no_title_no_log_no_table() {
    let secret = "s3cr3t-7f1e";
    let daemon = Setup::native(json!({"output": "log", "idle": 1, "env": {"POOL_SECRET": secret}}))
        .arguments(&["--log-level", "trace"])
        .start();
    let mut client = daemon.client();
    let run = |entry: &str, id: &str| json!({"entry": entry, "id": id, "params": {"ms": 60_000, "x": secret}, "env": {"TOKEN": secret}, "stdin": secret});
    client.ok("run", run("sleep", "alive"));
    let mut ended = run("echo", "ended");
    ended["wait"] = json!(true);
    assert_eq!(client.ok("run", ended)["result"]["x"], secret);
    client.refused("run", run("nothing", "failed"));
    for process in processes::descendants(daemon.pid()) {
        assert!(!processes::title(process.pid).contains(secret), "{}", process.describe());
    }
    let cli = daemon.cli(&["run", "fixture", "echo", "--params", &format!("{{\"x\":\"{secret}\"}}")]);
    assert!(cli.status.success());
    assert!(!daemon.log().contains(secret), "{}", daemon.log());
    let contains =
        |path: &std::path::Path| fs::read(path).unwrap().windows(secret.len()).any(|w| w == secret.as_bytes());
    assert!(!contains(&daemon.dir().join("table")));
    for entry in fs::read_dir(daemon.dir().join("logs")).unwrap() {
        assert!(!contains(&entry.unwrap().path()));
    }
    client.ok("kill", json!({"id": "alive", "signal": "KILL"}));
    client.wait("alive");
}

#[test]
fn a_pools_user_is_what_runs_are_and_it_cannot_send_runs() {
    if no_root("a_pools_user_is_what_runs_are_and_it_cannot_send_runs") {
        return;
    }
    let app = "import os, socket\ndef who(params):\n    return [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]\n\
        def attack(port):\n    s = socket.create_connection(('127.0.0.1', port)); s.settimeout(3)\n    \
        s.sendall(b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\\n')\n    return s.recv(1000).decode()\n\
        def attack_unix(path):\n    s = socket.socket(socket.AF_UNIX)\n    try: s.connect(path)\n    except OSError as e: return type(e).__name__\n    return 'in'\n";
    let setup = Setup::app("python", &[("job.py", app)], json!({"user": "nobody", "idle": 1, "interpreter": [PYTHON]}));
    fs::set_permissions(setup.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = setup.start();
    let mut client = daemon.client();
    let nobody = machine::run(Command::new("id").args(["-u", "nobody"]).stderr(Stdio::null()));
    let nobody: u32 = String::from_utf8(nobody.stdout).unwrap().trim().parse().unwrap();
    let who = client.run("job:who", json!(null));
    assert_eq!((&who["result"][0], &who["result"][1]), (&json!(nobody), &json!(nobody)), "{who}");
    assert!(!who["result"][3].as_array().unwrap().contains(&json!(0)), "root's groups are gone: {who}");
    let said = client.run("job:attack", json!(daemon.address().port()));
    assert!(said["result"].as_str().is_some_and(|s| s.contains("-32000")), "{said}");
    assert_eq!(client.run("job:attack_unix", json!(daemon.socket()))["result"], "PermissionError");
    // The daemon can end what is not its own user's.
    client.ok("run", json!({"entry": "job:attack", "params": 1, "id": "x", "wait": true}));
    let owner = fs::metadata(daemon.dir()).unwrap().uid();
    assert_eq!(owner, 0);
}

#[test]
fn a_stranger_who_says_nothing_is_shown_out() {
    if no_root("a_stranger_who_says_nothing_is_shown_out") {
        return;
    }
    let daemon = Setup::native(json!({})).start();
    let limit = daemon.info()["limits"]["request_timeout_ms"].as_u64().unwrap();
    let script = format!(
        "import socket, time\ns = socket.create_connection(('127.0.0.1', {})); s.settimeout(25)\nt = time.time()\nwhile s.recv(4096): pass\nprint(time.time() - t)",
        daemon.address().port()
    );
    let output = machine::run(as_stranger(PYTHON).arg("-c").arg(script));
    let took: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("{output:?}"));
    assert!(took * 1000.0 >= limit as f64 * 0.9 && took * 1000.0 < limit as f64 + 5000.0, "{took}");
    within(Duration::from_secs(5), "it is no longer counted", || {
        (daemon.info()["counts"]["connections"] == 1).then_some(())
    });
    eventually("the daemon answers", || daemon.client().call("ping", json!({})).ok());
}
