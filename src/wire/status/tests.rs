use super::*;
use proptest::prelude::*;

#[test]
fn all_keys_are_there_in_the_contracts_order() {
    let json = serde_json::to_string(&Status::new("a", "p", "e", State::Queued)).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"id":"a","pool":"p","entry":"e","state":"queued","pid":null,"generation":null,"exit_code":null,"#,
            r#""signal":null,"signal_name":null,"core_dumped":null,"timed_out":false,"result":null,"error":null,"#,
            r#""stdout":null,"stderr":null,"queued_at":null,"started_at":null,"ended_at":null,"usage":null}"#
        )
    );
    let usage = serde_json::to_string(&Usage::default()).unwrap();
    assert_eq!(
        usage,
        concat!(
            r#"{"user_us":0,"system_us":0,"max_rss_bytes":0,"minor_faults":0,"major_faults":0,"#,
            r#""voluntary_switches":0,"involuntary_switches":0}"#
        )
    );
}

#[test]
fn a_result_is_spliced_as_it_came() {
    let raw: Box<RawValue> = serde_json::from_str(r#"{"b" : 1e999, "a":[1.0,12345678901234567890123]}"#).unwrap();
    let mut status = Status::new("a", "p", "e", State::Exited);
    status.result = Some(Cow::Borrowed(&raw));
    status.duplicate = Some(true);
    let json = serde_json::to_string(&status).unwrap();
    assert!(json.contains(r#""result":{"b" : 1e999, "a":[1.0,12345678901234567890123]},"error""#), "{json}");
    assert!(json.ends_with(r#","duplicate":true}"#));
}

#[test]
fn states_are_words() {
    for state in State::ALL {
        assert_eq!(state.to_string().parse::<State>(), Ok(state));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        assert_eq!(state.is_final(), matches!(state, State::Exited | State::Failed | State::Unknown));
    }
    assert!("Exited".parse::<State>().unwrap_err().contains("queued, starting"));
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    any::<String>().prop_map(Cow::Owned)
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    // A status shows microseconds.
    prop::option::of((0..u64::MAX / 1000).prop_map(|us| Timestamp(us * 1000)))
}

prop_compose! {
    fn status()(
        names in (text(), text(), text()),
        state in prop::sample::select(State::ALL.to_vec()),
        numbers in (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<i32>>(), any::<Option<i32>>()),
        flags in (any::<Option<bool>>(), any::<bool>(), any::<Option<bool>>()),
        result in prop::option::of(any::<Vec<String>>()),
        error in prop::option::of((text(), text(), prop::option::of(text()))),
        output in (prop::option::of(text()), prop::option::of(text()), prop::option::of(text())),
        times in (time(), time(), time()),
        usage in prop::option::of(any::<[u64; 7]>()),
    ) -> Status<'static> {
        Status {
            id: names.0,
            pool: names.1,
            entry: names.2,
            state,
            pid: numbers.0,
            generation: numbers.1,
            exit_code: numbers.2,
            signal: numbers.3,
            signal_name: output.2,
            core_dumped: flags.0,
            timed_out: flags.1,
            result: result.map(|value| Cow::Owned(serde_json::value::to_raw_value(&value).unwrap())),
            error: error.map(|(class, message, trace)| RunError { class, message, trace }),
            stdout: output.0,
            stderr: output.1,
            queued_at: times.0,
            started_at: times.1,
            ended_at: times.2,
            usage: usage.map(|[a, b, c, d, e, f, g]| Usage {
                user_us: a,
                system_us: b,
                max_rss_bytes: c,
                minor_faults: d,
                major_faults: e,
                voluntary_switches: f,
                involuntary_switches: g,
            }),
            duplicate: flags.2,
        }
    }
}

proptest! {
    #[test]
    fn a_status_comes_back(status in status()) {
        let json = serde_json::to_string(&status).unwrap();
        prop_assert!(!json.contains('\n'));
        let back: Status = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), json);
        prop_assert_eq!(back.error, status.error);
        prop_assert_eq!(back.usage, status.usage);
        prop_assert_eq!((back.queued_at, back.started_at, back.ended_at), (status.queued_at, status.started_at, status.ended_at));
    }
}
