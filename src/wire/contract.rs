//! Holds `proto/` and the types to each other: the page, the schema and the transcripts say what the code does.

use super::info::{Counts, Info, Limits, PoolInfo, PoolState};
use super::request::{METHODS, Method};
use super::rpc::{self, Incoming, RpcError};
use super::status::{State, Status, Usage};
use super::{Protocol, phprocksyd, protocol};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../proto/PROTOCOL.md");
const SCHEMA: &str = include_str!("../../proto/schema/protocol.json");
const GOLDEN: [(&str, &str); 14] = [
    ("apps", include_str!("../../proto/golden/apps.jsonl")),
    ("batches", include_str!("../../proto/golden/batches.jsonl")),
    ("duplicates", include_str!("../../proto/golden/duplicates.jsonl")),
    ("errors", include_str!("../../proto/golden/errors.jsonl")),
    ("kill", include_str!("../../proto/golden/kill.jsonl")),
    ("limits", include_str!("../../proto/golden/limits.jsonl")),
    ("notifications", include_str!("../../proto/golden/notifications.jsonl")),
    ("phprocksyd", include_str!("../../proto/golden/phprocksyd.jsonl")),
    ("ping", include_str!("../../proto/golden/ping.jsonl")),
    ("roles", include_str!("../../proto/golden/roles.jsonl")),
    ("run", include_str!("../../proto/golden/run.jsonl")),
    ("status", include_str!("../../proto/golden/status.jsonl")),
    ("streams", include_str!("../../proto/golden/streams.jsonl")),
    ("stop", include_str!("../../proto/golden/stop.jsonl")),
];

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn required(definition: &Value) -> BTreeSet<String> {
    serde_json::from_value(definition["required"].clone()).unwrap()
}

fn shape<T: Serialize>(value: &T) -> BTreeSet<String> {
    keys(&serde_json::to_value(value).unwrap())
}

fn pool() -> PoolInfo {
    PoolInfo {
        name: "p".to_owned(),
        runtime: "php".to_owned(),
        state: PoolState::Ready,
        generation: 1,
        zygote_pid: None,
        idle: 0,
        idle_wanted: 0,
        running: 0,
        queued: 0,
        max_running: 64,
        max_queued: 1000,
        runs_total: 0,
        failed_total: 0,
        error: None,
        default: true,
        runtime_version: None,
        warnings: Vec::new(),
        preload_ms: None,
        memory_bytes: None,
        huge_bytes: None,
        fork_us: None,
    }
}

fn info() -> Info {
    Info {
        version: "0.1.0".to_owned(),
        keeper_pid: 1,
        master_pid: 2,
        uptime_ms: 3,
        dir: "/run".to_owned(),
        listen: Vec::new(),
        counts: Counts::default(),
        limits: Limits::default(),
        warning: None,
    }
}

#[test]
fn what_is_answered_has_the_schemas_keys_and_the_pages() {
    let definitions = &schema()["$defs"];
    for (name, shape) in [
        ("status", shape(&Status::new("a", "p", "e", State::Queued))),
        ("usage", shape(&Usage::default())),
        ("pool", shape(&pool())),
        ("info", shape(&info())),
    ] {
        assert_eq!(required(&definitions[name]), shape, "{name}");
        for key in shape {
            assert!(PAGE.contains(&format!("`{key}`")), "PROTOCOL.md does not tell of {name}'s {key}");
        }
    }
    assert_eq!(required(&definitions["info"]["properties"]["counts"]), shape(&Counts::default()));
    assert_eq!(required(&definitions["info"]["properties"]["limits"]), shape(&Limits::default()));
    for key in shape(&Counts::default()).union(&shape(&Limits::default())) {
        assert!(PAGE.contains(&format!("`{key}`")), "PROTOCOL.md does not tell of {key}");
    }
    let states: Vec<State> = serde_json::from_value(definitions["state"]["enum"].clone()).unwrap();
    assert_eq!(states, State::ALL);
}

#[test]
fn every_method_is_in_the_schema_and_on_the_page() {
    let definitions = &schema()["$defs"];
    let calls = definitions["call"]["oneOf"].as_array().unwrap();
    let named: BTreeSet<&str> =
        calls.iter().filter_map(|call| call["properties"]["method"]["const"].as_str()).collect();
    assert_eq!(named, METHODS.into_iter().collect());
    for name in METHODS {
        assert!(definitions[format!("result_{name}")].is_object(), "{name}");
        assert!(PAGE.contains(&format!("| `{name}` | ")), "PROTOCOL.md does not tell of {name}");
    }
}

#[test]
fn every_key_of_params_in_the_schema_is_one_the_parser_knows() {
    let definitions = schema()["$defs"].clone();
    for name in METHODS {
        let known = &definitions[format!("params_{name}")]["properties"];
        for key in known.as_object().into_iter().flat_map(|known| known.keys()) {
            let line = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": {key: [[]]}}).to_string();
            let error = match rpc::parse(line.as_bytes()) {
                Incoming::Call(call) => call.method.err().map(|error| error.message).unwrap_or_default(),
                other => panic!("{other:?}"),
            };
            assert!(!error.contains("unknown key"), "{name}: {error}");
        }
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": {"no such key": 1}}).to_string();
        let Incoming::Call(call) = rpc::parse(line.as_bytes()) else { panic!("{line}") };
        let error = call.method.unwrap_err().message;
        if let Some((_, listed)) = error.split_once("known are ") {
            let listed: BTreeSet<String> = listed.split(", ").map(str::to_owned).collect();
            assert_eq!(listed, keys(known), "{name}");
        } else {
            assert!(known.is_null() && error.contains("there are no params"), "{name}: {error}");
        }
    }
}

#[test]
fn every_error_is_in_the_schema_and_on_the_page() {
    let listed: Vec<(i64, String)> = schema()["$defs"]["error"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["properties"])
        .map(|error| {
            let kind = error["data"]["properties"]["kind"]["const"].as_str().unwrap();
            (error["code"]["const"].as_i64().unwrap(), kind.to_owned())
        })
        .collect();
    let there: Vec<(i64, String)> =
        RpcError::ALL.iter().map(|(code, kind)| (i64::from(*code), (*kind).to_owned())).collect();
    assert_eq!(listed, there);
    for (code, kind) in RpcError::ALL {
        assert!(PAGE.contains(&format!("| {code} | `{kind}` |")), "PROTOCOL.md does not tell of {code} {kind}");
    }
}

/// The error codes that the parser alone decides about.
const OF_THE_PARSER: [i64; 4] = [-32700, -32600, -32601, -32602];

/// What the parser makes of a line: the codes of its errors, `None` for a call that may be obeyed.
fn codes(line: &[u8]) -> Vec<Option<i64>> {
    let code = |method: Result<Method, RpcError>| method.err().map(|error| i64::from(error.code));
    match rpc::parse(line) {
        Incoming::Call(call) if call.id.is_none() => Vec::new(),
        Incoming::Call(call) => vec![code(call.method)],
        Incoming::Batch(calls) => {
            calls.into_iter().filter(|call| call.id.is_some()).map(|call| code(call.method)).collect()
        }
        Incoming::Invalid(error) => vec![Some(error.code.into())],
    }
}

fn expected(pattern: &Value) -> Vec<Option<i64>> {
    let one = |pattern: &Value| pattern["error"]["code"].as_i64().filter(|code| OF_THE_PARSER.contains(code));
    match pattern {
        Value::Array(patterns) => patterns.iter().map(one).collect(),
        pattern => vec![one(pattern)],
    }
}

#[test]
fn the_transcripts_are_well_formed_and_the_parser_agrees_with_them() {
    let mut checked = 0;
    for (name, transcript) in GOLDEN {
        let steps: Vec<Value> = transcript.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (at, step) in steps.iter().enumerate() {
            let (word, value) = step.as_object().filter(|step| step.len() == 1).and_then(|s| s.iter().next()).unwrap();
            let known = match word.as_str() {
                "note" | "send" | "send_raw" => value.is_string(),
                "connect" => value == "unix" || value == "tcp",
                "send_repeat" => value[0].is_string() && value[1].is_u64() && value[2].is_string(),
                "expect" | "expect_later" => value.is_object() || value.is_array(),
                "expect_unordered" => value.is_array(),
                "expect_close" => value == true,
                _ => false,
            };
            assert!(known, "{name}, line {}: {step}", at + 1);
            let (Some(sent), Some(pattern)) = (step["send"].as_str(), steps.get(at + 1).and_then(|s| s.get("expect")))
            else {
                continue;
            };
            let line = sent.replace("${ID}", "x");
            if protocol(line.as_bytes()) == Protocol::Rpc {
                let codes = codes(line.as_bytes());
                // A notification and what comes after it: the answer is another line's.
                if !codes.is_empty() {
                    assert_eq!(codes, expected(pattern), "{name}, line {}: {sent}", at + 1);
                    checked += 1;
                }
            } else if let phprocksyd::Command::Bad(answer) = phprocksyd::parse(line.as_bytes()) {
                let answer: Value = serde_json::from_slice(&answer).unwrap();
                let text = pattern["error_text"].as_str().unwrap();
                assert!(text.starts_with('<') || answer["error_text"] == text, "{name}, line {}: {answer}", at + 1);
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "only {checked} lines were checked");
}
