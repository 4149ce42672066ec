//! A client of a few lines: JSON in, JSON out, every read with a limit.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::PATIENCE;

/// One connection.
pub struct Client {
    reader: BufReader<Stream>,
    last_id: u64,
    early: HashMap<u64, Value>,
}

/// An error object of JSON-RPC.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub code: i64,
    pub kind: String,
    pub message: String,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(s) => s.read(buffer),
            Stream::Tcp(s) => s.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(s) => s.write(bytes),
            Stream::Tcp(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Client {
    pub fn unix(socket: &Path) -> io::Result<Client> {
        Client::over(Stream::Unix(UnixStream::connect(socket)?))
    }

    pub fn tcp(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Client::over(Stream::Tcp(stream))
    }

    fn over(stream: Stream) -> io::Result<Client> {
        let mut client = Client { reader: BufReader::new(stream), last_id: 0, early: HashMap::new() };
        client.patience(PATIENCE)?;
        Ok(client)
    }

    /// How long a read or a write may take.
    pub fn patience(&mut self, limit: Duration) -> io::Result<()> {
        match self.reader.get_ref() {
            Stream::Unix(s) => s.set_read_timeout(Some(limit)).and(s.set_write_timeout(Some(limit))),
            Stream::Tcp(s) => s.set_read_timeout(Some(limit)).and(s.set_write_timeout(Some(limit))),
        }
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub fn send_line(&mut self, line: &str) {
        self.send_raw(format!("{line}\n").as_bytes()).unwrap_or_else(|e| panic!("sending {line:.200}: {e}"));
    }

    /// The next line, or `None` at the end of the connection.
    pub fn try_line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn line(&mut self) -> Value {
        let line = self.try_line().expect("reading an answer").expect("the connection ended in place of an answer");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line:.300}"))
    }

    /// The connection has ended, without another byte.
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
            Err(e) => panic!("the connection did not end: {e}"),
        }
        assert!(rest.is_empty(), "more came before the end: {}", String::from_utf8_lossy(&rest));
    }

    /// Sends a call and does not wait for its answer.
    pub fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.send_line(&call.to_string());
        self.last_id
    }

    /// The answer to that call; others that come before it are kept.
    pub fn receive(&mut self, id: u64) -> Result<Value, Refusal> {
        let mut answer = loop {
            if let Some(answer) = self.early.remove(&id) {
                break answer;
            }
            let answer = self.line();
            match answer["id"].as_u64() {
                Some(other) => drop(self.early.insert(other, answer)),
                // To none in particular: the connection is refused or given up.
                None => break answer,
            }
        };
        match answer.get_mut("error") {
            None => Ok(answer["result"].take()),
            Some(error) => Err(Refusal {
                code: error["code"].as_i64().expect("a code"),
                kind: error["data"]["kind"].as_str().expect("a kind").to_owned(),
                message: error["message"].as_str().expect("a message").to_owned(),
            }),
        }
    }

    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Refusal> {
        let id = self.send(method, params);
        self.receive(id)
    }

    /// A call that has to succeed.
    pub fn ok(&mut self, method: &str, params: Value) -> Value {
        self.call(method, params.clone()).unwrap_or_else(|e| panic!("{method} {params:.300}: {e:?}"))
    }

    /// A call that has to be refused.
    pub fn refused(&mut self, method: &str, params: Value) -> Refusal {
        match self.call(method, params.clone()) {
            Err(refusal) => refusal,
            Ok(result) => panic!("{method} {params:.300} was not refused: {result:.500}"),
        }
    }

    /// Runs to the end.
    pub fn run(&mut self, entry: &str, params: Value) -> Value {
        self.ok("run", json!({"entry": entry, "params": params, "wait": true}))
    }

    /// Starts a run that is alive afterwards; its status.
    pub fn start(&mut self, entry: &str, params: Value, id: &str) -> Value {
        let status = self.ok("run", json!({"entry": entry, "params": params, "id": id}));
        assert_eq!(status["state"], "running", "{status}");
        status
    }

    /// Kills a run that a test has no more use for: its daemon would wait for it at the end, some three seconds.
    pub fn end(&mut self, id: &str) {
        self.ok("kill", json!({"id": id, "signal": "KILL"}));
    }

    pub fn wait(&mut self, id: &str) -> Value {
        let status = self.ok("wait", json!({"id": id, "timeout": "12s"}));
        assert!(!status["ended_at"].is_null(), "not ended after 12 s: {status}");
        status
    }

    /// One of Phprocksyd's commands and its answer.
    pub fn command(&mut self, line: &str) -> Value {
        self.send_line(line);
        self.line()
    }

    /// A worker as it is: instance `instance` of that app.
    pub fn worker(&mut self, name: &str, instance: u64) -> Value {
        let answer = self.ok("apps.list", json!({"target": name}));
        let workers = answer["workers"].as_array().unwrap();
        let found = workers.iter().find(|w| w["instance"] == instance);
        found.unwrap_or_else(|| panic!("no instance {instance} in {answer}")).clone()
    }

    pub fn pool(&mut self, name: &str) -> Value {
        let pools = self.ok("pools", json!({}));
        let found = pools["pools"].as_array().unwrap().iter().find(|p| p["name"] == name);
        found.unwrap_or_else(|| panic!("no pool {name}: {pools}")).clone()
    }
}
