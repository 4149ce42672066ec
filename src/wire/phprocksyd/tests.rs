use super::*;
use proptest::prelude::*;

fn answer(line: &[u8]) -> String {
    match parse(line) {
        Command::Bad(answer) => String::from_utf8(answer).unwrap(),
        other => panic!("{}: {other:?}", String::from_utf8_lossy(line)),
    }
}

#[test]
fn a_run() {
    let Command::Run { id, entry, params } =
        parse(br#"run {"hash":17,"class":"App\\Job","params":{"a": [1]},"other":1}"#)
    else {
        panic!("no run")
    };
    assert_eq!((id.as_str(), entry.as_str(), params.unwrap().get()), ("17", "App\\Job", r#"{"a": [1]}"#));
    assert!(matches!(parse(br#"run {"hash":"17","class":"X"}"#), Command::Run { params: None, .. }));
    let null = parse(br#"run {"hash":"17","class":"X","params":null}"#);
    assert!(matches!(null, Command::Run { params: Some(params), .. } if params.get() == "null"));
}

#[test]
fn the_hash_becomes_an_id() {
    for (hash, expected) in [
        ("1", "1"),
        ("0", "0"),
        ("-5", "-5"),
        ("18446744073709551616", "18446744073709551616"),
        ("1.50", "1.50"),
        (r#""1""#, "1"),
        (r#""007""#, "007"),
        (r#""-1.5""#, "-1.5"),
    ] {
        let line = format!(r#"check {{"hash":{hash}}}"#);
        assert!(matches!(parse(line.as_bytes()), Command::Check { id } if id == expected), "{line}");
    }
    for hash in [
        "null",
        "true",
        "[]",
        "{}",
        r#""""#,
        r#""a""#,
        r#""1a""#,
        r#"" 1""#,
        r#""+1""#,
        "1e3",
        r#""1e3""#,
        r#"".5""#,
        r#""5.""#,
        r#""-""#,
        r#""1.2.3""#,
        r#""\u0031""#,
        r#""--1""#,
    ] {
        assert_eq!(answer(format!(r#"check {{"hash":{hash}}}"#).as_bytes()), r#"{"error_text":"Hash is not numeric"}"#);
    }
    assert_eq!(
        answer(format!(r#"check {{"hash":{}}}"#, "1".repeat(65)).as_bytes()),
        r#"{"error_text":"Hash is not numeric"}"#
    );
}

#[test]
fn the_answers_of_old() {
    for (line, expected) in [
        ("foo", r#"{"error_text":"UNKNOWN REQUEST 'request_foo': {}"}"#),
        (r#"foo {"a":1}"#, r#"{"error_text":"UNKNOWN REQUEST 'request_foo': {\"a\":1}"}"#),
        (r#"run {"hash":"x","class":"X"}"#, r#"{"error_text":"hash is not numeric"}"#),
        ("run", r#"{"error_text":"hash is not numeric"}"#),
        ("check", r#"{"error_text":"Hash is not numeric"}"#),
        ("free", r#"{"error_text":"Hash not found"}"#),
        (r#"terminate {"hash":"x"}"#, r#"{"error_text":"Hash not found"}"#),
        (r#"run {"hash":1}"#, r#"{"error_text":"class is not a string"}"#),
        (r#"run {"hash":1,"class":""}"#, r#"{"error_text":"class is empty"}"#),
        (r#"run {"hash":1,"class":"a\u0000"}"#, r#"{"error_text":"class holds a control character"}"#),
        ("run 5", r#"{"error_text":"Malformed JSON: not an object"}"#),
        (r#"run [1,"X"]"#, r#"{"error_text":"Malformed JSON: not an object"}"#),
        ("auth", r#"{"error_text":"auth needs a token: auth TOKEN"}"#),
        ("RUN {}", r#"{"error_text":"UNKNOWN REQUEST 'request_RUN': {}"}"#),
    ] {
        assert_eq!(answer(line.as_bytes()), expected, "{line}");
    }
    for line in [&b"check {"[..], b"check {\"hash\":1,\"hash\":2}", b"check \xff", b"bye {}}", b"check {\"hash\":1}\0"]
    {
        assert!(answer(line).starts_with(r#"{"error_text":"Malformed JSON: "#), "{}", String::from_utf8_lossy(line));
    }
    assert!(answer(["check ".to_owned(), "[".repeat(100_000)].concat().as_bytes()).contains("nested deeper than 128"));
}

#[test]
fn the_other_commands() {
    assert!(matches!(parse(br#"free {"hash":1}"#), Command::Free { id } if id == "1"));
    assert!(matches!(parse(br#"terminate {"hash":1}"#), Command::Terminate { id } if id == "1"));
    for line in ["stop", "stop {}", "stop []", "stop\t{} ", " stop"] {
        assert!(matches!(parse(line.as_bytes()), Command::Stop), "{line}");
    }
    assert!(matches!(parse(b"restart"), Command::Restart));
    assert!(matches!(parse(b"bye"), Command::Bye));
    assert!(matches!(parse(b"auth  a b{ "), Command::Auth { token } if token == "a b{"));
}

#[test]
fn what_is_repeated_is_bounded_and_clean() {
    let long = [b"x".repeat(1 << 20), b" \xff\x1b[".to_vec(), b"y".repeat(1 << 20)].concat();
    let text = answer(&long);
    assert!(text.len() < 2000);
    assert!(text.contains("\u{fffd}\\u001b["));
}

#[test]
fn codes() {
    let write = |code, signal| {
        let mut out = Vec::new();
        retcode(&mut out, code, signal);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(write(0, None), r#"{"retcode":0}"#);
    assert_eq!(write(137, Some(9)), r#"{"retcode":137,"signal":9}"#);
}

proptest! {
    #[test]
    fn any_line_is_a_command_or_has_an_answer(
        word in "run|check|free|terminate|restart|stop|bye|auth|[a-z]{1,5}",
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let line = [word.as_bytes(), b" ", &rest].concat();
        match parse(&line) {
            Command::Bad(answer) => {
                prop_assert!(!answer.contains(&b'\n'));
                let value: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                prop_assert!(value["error_text"].is_string());
            }
            Command::Run { id, .. } | Command::Check { id } | Command::Free { id } | Command::Terminate { id } => {
                prop_assert!(is_run_id(&id));
            }
            _ => {}
        }
    }

    #[test]
    fn every_integer_is_its_own_id(hash: i64) {
        let line = format!(r#"free {{"hash":{hash}}}"#);
        let freed = matches!(parse(line.as_bytes()), Command::Free { id } if id == hash.to_string());
        prop_assert!(freed);
    }
}
