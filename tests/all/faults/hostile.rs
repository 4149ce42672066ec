//! A zygote and children that say what they should not (a Python program that speaks the channel by itself).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{Daemon, Setup, eventually, processes};

/// Obeys FORK (by two forks, so that the keeper adopts the child) and lets the child misbehave as `entry` says.
const HOSTILE: &str = r#"
import array, json, os, socket, struct, sys, tempfile
FORK, WHOIS, RETIRE = 1, 2, 3
READY, FORKED, STARTED, REFUSED, PROGRESS, RESULT, ERROR = 16, 19, 20, 21, 22, 23, 24
orders, replies = socket.socket(fileno=3), socket.socket(fileno=4)
def head(kind, flags, slot, nonce): return struct.pack("<HHIQ", kind, flags, slot, nonce)
def say(kind, slot, nonce, payload=b"", flags=0, fds=()):
    extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    replies.sendmsg([head(kind, flags, slot, nonce), payload], extra)
def misbehave(entry, slot, nonce):
    null = os.open("/dev/null", os.O_RDONLY)
    memfd = os.memfd_create("x"); os.write(memfd, b'"memfd"')
    pipe = os.pipe()
    big = os.memfd_create("big"); os.truncate(big, 1 << 40)
    garbage = {
        "short": lambda: replies.send(b"\x01\x02\x03"),
        "empty": lambda: replies.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))]),
        "noise": lambda: [replies.send(os.urandom(n)) for n in (1, 15, 16, 17, 100, 4000)],
        "kinds": lambda: [say(k, slot, nonce, b"{}") for k in (0, 1, 2, 3, 4, 5, 15, 25, 999, 65535)],
        "flags": lambda: [say(RESULT, slot, nonce, b"1", flags=f) for f in (8, 16, 0x8000, 0xffff)],
        "slots": lambda: [say(k, s, nonce, b"{}") for k in (STARTED, RESULT, ERROR, REFUSED) for s in (slot + 1, 5000, 0xffffffff)],
        "nonce": lambda: [say(k, slot, n, b"{}") for k in (STARTED, RESULT, ERROR, REFUSED) for n in (0, nonce ^ 1, 2**64 - 1)],
        "ready": lambda: [say(READY, 0, 0, b"{}"), say(17, 0, 0, b'{"class":"x","message":"y","trace":null}'), say(18, slot, nonce, b'{"message":"no","errno":null}'), say(FORKED, slot, nonce, b'{"pid":1}')],
        "many": lambda: [say(RESULT, slot, nonce, b"1", fds=[null] * n) for n in (1, 2, 5, 6, 100, 253)],
        "stdio": lambda: say(RESULT, slot, nonce, b"", flags=2, fds=[null] * 3),
        "few": lambda: say(RESULT, slot, nonce, b"", flags=4),
        "pipe": lambda: say(RESULT, slot, nonce, b"", flags=4, fds=[pipe[0]]),
        "device": lambda: say(RESULT, slot, nonce, b"", flags=4, fds=[os.open("/dev/zero", os.O_RDONLY)]),
        "huge": lambda: say(RESULT, slot, nonce, b"", flags=4, fds=[big]),
        "json": lambda: [say(RESULT, slot, nonce, p) for p in (b"", b"{", b"\xff", b"[" * 5000, b"1 2", b"nul")],
        "error": lambda: [say(ERROR, slot, nonce, p) for p in (b"", b"5", b'{"class":1}', b"[]")],
    }[entry]
    garbage()
    say(STARTED, slot, nonce)
    garbage()
    say(STARTED, slot, nonce)
    say(RESULT, slot, nonce, b'"good"')
    os._exit(7)
say(READY, 0, 0, b'{"runtime":"hostile","via":"x","warnings":[]}')
while True:
    message, extra, flags, _ = orders.recvmsg(1 << 17, 4096)
    if not message: os._exit(0)
    fds = array.array("i")
    for _, kind, data in extra: fds.frombytes(data[:len(data) - len(data) % 4])
    kind, flags, slot, nonce = struct.unpack_from("<HHIQ", message)
    if kind == RETIRE: os._exit(0)
    if kind == WHOIS: say(FORKED, slot, nonce, b'{"pid":0}')
    if kind == FORK:
        first = os.fork()
        if first == 0:
            if os.fork(): os._exit(0)
            os.setsid()
            try: misbehave(json.loads(message[16:])["entry"], slot, nonce)
            except BaseException as e: sys.stderr.write(repr(e) + "\n"); sys.stderr.flush(); os._exit(99)
        os.waitpid(first, 0)
    for fd in fds: os.close(fd)
"#;

fn hostile() -> Daemon {
    let setup = Setup::empty();
    let program = setup.path().join("hostile.py");
    std::fs::write(&program, HOSTILE).unwrap();
    let good = json!({"name": "good", "runtime": "native", "command": [crate::house::native()], "output": "none"});
    setup
        .pool(
            json!({"name": "hostile", "runtime": "native", "command": ["python3", program], "output": "inherit"}),
            json!({}),
        )
        .pool(good, json!({}))
        .start()
}

#[test]
fn fault_20_garbage_and_descriptors_from_a_child_are_dropped_closed_and_counted() {
    let daemon = hostile();
    let mut client = daemon.client();
    client.ok("run", json!({"pool": "good", "entry": "sleep", "params": {"ms": 60_000}, "id": "bystander"}));
    let master = daemon.master();
    let before = processes::fds(master).len();
    for entry in [
        "short", "empty", "noise", "kinds", "flags", "slots", "nonce", "ready", "many", "stdio", "few", "pipe",
        "device", "huge", "json", "error",
    ] {
        let dropped = daemon.info()["counts"]["dropped_messages"].as_u64().unwrap();
        let ended =
            client.ok("run", json!({"pool": "hostile", "entry": entry, "id": format!("h-{entry}"), "wait": true}));
        assert_eq!(
            (&ended["state"], &ended["exit_code"], &ended["signal"]),
            (&json!("exited"), &json!(7), &Value::Null),
            "{entry}: {ended}"
        );
        assert!(ended["result"] == "good" || ended["result"].is_null(), "{entry}: {ended}");
        if entry != "error" {
            assert_eq!(ended["result"], "good", "{entry}: {ended}");
        }
        let now = daemon.info()["counts"]["dropped_messages"].as_u64().unwrap();
        assert!(now > dropped, "{entry} was not counted");
        let other = client.ok("run", json!({"pool": "good", "entry": "echo", "params": entry, "wait": true}));
        assert_eq!(other["result"], entry);
    }
    eventually("all their descriptors are closed", || (processes::fds(master).len() <= before).then_some(()));
    assert_eq!(daemon.master(), master, "it is still the same master");
    assert_eq!(client.ok("status", json!({"id": "bystander"}))["state"], "running");
    let memory = processes::status_number(master, "VmRSS").unwrap();
    assert!(memory < 80 << 10, "{memory} kB");
    let pools = client.ok("pools", json!({}));
    assert!(pools["pools"].as_array().unwrap().iter().all(|p| p["state"] == "ready"), "{pools}");
    client.end("bystander");
}

/// Never stops to say something: to `NOTIFY_SOCKET`, or on Node's channel.
const TALKATIVE: &str = r#"
import os, socket
if "NODE_CHANNEL_FD" in os.environ:
    fd = int(os.environ["NODE_CHANNEL_FD"])
    while True: os.write(fd, b'"ready"\n' * 8192)
address = os.environ["NOTIFY_SOCKET"]
address = "\0" + address[1:] if address[0] == "@" else address
for _ in range(3): os.fork()
talk = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True: talk.sendto(b"READY=1", address)
"#;

#[test]
fn workers_that_never_stop_to_say_that_they_are_ready_keep_nobody_from_being_heard() {
    let setup = Setup::empty().file("talk.py", TALKATIVE);
    // Whoever is started by a program of that name gets Node's channel.
    std::os::unix::fs::symlink("/usr/bin/python3", setup.path().join("node-like")).unwrap();
    let talker = |name: &str| json!({"name": name, "script": "talk.py", "wait_ready": true, "listen_timeout": "20s", "kill_timeout": "500ms"});
    let mut channel = talker("channel");
    channel["interpreter"] = json!(setup.path().join("node-like"));
    let daemon = setup.worker(talker("socket")).worker(channel).start();
    let mut client = daemon.client();
    for name in ["socket", "channel"] {
        eventually("it is ready", || (client.worker(name, 0)["state"] == "ready").then_some(()));
    }
    let began = Instant::now();
    for _ in 0..50 {
        client.ok("ping", json!({}));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "50 answers took {:?}", began.elapsed());
    client.ok("apps.stop", json!({"target": "all"}));
}
