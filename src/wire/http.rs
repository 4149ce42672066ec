//! Telling a browser from a client.
//!
//! A web page can make a browser post to a local port, and everything after the
//! headers is the page's to choose. So a connection that opens like HTTP is closed before its second line.

const METHODS: [&[u8]; 10] =
    [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI"];

/// Whether a connection's first line looks like an HTTP request.
///
/// Either it begins with one of HTTP's methods, or it ends in a version: after a DNS
/// rebinding a page may choose any word as the method, `run` too.
/// A line that ends in JSON never does.
pub fn looks_like_http(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let word = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    METHODS.contains(&word) || ends_in_version(line)
}

fn ends_in_version(line: &[u8]) -> bool {
    let Some(blank) = line.iter().rposition(u8::is_ascii_whitespace) else {
        return false;
    };
    let last = &line[blank + 1..];
    last.len() >= 5
        && last[..5].eq_ignore_ascii_case(b"HTTP/")
        && last[5..].iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_browsers_are_seen() {
        for line in [
            "GET / HTTP/1.1",
            "POST /x HTTP/1.1\r",
            "OPTIONS * HTTP/1.0",
            "PRI * HTTP/2.0",
            "GET /",
            "run / HTTP/1.1",
            "run {\"hash\":1} HTTP/1.1",
            "M-SEARCH * http/1.1",
        ] {
            assert!(looks_like_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn commands_are_not() {
        for line in [
            "",
            " ",
            "run {\"hash\":1,\"class\":\"GET / HTTP/1.1\"}",
            "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":\" HTTP/1.1\"}",
            "auth GETTOKEN",
            "get",
            "stop",
            "check {}",
        ] {
            assert!(!looks_like_http(line.as_bytes()), "{line}");
        }
    }
}
