use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn call(line: &str) -> Call {
    match parse(line.as_bytes()) {
        Incoming::Call(call) => call,
        other => panic!("{line}: {other:?}"),
    }
}

fn invalid(line: &[u8]) -> RpcError {
    match parse(line) {
        Incoming::Invalid(error) => error,
        other => panic!("{other:?}"),
    }
}

fn id(call: &Call) -> Option<&str> {
    call.id.as_deref().map(RawValue::get)
}

#[test]
fn ids_are_echoed_as_they_came() {
    for raw in ["1", "1.50", "-0", "1e400", "\"a\\u0041\"", "null", "12345678901234567890123"] {
        let call = call(&format!(r#"{{"jsonrpc":"2.0","method":"ping","id":{raw}}}"#));
        assert_eq!(id(&call), Some(raw));
        assert!(call.method.is_ok());
    }
    let notification = call(r#"{"jsonrpc":"2.0","method":"ping"}"#);
    assert!(notification.id.is_none() && notification.method.is_ok());
}

#[test]
fn an_invalid_request_is_answered_with_its_id_where_there_is_one() {
    for (line, expected) in [
        (r#"{"jsonrpc":"2.0","method":1,"params":"bar"}"#, "null"),
        (r#"{"jsonrpc":"1.0","method":"ping","id":3}"#, "3"),
        (r#"{"method":"ping","id":"x"}"#, "\"x\""),
        (r#"{"jsonrpc":2.0,"method":"ping","id":3}"#, "3"),
        (r#"{"jsonrpc":"2.0","id":3}"#, "3"),
        (r#"{"jsonrpc":"2.0","method":"ping","params":"bar","id":3}"#, "3"),
        (r#"{"jsonrpc":"2.0","method":"ping","params":null,"id":3}"#, "3"),
        (r#"{"jsonrpc":"2.0","method":"ping","id":[]}"#, "null"),
        (r#"{"jsonrpc":"2.0","method":"ping","id":{}}"#, "null"),
        (r#"{"jsonrpc":"2.0","method":"ping","id":true}"#, "null"),
        (r#"{"jsonrpc":"2.0","method":"ping","parms":{},"id":3}"#, "3"),
        (r#"{"jsonrpc":"2.0","method":"ping","method":"info","id":3}"#, "3"),
        (r#"{"jsonrpc":"2.0","method":"ping","meth\u006fd":"info","id":3}"#, "3"),
        ("{}", "null"),
    ] {
        let call = call(line);
        assert_eq!(call.method.as_ref().unwrap_err().code, RpcError::INVALID_REQUEST, "{line}");
        assert_eq!(id(&call), Some(expected), "{line}");
    }
    let typo = call(r#"{"jsonrpc":"2.0","method":"ping","parms":{},"id":3}"#);
    assert_eq!(typo.method.unwrap_err().message, r#"unknown key "parms", did you mean "params"?"#);
}

#[test]
fn a_notification_stays_one_whatever_it_asks_for() {
    for line in [
        r#"{"jsonrpc":"2.0","method":"nothing"}"#,
        r#"{"jsonrpc":"2.0","method":"run","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"ping","params":[1]}"#,
    ] {
        let call = call(line);
        assert!(call.id.is_none() && call.method.is_err(), "{line}");
    }
}

#[test]
fn escapes_in_names_mean_what_they_mean() {
    let call = call(r#"{"json\u0072pc":"\u0032.0","\u006dethod":"p\u0069ng","id":1}"#);
    assert_eq!(call.method.unwrap().name(), "ping");
}

#[test]
fn batches() {
    let Incoming::Batch(calls) = parse(
        br#"[{"jsonrpc":"2.0","method":"ping","id":1}, 1, [], {"jsonrpc":"2.0","method":"ping"}, {"foo":"boo"}, [[{}]]]"#,
    ) else {
        panic!("no batch")
    };
    let seen: Vec<_> =
        calls.iter().map(|call| (id(call), call.method.as_ref().err().map(|error| error.code))).collect();
    let refused = (Some("null"), Some(-32600));
    assert_eq!(seen, [(Some("1"), None), refused, refused, (None, None), refused, refused]);

    assert_eq!(invalid(b"[]").code, -32600);
    assert_eq!(invalid(b" [ ] ").code, -32600);
    assert_eq!(invalid(br#"[{"jsonrpc":"2.0","method":"ping","id":1},{"jsonrpc"]"#).code, -32700);
    let of = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    assert!(matches!(parse(of(1000).as_bytes()), Incoming::Batch(calls) if calls.len() == 1000));
    assert_eq!(invalid(of(1001).as_bytes()).message, "a batch is at most 1000 calls");
    assert_eq!(invalid(of(500_000).as_bytes()).code, -32600);
    assert_eq!(invalid(format!("{},", of(1001)).as_bytes()).code, -32700);
}

#[test]
fn what_is_no_json_is_a_parse_error() {
    let nested = |open: &str| open.repeat(100_000).into_bytes();
    let lines: [Vec<u8>; 14] = [
        b"".to_vec(),
        b"{".to_vec(),
        b"\0".to_vec(),
        b"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":\"\0\"}".to_vec(),
        b"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\0".to_vec(),
        b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\",\"id\":1}".to_vec(),
        br#"{"jsonrpc":"2.0","method":"ping","id":1} {}"#.to_vec(),
        br#"{"jsonrpc":"2.0","method":"ping","id":"\ud800"}"#.to_vec(),
        br#"{"jsonrpc":"2.0","method":"ping","id":01}"#.to_vec(),
        br#"{'jsonrpc':"2.0"}"#.to_vec(),
        nested("["),
        nested("{\"a\":"),
        nested("[{\"a\":"),
        [nested("["), nested("]")].concat(),
    ];
    for line in lines {
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        assert_eq!(invalid(&line).code, RpcError::PARSE_ERROR, "{shown}");
    }
    assert_eq!(invalid(b"17").code, RpcError::INVALID_REQUEST);
    assert_eq!(invalid(b"\"run\"").code, RpcError::INVALID_REQUEST);
}

#[test]
fn answers_are_one_line_each() {
    let mut out = Vec::new();
    write_result(&mut out, RawValue::NULL, &json!({"a": "x\ny"}));
    out.push(b'\n');
    write_error(&mut out, RawValue::TRUE, &RpcError::queue_full("pool \"p\":\n64 run and 1000 wait"));
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"jsonrpc":"2.0","id":null,"result":{"a":"x\ny"}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":true,"error":{"code":-32005,"message":"pool \"p\":\n64 run and 1000 wait","data":{"kind":"queue_full"}}}"#
        )
    );
}

#[test]
fn a_result_that_cannot_be_written_is_an_internal_error_and_leaves_nothing_half() {
    let unwritable = std::collections::HashMap::from([(vec![1u8], 1u8)]);
    let mut out = b"before".to_vec();
    write_result(&mut out, RawValue::NULL, &unwritable);
    let answer: Value = serde_json::from_slice(out.strip_prefix(b"before").unwrap()).unwrap();
    assert_eq!(answer["error"]["code"], -32603);
}

#[test]
fn codes_and_kinds_are_each_there_once() {
    let mut codes: Vec<i32> = RpcError::ALL.iter().map(|(code, _)| *code).collect();
    let mut kinds: Vec<&str> = RpcError::ALL.iter().map(|(_, kind)| *kind).collect();
    let there = codes.len();
    codes.sort_unstable();
    codes.dedup();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!((codes.len(), kinds.len()), (there, there));
    assert!(RpcError::ALL.iter().filter(|(code, _)| *code > -32600).all(|(code, _)| (-32016..=-32000).contains(code)));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("id|method|params|jsonrpc|entry|timeout|\\PC{0,4}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_json_is_a_call_a_batch_or_invalid_and_never_a_parse_error(value in any_json()) {
        match (parse(value.to_string().as_bytes()), &value) {
            (Incoming::Call(_), Value::Object(_)) => {}
            (Incoming::Batch(calls), Value::Array(members)) => prop_assert_eq!(calls.len(), members.len()),
            (Incoming::Invalid(error), Value::Array(members)) => {
                prop_assert!(members.is_empty());
                prop_assert_eq!(error.code, RpcError::INVALID_REQUEST);
            }
            (Incoming::Invalid(error), _) => prop_assert_eq!(error.code, RpcError::INVALID_REQUEST),
            (other, _) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn params_of_a_run_are_passed_on_as_text(value in any_json(), id: String) {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": "run", "params": {"entry": "e", "params": value}});
        let call = call(&line.to_string());
        prop_assert_eq!(serde_json::from_str::<String>(call.id.unwrap().get()).unwrap(), id);
        let Ok(Method::Run(run)) = call.method else { return Err(TestCaseError::fail("not a run")) };
        let text = run.params.unwrap();
        prop_assert_eq!(text.get(), value.to_string());
    }

    #[test]
    fn an_answer_is_one_line_of_json(id in any_json(), message: String, result in any_json()) {
        let id = serde_json::value::to_raw_value(&id).unwrap();
        let mut out = Vec::new();
        write_error(&mut out, &id, &RpcError::forbidden(message.clone()));
        prop_assert!(!out.contains(&b'\n'));
        let answer: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(&answer["error"]["message"], &Value::from(message));
        out.clear();
        write_result(&mut out, &id, &result);
        prop_assert!(!out.contains(&b'\n'));
        prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
    }
}
