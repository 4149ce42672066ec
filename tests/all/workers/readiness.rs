//! Readiness, and what waits for it.

use serde_json::json;

use super::{pid, reaches, read};
use crate::house::{Setup, eventually, machine, processes};

/// An address that begins with @ is in the abstract name space (sd_notify(3)).
const NOTIFIES: &str = "import os, socket, time\ntime.sleep(0.3)\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\na = os.environ['NOTIFY_SOCKET']\ns.sendto(b'READY=1', '\\0' + a[1:] if a[0] == '@' else a)\nwhile True: time.sleep(60)\n";

/// An HTTP server on the socket that it is handed.
pub const SERVER: &str = r#"
import asyncio, os, signal, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
async def answer(reader, writer):
    try:
        await reader.readuntil(b"\r\n\r\n")
        body = str(os.getpid()).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
async def main():
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = socket.socket(fileno=3)
    await asyncio.start_server(answer, sock=listening, backlog=4096)
    if "NOTIFY_SOCKET" in os.environ:
        address = os.environ["NOTIFY_SOCKET"]
        address = "\0" + address[1:] if address[0] == "@" else address
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)
    await stop.wait()
    # Nothing more is accepted, what has been is answered. (Server.close() would drop what is accepted and not begun.)
    asyncio.get_running_loop().remove_reader(listening.fileno())
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.01)
asyncio.run(main())
"#;

#[test]
fn who_runs_as_another_user_can_say_that_it_is_ready() {
    if !machine::is_root() {
        return machine::skipped("who_runs_as_another_user_can_say_that_it_is_ready", "needs root");
    }
    // Outside of the daemon's folder, which is closed to them.
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = place.path().join("notify.py");
    std::fs::write(&script, NOTIFIES).unwrap();
    let app = json!({"name": "n", "script": script, "cwd": place.path(), "interpreter": "/usr/bin/python3", "user": "nobody", "ready": {"notify": true}, "listen_timeout": "20s"});
    let daemon = Setup::empty().worker(app).start();
    let before = reaches(&daemon, "n", 0, "ready");
    // A new master goes on listening where they have been told to send to.
    crate::faults::masters::kill(&daemon, daemon.master());
    processes::send(pid(&before), nix::sys::signal::Signal::SIGKILL);
    eventually("its successor is ready", || {
        let worker = daemon.client().worker("n", 0);
        (worker["state"] == "ready" && worker["pid"] != before["pid"]).then_some(())
    });
}

#[test]
fn each_way_of_being_ready() {
    let port = free_port();
    let daemon = Setup::empty()
        .file("notify.py", NOTIFIES)
        .file("server.py", SERVER)
        .file("log.sh", "sleep 0.2; echo listening on 80; sleep 1000")
        .worker(json!({"name": "notify", "script": "notify.py", "ready": {"notify": true}}))
        .worker(json!({"name": "log", "script": "log.sh", "ready": {"log": "^listening on [0-9]+$"}}))
        .worker(json!({"name": "after", "script": "sleep 1000", "ready": {"after": "200ms"}}))
        .worker(json!({"name": "http", "script": "server.py", "listen": format!("tcp://127.0.0.1:{port}"), "ready": {"http": format!("http://127.0.0.1:{port}/health")}}))
        .worker(json!({"name": "tcp", "script": "sleep 1000", "ready": {"tcp": format!("127.0.0.1:{port}")}}))
        .worker(json!({"name": "never", "script": "sleep 1000", "ready": {"notify": true}, "listen_timeout": "200ms", "max_restarts": 2}))
        .start();
    for name in ["notify", "log", "after", "http", "tcp"] {
        reaches(&daemon, name, 0, "ready");
    }
    let never = reaches(&daemon, "never", 0, "fatal");
    assert!(never["reason"].as_str().unwrap().contains("listen_timeout"), "{never}");
}

#[test]
fn a_worker_of_a_pool_says_that_it_is_ready_before_or_after_its_start_has_been_heard_of() {
    let entry = "def at_once(params):\n    tell()\ndef later(params):\n    time.sleep(0.3)\n    tell()\ndef tell():\n    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n    a = os.environ['NOTIFY_SOCKET']\n    s.sendto(b'READY=1', '\\0' + a[1:] if a[0] == '@' else a)\n    while True: time.sleep(60)\n";
    let code = format!("import os, socket, time\n{entry}");
    let warm = |name: &str, entry: &str| json!({"name": name, "pool": "app", "entry": format!("job:{entry}"), "instances": 40, "ready": {"notify": true}, "listen_timeout": "20s", "max_restarts": 1});
    let daemon = Setup::app("python", &[("job.py", &code)], json!({"preload": "app/job.py"}))
        .worker(warm("now", "at_once"))
        .worker(warm("later", "later"))
        .start();
    for instance in 0..40 {
        reaches(&daemon, "now", instance, "ready");
        reaches(&daemon, "later", instance, "ready");
    }
    let mut client = daemon.client();
    let before = client.worker("now", 0);
    let reloaded = client.ok("apps.reload", json!({"target": "now"}));
    assert!(reloaded["workers"].as_array().unwrap().iter().all(|w| w["state"] == "ready"), "{reloaded}");
    assert_ne!(client.worker("now", 0)["pid"], before["pid"]);
}

#[test]
fn node_says_that_it_is_ready_and_is_told_to_shut_down_over_its_channel() {
    let script = "setTimeout(() => process.send('ready'), 200);\nprocess.on('message', m => { if (m === 'shutdown') { console.log('bye'); process.exit(0); } });\nprocess.on('disconnect', () => console.log('cut'));\nsetInterval(() => {}, 1000);\n";
    let daemon = Setup::empty()
        .file("app.js", script)
        .worker(json!({"name": "n", "script": "app.js", "wait_ready": true, "listen_timeout": "10s", "shutdown_with_message": true, "kill_timeout": "10s"}))
        .start();
    let before = reaches(&daemon, "n", 0, "ready");
    crate::faults::masters::kill(&daemon, daemon.master());
    assert_eq!(daemon.client().worker("n", 0)["pid"], before["pid"]);
    let stopped = daemon.client().ok("apps.stop", json!({"target": "n"}));
    assert_eq!(stopped["workers"][0]["last_exit"]["exit_code"], 0);
    assert_eq!(read(&daemon, "dir/logs/n-out.log"), "bye\n", "the channel outlives a master");
}

#[test]
fn dependants_start_after_and_stop_before() {
    let daemon = Setup::empty()
        .file("db.sh", "trap 'echo db stops >> order; exit 0' INT; sleep 0.3; echo db ready >> order; echo ready; while :; do sleep 0.05; done")
        .file("web.sh", "echo web starts >> order; trap 'sleep 0.3; echo web stops >> order; exit 0' INT; while :; do sleep 0.05; done")
        .worker(json!({"name": "web", "script": "web.sh", "depends_on": ["db"]}))
        .worker(json!({"name": "db", "script": "db.sh", "ready": {"log": "ready"}}))
        .start();
    let waiting = daemon.client().worker("web", 0);
    if waiting["state"] == "starting" {
        assert_eq!(waiting["reason"], "waits for \"db\"");
    }
    reaches(&daemon, "web", 0, "running");
    eventually("the trap is set", || read(&daemon, "order").contains("web starts").then_some(()));
    daemon.client().ok("apps.stop", json!({"target": "all"}));
    let order: Vec<String> = read(&daemon, "order").lines().map(str::to_owned).collect();
    assert_eq!(order, ["db ready", "web starts", "web stops", "db stops"]);
}

#[test]
fn sockets_are_there_before_and_after_the_process() {
    let port = free_port();
    let daemon = Setup::empty()
        .file("server.py", SERVER)
        .worker(json!({"name": "web", "script": "server.py", "listen": format!("tcp://127.0.0.1:{port}"), "ready": {"notify": true}}))
        .start();
    let first = pid(&reaches(&daemon, "web", 0, "ready"));
    assert_eq!(get(port), first.to_string());
    processes::send(first, nix::sys::signal::Signal::SIGKILL);
    // Whoever connects now waits in the backlog, and is answered by the next one.
    let second = get(port);
    assert_ne!(second, first.to_string());
    assert_eq!(second, pid(&reaches(&daemon, "web", 0, "ready")).to_string());
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One request; the body.
pub fn get(port: u16) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(crate::house::PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    answer.rsplit_once("\r\n\r\n").unwrap().1.to_owned()
}
