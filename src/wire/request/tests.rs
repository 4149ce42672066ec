use super::*;
use crate::wire::info::Role;
use crate::wire::rpc::RpcError;
use proptest::prelude::*;
use serde_json::json;

fn method(name: &str, params: &str) -> Result<Method, RpcError> {
    let raw: Box<RawValue> = serde_json::from_str(params).unwrap();
    Method::parse(name, Some(&raw))
}

fn run(params: &str) -> Run {
    match method("run", params) {
        Ok(Method::Run(run)) => *run,
        other => panic!("{params}: {other:?}"),
    }
}

fn refusal(name: &str, params: &str) -> String {
    let error = method(name, params).unwrap_err();
    assert_eq!(error.code, RpcError::INVALID_PARAMS, "{error}");
    error.message
}

#[test]
fn a_full_run() {
    let run =
        run(r#"{"pool":"billing","entry":"App\\Jobs\\Invoice","params":{"n" :1e999},"id":"inv:7","env":{"A":"=b"},
        "timeout":"5m","kill_timeout":250,"output":"capture","stdin":"a\u0000b","wait":true}"#);
    assert_eq!(run.pool.as_deref(), Some("billing"));
    assert_eq!(run.entry, "App\\Jobs\\Invoice");
    assert_eq!(run.params.unwrap().get(), r#"{"n" :1e999}"#);
    assert_eq!(run.id.as_deref(), Some("inv:7"));
    assert_eq!(run.env.unwrap()["A"], "=b");
    assert_eq!(run.timeout, Some(Duration::from_secs(300)));
    assert_eq!(run.kill_timeout, Some(Duration::from_millis(250)));
    assert_eq!(run.output, Some(Output::Capture));
    assert_eq!(run.stdin.as_deref(), Some("a\0b"));
    assert!(run.wait);
    assert!(run.args.is_none());
}

#[test]
fn null_is_absence_but_for_params() {
    let bare = run(
        r#"{"entry":"e","pool":null,"args":null,"id":null,"env":null,"timeout":null,"output":null,"stdin":null,"wait":null}"#,
    );
    assert!(bare.params.is_none() && bare.args.is_none() && bare.timeout.is_none() && !bare.wait);
    assert_eq!(run(r#"{"entry":"e","params":null}"#).params.unwrap().get(), "null");
    let script = run(r#"{"entry":"e","params":null,"args":["a"]}"#);
    assert!(script.params.is_none());
    assert_eq!(script.args.unwrap(), ["a"]);
}

#[test]
fn a_refusal_names_the_key() {
    for (params, part) in [
        (r#"{}"#, "`entry` is missing"),
        (r#"{"entry":""}"#, "`entry` is empty"),
        (r#"{"entry":"a\u0007"}"#, "`entry` holds a control character"),
        (r#"{"entry":"a\u0085"}"#, "`entry` holds a control character"),
        (r#"{"entry":5}"#, "`entry`: invalid type: integer `5`, expected a string"),
        (r#"{"entry":"e","tiemout":1}"#, r#"unknown key "tiemout", did you mean "timeout"?"#),
        (r#"{"entry":"e","Timeout":1}"#, r#"unknown key "Timeout", did you mean "timeout"?"#),
        (r#"{"entry":"e","colour":1}"#, r#"unknown key "colour", known are pool, entry, params"#),
        (r#"{"entry":"e","entry":"f"}"#, "`entry` is there twice"),
        (r#"{"entry":"e","params":1,"params":2}"#, "`params` is there twice"),
        (r#"{"entry":"e","params":1,"args":[]}"#, "`params` and `args` together"),
        (r#"{"entry":"e","args":["a\u0000"]}"#, "`args`: holds a NUL"),
        (r#"{"entry":"e","args":"a"}"#, "`args`: invalid type"),
        (r#"{"entry":"e","env":{"":"x"}}"#, r#"`env`: "" cannot be a variable's name"#),
        (r#"{"entry":"e","env":{"A=B":"x"}}"#, r#"`env`: "A=B" cannot"#),
        (r#"{"entry":"e","env":{"A":"\u0000"}}"#, r#"`env`: "A" holds a NUL"#),
        (r#"{"entry":"e","env":{"A":"1","A":"2"}}"#, r#"`env`: "A" is there twice"#),
        (r#"{"entry":"e","env":{"A":1}}"#, "`env`: invalid type"),
        (r#"{"entry":"e","timeout":"soon"}"#, r#"`timeout`: "soon" is not a duration such as 500ms"#),
        (r#"{"entry":"e","timeout":-1}"#, "`timeout`: invalid type: integer `-1`"),
        (r#"{"entry":"e","timeout":1e999}"#, "`timeout`: "),
        (r#"{"entry":"e","timeout":0}"#, "`timeout` is 0"),
        (r#"{"entry":"e","output":"syslog"}"#, "`output`: unknown variant `syslog`, expected one of `log`"),
        (r#"{"entry":"e","wait":"yes"}"#, "`wait`: invalid type"),
        (r#"{"entry":"e","id":"a b"}"#, "`id` is not a run's id: 1 to 64 of"),
        (r#"{"entry":"e","pool":"-x"}"#, "`pool` is not a pool's name"),
        (r#"["p","e"]"#, "params are given by name"),
    ] {
        let message = refusal("run", params);
        assert!(message.contains(part), "{params}: {message}");
    }
    assert!(refusal("run", &format!(r#"{{"entry":"{}"}}"#, "a".repeat(256))).contains("longer than 255"));
    assert_eq!(run(&format!(r#"{{"entry":"{}"}}"#, "a".repeat(255))).entry.len(), 255);
}

#[test]
fn a_refusal_does_not_repeat_a_megabyte() {
    let long = "x".repeat(1 << 20);
    for params in [
        format!(r#"{{"entry":"e","wait":"{long}"}}"#),
        format!(r#"{{"entry":"e","output":"{long}"}}"#),
        format!(r#"{{"entry":"e","timeout":"{long}"}}"#),
        format!(r#"{{"entry":"e","{long}":1}}"#),
        format!(r#"{{"entry":"e","env":{{"{long}=":"1"}}}}"#),
    ] {
        assert!(refusal("run", &params).len() < 1000);
    }
    assert!(Method::parse(&long, None).unwrap_err().message.len() < 200);
}

#[test]
fn the_other_methods() {
    assert!(matches!(method("status", r#"{"id":"a"}"#), Ok(Method::Status { id }) if id == "a"));
    assert!(matches!(
        method("wait", r#"{"id":"a","timeout":0}"#),
        Ok(Method::Wait { timeout: Some(Duration::ZERO), .. })
    ));
    assert!(matches!(method("wait", r#"{"id":"a"}"#), Ok(Method::Wait { timeout: None, .. })));
    for signal in [r#""TERM""#, r#""sigterm""#, r#""15""#, "15"] {
        match method("kill", &format!(r#"{{"id":"a","signal":{signal},"grace":"1s"}}"#)) {
            Ok(Method::Kill { signal, grace, .. }) => {
                assert_eq!((signal, grace), (Some(15), Some(Duration::from_secs(1))));
            }
            other => panic!("{signal}: {other:?}"),
        }
    }
    assert!(matches!(method("kill", r#"{"id":"a"}"#), Ok(Method::Kill { signal: None, grace: None, .. })));
    assert!(matches!(method("kill", r#"{"id":"a","signal":null}"#), Ok(Method::Kill { signal: None, .. })));
    for signal in ["0", "-9", "65", "32", r#""STOPP""#, "9.0", "[]", "true"] {
        let message = refusal("kill", &format!(r#"{{"id":"a","signal":{signal}}}"#));
        assert!(message.starts_with("`signal`: "), "{message}");
    }
    assert!(matches!(method("free", r#"{"id":"a"}"#), Ok(Method::Free { id }) if id == "a"));
    assert!(refusal("free", "{}").contains("`id` is missing"));
    let filter = RunsFilter {
        pool: Some("p".to_owned()),
        state: Some(State::Running),
        limit: Some(5),
        after: Some("x".to_owned()),
    };
    assert!(
        matches!(method("runs", r#"{"pool":"p","state":"running","limit":5,"after":"x"}"#), Ok(Method::Runs(f)) if f == filter)
    );
    assert!(matches!(method("runs", "{}"), Ok(Method::Runs(f)) if f == RunsFilter::default()));
    assert!(refusal("runs", r#"{"limit":1001}"#).contains("1 to 1000"));
    assert!(refusal("runs", r#"{"limit":0}"#).contains("1 to 1000"));
    assert!(refusal("runs", r#"{"state":"dead"}"#).contains("`state`: unknown variant"));
    assert!(matches!(method("reload", r#"{"name":"p"}"#), Ok(Method::Reload { name }) if name == "p"));
    assert!(matches!(method("auth", r#"{"token":"t"}"#), Ok(Method::Auth { token }) if token == "t"));
    assert!(refusal("ping", r#"{"x":1}"#).contains("there are no params"));
    for name in ["pools", "list", "ping", "info", "shutdown"] {
        for params in ["{}", "[]", "[ ]"] {
            assert_eq!(method(name, params).unwrap().name(), name);
        }
        assert_eq!(Method::parse(name, None).unwrap().name(), name);
    }
}

#[test]
fn the_list_of_methods_is_what_is_parsed() {
    for name in METHODS {
        match Method::parse(name, None) {
            Ok(method) => assert_eq!(method.name(), name),
            Err(error) => assert_eq!(error.code, RpcError::INVALID_PARAMS, "{name}: {error}"),
        }
    }
    let error = Method::parse("stauts", None).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (-32601, r#"no method "stauts", did you mean "status"?"#));
}

#[test]
fn roles() {
    let role = |name: &str| {
        method(name, r#"{"id":"a"}"#)
            .or_else(|_| method(name, r#"{"entry":"a"}"#))
            .or_else(|_| method(name, "{}"))
            .map(|m| m.role())
    };
    for name in ["run", "status", "wait", "kill", "free", "runs", "ping"] {
        assert_eq!(role(name), Ok(Role::Run), "{name}");
    }
    for name in ["pools", "list", "info", "shutdown"] {
        assert_eq!(role(name), Ok(Role::Admin), "{name}");
    }
    assert_eq!(method("reload", r#"{"name":"p"}"#).unwrap().role(), Role::Admin);
    assert_eq!(method("auth", r#"{"token":"p"}"#).unwrap().role(), Role::None);
    assert!(Role::None < Role::Run && Role::Run < Role::Admin);
}

proptest! {
    #[test]
    fn any_valid_run_comes_through(
        pool in prop::option::of("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
        entry in "[^\\p{Cc}]{1,60}",
        params in prop::option::of(any::<Vec<(String, i64)>>()),
        args in any::<Vec<String>>(),
        id in prop::option::of("[A-Za-z0-9._:-]{1,64}"),
        env in prop::collection::btree_map("[^=\\x00]{1,20}", "[^\\x00]{0,20}", 0..5),
        stdin in any::<Option<String>>(),
        wait: bool,
        timeout in prop::option::of(1u64..1_000_000_000),
    ) {
        let args: Vec<String> = args.into_iter().map(|arg| arg.replace('\0', "")).collect();
        let mut request = json!({"entry": entry, "env": env, "wait": wait, "pool": pool, "id": id, "stdin": stdin, "timeout": timeout});
        match &params {
            Some(params) => request["params"] = json!(params),
            None => request["args"] = json!(args),
        }
        let run = run(&request.to_string());
        prop_assert_eq!(run.pool, pool);
        prop_assert_eq!(run.entry, entry);
        prop_assert_eq!(run.id, id);
        prop_assert_eq!(run.env, Some(env));
        prop_assert_eq!(run.stdin, stdin);
        prop_assert_eq!(run.wait, wait);
        prop_assert_eq!(run.timeout, timeout.map(Duration::from_millis));
        prop_assert_eq!(run.params.is_some(), params.is_some());
        prop_assert_eq!(run.args, if params.is_some() { None } else { Some(args) });
    }

    #[test]
    fn ids_and_names_are_what_the_contract_says(text in "\\PC{0,70}|[A-Za-z0-9._:-]{0,70}") {
        let plain = (1..=64).contains(&text.len());
        let of = |extra: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        prop_assert_eq!(is_run_id(&text), plain && of("._:-"));
        prop_assert_eq!(is_pool_name(&text), plain && of("._-") && !text.starts_with(['.', '_', '-']));
    }
}
