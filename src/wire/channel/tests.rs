use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[test]
fn the_header_is_the_contracts() {
    let header = Header {
        kind: Order::Fork,
        flags: Flags::STDIO | Flags::MEMFD,
        slot: 0x0403_0201,
        nonce: 0x1817_1615_1413_1211,
    };
    let bytes = header.encode();
    assert_eq!(bytes, [1, 0, 6, 0, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    assert_eq!(Header::decode(&bytes), Ok((header, &[][..])));
    assert_eq!(header.flags.fd_count(), 4);
    assert_eq!((Flags::CHANNEL | Flags::STDIO | Flags::MEMFD).fd_count(), MAX_FDS);
    assert_eq!(Flags::NONE.fd_count(), 0);
}

#[test]
fn what_nobody_sends_is_refused() {
    let message = |number: u16, flags: u16, payload: usize| {
        let mut bytes = vec![0; HEADER_LEN + payload];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes
    };
    let reply = |bytes: &[u8]| Header::<Reply>::decode(bytes).map(|(header, _)| header.kind);
    let order = |bytes: &[u8]| Header::<Order>::decode(bytes).map(|(header, _)| header.kind);
    assert_eq!(reply(&[]), Err(BadMessage::Short(0)));
    assert_eq!(reply(&[20; 15]), Err(BadMessage::Short(15)));
    assert_eq!(reply(&message(1, 0, 0)), Err(BadMessage::UnknownType(1)));
    assert_eq!(order(&message(20, 0, 0)), Err(BadMessage::UnknownType(20)));
    assert_eq!(reply(&message(23, 1, 0)), Err(BadMessage::WrongFlags { number: 23, flags: 1 }));
    assert_eq!(reply(&message(20, 4, 0)), Err(BadMessage::WrongFlags { number: 20, flags: 4 }));
    assert_eq!(order(&message(1, 8, 0)), Err(BadMessage::WrongFlags { number: 1, flags: 8 }));
    assert_eq!(order(&message(4, 1, 0)), Err(BadMessage::WrongFlags { number: 4, flags: 1 }));
    assert_eq!(reply(&message(23, 4, 1)), Err(BadMessage::WrongPayload { number: 23, length: 1 }));
    assert_eq!(reply(&message(23, 0, INLINE_MAX + 1)), Err(BadMessage::WrongPayload { number: 23, length: 65_537 }));
    assert_eq!(reply(&message(23, 0, INLINE_MAX)), Ok(Reply::Result));
    assert_eq!(reply(&message(23, 4, 0)), Ok(Reply::Result));
    assert_eq!(order(&message(1, 7, 0)), Ok(Order::Fork));
}

#[test]
fn numbers_are_the_contracts() {
    for (number, kind) in [(1, Order::Fork), (2, Order::Whois), (3, Order::Retire), (4, Order::Request)] {
        assert_eq!((kind.number(), Order::from_number(number)), (number, Some(kind)));
    }
    let replies = [
        Reply::Ready,
        Reply::PreloadFailed,
        Reply::ForkFailed,
        Reply::Forked,
        Reply::Started,
        Reply::Refused,
        Reply::Progress,
        Reply::Result,
        Reply::Error,
    ];
    for (number, kind) in (16..).zip(replies) {
        assert_eq!((kind.number(), Reply::from_number(number)), (number, Some(kind)));
    }
}

#[test]
fn payloads_are_the_contracts() {
    let config = ZygoteConfig {
        protocol: VERSION,
        pool: "billing".to_owned(),
        generation: 3,
        preload: None,
        cwd: "/srv".to_owned(),
        entries: None,
        shutdown: Shutdown::Fast,
        cpu_time: Some(60),
        huge_pages: true,
    };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(
        json,
        r#"{"protocol":1,"pool":"billing","generation":3,"preload":null,"cwd":"/srv","entries":null,"shutdown":"fast","cpu_time":60,"huge_pages":true}"#
    );
    assert_eq!(serde_json::from_str::<ZygoteConfig>(&json).unwrap(), config);

    let older = json.replace(",\"huge_pages\":true", "");
    assert_eq!(serde_json::from_str::<ZygoteConfig>(&older).unwrap(), config);

    let refused: Refused = serde_json::from_str(r#"{"code":"not_found","message":"no class X"}"#).unwrap();
    assert_eq!(refused.code, RefusedCode::NotFound);
    let ready: ReadyInfo = serde_json::from_str(r#"{"runtime":"PHP 8.2.29","via":"ffi","warnings":["w"]}"#).unwrap();
    assert_eq!((ready.runtime.as_str(), ready.via.as_deref(), ready.warnings.len()), ("PHP 8.2.29", Some("ffi"), 1));
    let failed: ForkFailed = serde_json::from_str(r#"{"message":"2 threads","errno":null}"#).unwrap();
    assert_eq!(failed.errno, None);
    assert_eq!(serde_json::from_str::<Forked>(r#"{"pid":123}"#).unwrap(), Forked { pid: 123 });
    let error: ErrorObject = serde_json::from_str(r#"{"class":"E","message":"m"}"#).unwrap();
    assert_eq!(error.trace, None);
}

#[test]
fn a_request_says_what_is_there_and_no_more() {
    let request = ChildRequest {
        id: Cow::Borrowed("1"),
        entry: Cow::Borrowed("X"),
        params: Some(Cow::Borrowed(RawValue::NULL)),
        args: None,
        env: None,
    };
    assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"id":"1","entry":"X","params":null}"#);
    let back: ChildRequest = serde_json::from_str(r#"{"id":"1","entry":"X","params":null}"#).unwrap();
    assert_eq!(back.params.unwrap().get(), "null");
    let script: ChildRequest = serde_json::from_str(r#"{"id":"1","entry":"X","args":["a"],"env":{"K":"V"}}"#).unwrap();
    assert!(script.params.is_none());
    assert_eq!(script.args.unwrap().as_ref(), ["a"]);
    assert_eq!(script.env.unwrap()["K"], "V");
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_panic_and_encode_to_themselves(
        mut bytes in prop::collection::vec(any::<u8>(), 0..40),
        number in 0u16..30,
        flags in 0u16..9,
    ) {
        if bytes.len() >= 4 {
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        }
        if let Ok((header, payload)) = Header::<Order>::decode(&bytes) {
            prop_assert_eq!([&header.encode()[..], payload].concat(), bytes.clone());
            prop_assert!(header.flags.fd_count() <= MAX_FDS);
        }
        if let Ok((header, payload)) = Header::<Reply>::decode(&bytes) {
            prop_assert_eq!([&header.encode()[..], payload].concat(), bytes);
        }
    }

    #[test]
    fn a_request_comes_back(id: String, entry: String, params in prop::option::of(any::<Vec<String>>()), args: Option<Vec<String>>) {
        let request = ChildRequest {
            id: id.clone().into(),
            entry: entry.clone().into(),
            params: params.map(|params| Cow::Owned(serde_json::value::to_raw_value(&params).unwrap())),
            args: args.clone().map(Cow::Owned),
            env: None,
        };
        let json = serde_json::to_vec(&request).unwrap();
        let back: ChildRequest = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(serde_json::to_vec(&back).unwrap(), &*json);
        prop_assert_eq!((back.id, back.entry), (Cow::<str>::from(id), Cow::<str>::from(entry)));
        prop_assert_eq!(back.args.map(Cow::into_owned), args);
    }
}
