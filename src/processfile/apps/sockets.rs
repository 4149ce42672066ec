//! Where an app listens, and how it is known to be ready.

use std::path::Path;

use super::super::app::{Address, Listen, Ready};
use super::super::error::{At, Report};
use super::super::fields::{Fields, Keys};
use super::super::parts::name;
use super::super::paths::absolute;
use super::super::tree::{Node, Quoted, Value};
use super::super::values::{MILLISECOND, YEAR, duration, flag, text};

pub(in super::super) const READY_KEYS: Keys = &["notify", "tcp", "http", "log", "after"];

pub(super) fn ready(fields: &Fields, at: &At, report: &mut Report) -> Option<Ready> {
    let Some(node) = fields.get("ready") else { return Some(Ready::Started) };
    let at = &At::Key(at, "ready");
    let inner = Fields::of(node, READY_KEYS, at, report)?;
    let Value::Object(entries) = &node.value else { return None };
    if entries.len() != 1 {
        report.add((node.line, node.column), at, || "expected exactly one of notify, tcp, http, log, after".to_owned());
        return None;
    }
    let own = |expected: &'static str| {
        move |n: &Node, at: &At, r: &mut Report| text(n, at, r, expected, 4095).map(str::to_owned)
    };
    if inner.get("notify").is_some() {
        return inner.or("notify", true, at, report, flag).map(|on| if on { Ready::Notify } else { Ready::Started });
    }
    if inner.get("tcp").is_some() {
        let address = inner.opt("tcp", at, report, own("IP:PORT"))?;
        if !is_address(&address) {
            let message = || format!("expected IP:PORT or localhost:PORT, found {}", Quoted(&address));
            report.add((node.line, node.column), at, message);
            return None;
        }
        return Some(Ready::Tcp(address));
    }
    if inner.get("http").is_some() {
        let url = inner.opt("http", at, report, own("http://IP:PORT/PATH"))?;
        let host = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
        if host.is_none_or(str::is_empty) || url.contains(char::is_whitespace) {
            report
                .add((node.line, node.column), at, || format!("expected http://IP:PORT/PATH, found {}", Quoted(&url)));
            return None;
        }
        let host = host.unwrap_or_default();
        if !is_address(host) && !is_address(&format!("{host}:80")) {
            let message =
                || format!("expected an IP address or localhost in {}: names are not looked up", Quoted(&url));
            report.add((node.line, node.column), at, message);
            return None;
        }
        return Some(Ready::Http(url));
    }
    if inner.get("log").is_some() {
        let pattern = inner.opt("log", at, report, own("a regular expression"))?;
        if let Err(e) = regex::bytes::RegexBuilder::new(&pattern).size_limit(1 << 20).build() {
            // Of several lines, the last of which is the reason; a fault is told in one.
            let why = e.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = || format!("expected a regular expression, found {}: {why}", Quoted(&pattern));
            report.add((node.line, node.column), &At::Key(at, "log"), message);
            return None;
        }
        return Some(Ready::Log(pattern));
    }
    inner.opt("after", at, report, |n, at, r| duration(n, at, r, MILLISECOND, YEAR)).map(Ready::After)
}

/// Nobody waits for a resolver: numbers, and `localhost`.
pub(in super::super) fn is_address(text: &str) -> bool {
    let port = text.strip_prefix("localhost:");
    port.map_or_else(|| text.parse::<std::net::SocketAddr>().is_ok(), |port| port.parse::<u16>().is_ok())
}

pub(in super::super) const LISTEN_KEYS: Keys = &["name", "address"];

pub(super) fn listen(node: &Node, at: &At, report: &mut Report, app: &str, base: &Path) -> Option<Vec<Listen>> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = &At::Item(at, index);
        let (label, address) = match &item.value {
            Value::Object(_) => {
                let fields = Fields::of(item, LISTEN_KEYS, at, report)?;
                let label = fields.or("name", app.to_owned(), at, report, name)?;
                (label, fields.required("address", "an address", at, report, |n, at, r| address(n, at, r, base))?)
            }
            _ => (app.to_owned(), address(item, at, report, base)?),
        };
        all.push(Listen { name: label, address });
    }
    Some(all)
}

pub(super) fn address(node: &Node, at: &At, report: &mut Report, base: &Path) -> Option<Address> {
    let expected = "tcp://IP:PORT or unix://PATH";
    let written = text(node, at, report, expected, 1024)?;
    if let Some(tcp) = written.strip_prefix("tcp://") {
        if is_address(tcp) {
            return Some(Address::Tcp(tcp.to_owned()));
        }
        report.add((node.line, node.column), at, || {
            format!(
                "expected tcp://IP:PORT, where IP is a number (0.0.0.0 or [::]: all of this machine's) or localhost, which \
                 is 127.0.0.1; names are not looked up; found {}",
                Quoted(written)
            )
        });
        return None;
    }
    // The longest path of a socket, unix(7).
    if let Some(path) = written.strip_prefix("unix://").map(|path| absolute(base, path))
        && path.as_os_str().len() < 108
        && path.file_name().is_some()
    {
        return Some(Address::Unix(path));
    }
    report.add((node.line, node.column), at, || format!("expected {expected}, found {}", Quoted(written)));
    None
}
