//! The client against real sockets whose other end misbehaves.

use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::json;

use super::*;

type Conversation = fn(BufReader<UnixStream>);

/// Serves one connection after the other; the thread ends with the last one.
fn serve(folder: &Path, conversations: Vec<Conversation>) -> (PathBuf, thread::JoinHandle<()>) {
    let socket = folder.join("preforkd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        for conversation in conversations {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            conversation(BufReader::new(stream));
        }
    });
    (socket, server)
}

fn hear(stream: &mut BufReader<UnixStream>) -> serde_json::Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn say(stream: &mut BufReader<UnixStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

fn cut_after_hearing(mut stream: BufReader<UnixStream>) {
    hear(&mut stream);
}

fn cut_within_the_answer(mut stream: BufReader<UnixStream>) {
    hear(&mut stream);
    say(&mut stream, r#"{"jsonrpc":"2.0","id":1,"res"#);
}

fn answer_with_what_was_heard(mut stream: BufReader<UnixStream>) {
    let heard = hear(&mut stream);
    say(&mut stream, &format!("{}\n", json!({"jsonrpc": "2.0", "id": heard["id"], "result": heard})));
}

fn refuse(mut stream: BufReader<UnixStream>) {
    hear(&mut stream);
    say(
        &mut stream,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32002,\"message\":\"no run x\",\"data\":{\"kind\":\"run_not_found\"}}}\n",
    );
}

fn refuse_before_all_is_read(mut stream: BufReader<UnixStream>) {
    // Some of it, or none: it is refused in any case.
    let _ = stream.fill_buf();
    say(&mut stream, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32010,\"message\":\"line too long\"}}\n");
}

#[test]
fn the_request_is_one_line_of_json_rpc() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, server) = serve(folder.path(), vec![answer_with_what_was_heard]);
    let mut client = Client::connect(socket).unwrap();
    let answer = client.call("status", &json!({"id": "a"}), Manner::READ).unwrap();
    assert_eq!(
        answer.read::<serde_json::Value>().unwrap(),
        json!({"jsonrpc": "2.0", "id": 1, "method": "status", "params": {"id": "a"}})
    );
    assert!(!answer.repeated);
    server.join().unwrap();
}

#[test]
fn a_repeatable_call_survives_cut_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, server) =
        serve(folder.path(), vec![cut_after_hearing, cut_within_the_answer, answer_with_what_was_heard]);
    let mut client = Client::connect(socket).unwrap();
    let answer = client.call("wait", &json!({"id": "a"}), Manner::WAIT).unwrap();
    assert!(answer.repeated);
    server.join().unwrap();
}

#[test]
fn a_change_is_never_said_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, server) = serve(folder.path(), vec![cut_after_hearing]);
    let mut client = Client::connect(socket).unwrap();
    let error = client.call("kill", &json!({"id": "a"}), Manner::CHANGE).unwrap_err();
    assert!(error.to_string().contains("may have been done"), "{error}");
    server.join().unwrap();
}

#[test]
fn a_daemon_that_ends_meanwhile_is_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, server) = serve(folder.path(), vec![cut_after_hearing]);
    let mut client = Client::connect(socket).unwrap();
    let error = client.call("ping", &Nothing {}, Manner::READ).unwrap_err();
    assert!(matches!(error, Error::NoDaemon { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn an_error_object_is_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, server) = serve(folder.path(), vec![refuse]);
    let mut client = Client::connect(socket).unwrap();
    let error = client.call("status", &json!({"id": "x"}), Manner::READ).unwrap_err();
    assert!(matches!(&error, Error::Refused(refusal) if refusal.code == -32002), "{error}");
    server.join().unwrap();
}

#[test]
fn the_refusal_of_a_long_line_is_read_though_the_write_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, server) = serve(folder.path(), vec![refuse_before_all_is_read]);
    let mut client = Client::connect(socket).unwrap();
    let error = client.call("run", &"x".repeat(8 << 20), Manner::START).unwrap_err();
    assert!(matches!(&error, Error::Refused(refusal) if refusal.code == -32010), "{error}");
    server.join().unwrap();
}

#[test]
fn nobody_there_names_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("preforkd.sock");
    let error = Client::connect(socket.clone()).unwrap_err();
    assert!(matches!(error, Error::NoDaemon { .. }));
    assert!(error.to_string().contains(&socket.display().to_string()));
}
