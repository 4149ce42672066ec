//! Every reader of lines and messages on a walk from good ones and nasty ones: see [`crate::mutation`].

use super::channel::{ChildRequest, ErrorObject, Header, Order, ReadyInfo, Refused, Reply, ZygoteConfig};
use super::lines::LineBuffer;
use super::request::{Method, entry_shape, is_pool_name, is_run_id};
use super::rpc::{Call, Incoming, MAX_BATCH, RpcError};
use super::{http, json, phprocksyd, rpc};
use crate::mutation::walk;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const ROUNDS: usize = 20_000;
/// A walk through long lines is slow without being any wider.
const LONG_ROUNDS: usize = 30;
const MAX_LINE: usize = 1 << 20;

const CORPUS: [&str; 34] = [
    r#"{"jsonrpc":"2.0","method":"ping","id":1}"#,
    r#"{"jsonrpc":"2.0","method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":"a","method":"run","params":{"pool":"p","entry":"App\\Job","params":{"a":[1,2.5e3,null]},"id":"x:1","env":{"K":"V"},"timeout":"5m","kill_timeout":10,"output":"capture","stdin":"\u0000","wait":true}}"#,
    r#"{"jsonrpc":"2.0","id":2,"method":"run","params":{"entry":"bin/console","args":["cache:clear","-v"]}}"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"status","params":{"id":"x"}}"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"wait","params":{"id":"x","timeout":1500}}"#,
    r#"{"jsonrpc":"2.0","id":4,"method":"kill","params":{"id":"x","signal":"SIGTERM","grace":"10s"}}"#,
    r#"{"jsonrpc":"2.0","id":4,"method":"kill","params":{"id":"x","signal":9}}"#,
    r#"{"jsonrpc":"2.0","id":5,"method":"runs","params":{"pool":"p","state":"exited","limit":10,"after":"x"}}"#,
    r#"{"jsonrpc":"2.0","id":6,"method":"reload","params":{"name":"p"}}"#,
    r#"{"jsonrpc":"2.0","id":7,"method":"auth","params":{"token":"secret"}}"#,
    r#"{"jsonrpc":"2.0","id":1e999,"method":"run","params":{"entry":"e","params":1e-999999999}}"#,
    r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping","method":"info","params":{},"params":[]}"#,
    r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"wait","params":{"id":"x","timeout":-1}}"#,
    r#"[{"jsonrpc":"2.0","method":"ping","id":1},{"jsonrpc":"2.0","method":"ping"},1,[]]"#,
    r#"[[[{"jsonrpc":"2.0","method":"ping","id":1}]],[[]],[]]"#,
    "[]",
    "{}",
    r#""\ud83d\ude00\ud83d""#,
    r#"run {"hash":1,"class":"X","params":{"a":1}}"#,
    r#"run {"hash":"12","class":"App\\X"}"#,
    r#"check {"hash":1}"#,
    r#"free {"hash":-1.5}"#,
    r#"terminate {"hash":99999999999999999999}"#,
    "restart",
    "stop {}",
    "bye",
    "auth TOKEN",
    r#"foo {"bar":"\u0000"}"#,
    "GET / HTTP/1.1",
    r#"{"id":"1","entry":"X","params":[1],"env":{"K":"V"}}"#,
    r#"{"protocol":1,"pool":"p","generation":1,"preload":null,"cwd":"/","entries":null,"shutdown":"fast","cpu_time":null}"#,
    r#"{"runtime":"PHP 8.2.29","via":"ffi","warnings":["w"]}"#,
    r#"{"class":"E","message":"m","trace":"t","code":"not_found"}"#,
];

/// What keeper and master say to each other.
const LETTERS: [&[u8]; 9] = [
    b"Sworker/web/1/out",
    b"Dtcp/0",
    b"R",
    b"Q\x07",
    b"U/usr/bin/preforkd",
    b"Fwake",
    b"Bupgrade strangers",
    b"G",
    b"Nit has died",
];

fn long_corpus() -> Vec<Vec<u8>> {
    let run = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"run","params":{{"entry":"e","params":{params}}}}}"#)
    };
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    [
        nested("[", "]", 100_000),
        nested("{\"a\":", "}", 100_000),
        run(&nested("[", "]", 100_000)),
        run(&nested("[", "]", 100)),
        run(&"9".repeat(200_000)),
        run(&format!("\"{}\"", "\\u0000".repeat(50_000))),
        run(&format!("\"{}\"", "[".repeat(200_000))),
        format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"ping","id":1}"#; 1001].join(",")),
        format!("[{}]", vec!["[]"; 1000].join(",")),
        format!("[{}0]", "0,".repeat(200_000)),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "m".repeat(200_000)),
        format!(r#"{{"{}":1}}"#, "k".repeat(200_000)),
        format!("{{{}\"a\":1}}", "\"a\":1,".repeat(50_000)),
        format!("check {}", nested("[", "]", 100_000)),
        "x".repeat(300_000),
        "\0".repeat(300_000),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn check_call(call: &Call, line: &[u8]) {
    let mut out = Vec::new();
    let id = call.id.clone().unwrap_or_else(rpc::null_id);
    match &call.method {
        Err(error) => {
            assert!(error.message.len() < 4096, "a long message");
            assert!(error.code != RpcError::INTERNAL);
            rpc::write_error(&mut out, &id, error);
        }
        Ok(method) => {
            check_method(method);
            rpc::write_result(&mut out, &id, method.name());
        }
    }
    assert!(!out.contains(&b'\n') || line.contains(&b'\n'), "an answer is one line");
    serde_json::from_slice::<IgnoredAny>(&out).expect("an answer is JSON");
}

fn check_method(method: &Method) {
    match method {
        Method::Run(run) => {
            assert!(entry_shape(&run.entry).is_ok());
            assert!(run.pool.as_deref().is_none_or(is_pool_name));
            assert!(run.id.as_deref().is_none_or(is_run_id));
            assert!(run.params.is_none() || run.args.is_none());
            assert!(run.args.iter().flatten().all(|arg| !arg.contains('\0')));
            assert!(
                run.env
                    .iter()
                    .flatten()
                    .all(|(name, value)| { !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') })
            );
        }
        Method::Status { id } | Method::Wait { id, .. } | Method::Kill { id, .. } | Method::Free { id } => {
            assert!(is_run_id(id));
        }
        Method::Reload { name } => assert!(is_pool_name(name)),
        _ => {}
    }
}

fn check_rpc(line: &[u8]) {
    let text = json::text(line, json::MAX_DEPTH);
    let is_json = text.is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    match rpc::parse(line) {
        Incoming::Call(call) => {
            assert!(is_json);
            check_call(&call, line);
        }
        Incoming::Batch(calls) => {
            assert!(is_json && (1..=MAX_BATCH).contains(&calls.len()));
            calls.iter().for_each(|call| check_call(call, line));
        }
        Incoming::Invalid(error) => {
            assert_eq!(error.code == RpcError::PARSE_ERROR, !is_json);
            assert!(error.message.len() < 4096);
        }
    }
}

fn check_phprocksyd(line: &[u8]) {
    use phprocksyd::Command;
    match phprocksyd::parse(line) {
        Command::Run { id, entry, params } => {
            assert!(is_run_id(&id) && entry_shape(&entry).is_ok());
            assert!(
                params.is_none_or(|params| { line.windows(params.get().len()).any(|w| w == params.get().as_bytes()) })
            );
        }
        Command::Check { id } | Command::Free { id } | Command::Terminate { id } => {
            assert!(is_run_id(&id))
        }
        Command::Bad(answer) => {
            assert!(answer.len() < 8192 && !answer.contains(&b'\n'));
            serde_json::from_slice::<IgnoredAny>(&answer).expect("an answer is JSON");
        }
        Command::Auth { token } => assert!(!token.is_empty()),
        Command::Restart | Command::Stop | Command::Bye => {}
    }
}

fn check_channel(message: &[u8]) {
    if let Ok((header, payload)) = Header::<Order>::decode(message) {
        assert_eq!([&header.encode()[..], payload].concat(), message);
    }
    if let Ok((header, payload)) = Header::<Reply>::decode(message) {
        assert_eq!([&header.encode()[..], payload].concat(), message);
    }
    for payload in [message, message.get(16..).unwrap_or_default()] {
        let _ = serde_json::from_slice::<ChildRequest>(payload);
        let _ = serde_json::from_slice::<ZygoteConfig>(payload);
        let _ = serde_json::from_slice::<ReadyInfo>(payload);
        let _ = serde_json::from_slice::<Refused>(payload);
        let _ = serde_json::from_slice::<ErrorObject>(payload);
        if let Ok(value) = json::value(payload, json::MAX_RESULT_DEPTH) {
            assert!(!value.get().contains('\n'));
        }
    }
}

fn check_letters(message: &[u8]) {
    use super::control::{ToKeeper, ToMaster};
    if let Some(letter) = ToKeeper::decode(message) {
        assert_eq!(ToKeeper::decode(&letter.encode()), Some(letter));
    }
    if let Some(letter) = ToMaster::decode(message) {
        // A reason is cut to what fits.
        let encoded = letter.encode();
        assert!(matches!(letter, ToMaster::NoSuccessor(_)) || ToMaster::decode(&encoded) == Some(letter));
    }
}

fn check_lines(rng: &mut StdRng, bytes: &[u8]) {
    let mut buffer = LineBuffer::new(MAX_LINE);
    let mut joined = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rng.random_range(1..=rest.len().min(4096));
        buffer.push(&rest[..n]);
        rest = &rest[n..];
        while let Some(line) = buffer.next_line() {
            joined.push(line.expect("no line of this walk is too long").to_vec());
        }
    }
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let expected: Vec<&[u8]> = bytes[..whole]
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| line[..line.len() - 1].strip_suffix(b"\r").unwrap_or(&line[..line.len() - 1]))
        .collect();
    assert_eq!(joined, expected);
    assert_eq!(buffer.partial(), bytes.len() - whole);
}

fn check(rng: &mut StdRng, bytes: &[u8]) {
    check_rpc(bytes);
    check_phprocksyd(bytes);
    check_channel(bytes);
    check_letters(bytes);
    check_lines(rng, bytes);
    let _ = http::looks_like_http(bytes);
    let _ = super::protocol(bytes);
}

#[test]
fn mutated_lines_and_messages_break_no_reader() {
    let mut corpus: Vec<Vec<u8>> = CORPUS.iter().map(|line| line.as_bytes().to_vec()).collect();
    let payload = br#"{"id":"1","entry":"X","params":[1]}"#;
    for (number, flags) in [(1u16, 3u16), (1, 2), (4, 2), (4, 6), (16, 0), (20, 0), (23, 0), (23, 4), (24, 0)] {
        let mut message = [&number.to_le_bytes()[..], &flags.to_le_bytes()[..]].concat();
        message.extend_from_slice(&[7; 12]);
        message.extend_from_slice(payload);
        corpus.push(message);
    }
    corpus.extend(LETTERS.map(<[u8]>::to_vec));
    walk(ROUNDS, &corpus, check);
}

#[test]
fn long_and_deep_lines_break_no_reader() {
    walk(LONG_ROUNDS, &long_corpus(), check);
}
