//! A client's connection: one that may be cut at any time, and never refused.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// No answer takes longer: a stopped zygote is given up after 5 s, a run of which nobody knows after a preload's 10 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the daemon listens.
#[derive(Debug, Clone)]
pub enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// What came of a call.
#[derive(Debug)]
pub enum Answer {
    Result(Value),
    Refused { kind: String, message: String },
    Cut,
}

type Halves = (BufReader<Box<dyn Read + Send>>, Box<dyn Write + Send>);

pub struct Link {
    address: Address,
    halves: Option<Halves>,
    last_id: u64,
    /// The first call that was sent on this connection.
    first_id: u64,
    early: HashMap<u64, Value>,
    /// How often it was cut.
    pub cuts: u64,
}

impl Link {
    pub fn new(address: Address) -> Link {
        Link { address, halves: None, last_id: 0, first_id: 0, early: HashMap::new(), cuts: 0 }
    }

    /// A daemon that is being upgraded, or whose master has been killed, still takes connections: an error is a fault.
    fn open(&mut self) -> Result<&mut Halves, String> {
        if self.halves.is_none() {
            let opened = match &self.address {
                Address::Unix(path) => unix(path),
                Address::Tcp(address) => tcp(address),
            };
            self.first_id = self.last_id;
            self.halves = Some(opened.map_err(|e| format!("connecting to {:?}: {e}", self.address))?);
        }
        self.halves.as_mut().ok_or_else(|| "no connection".to_owned())
    }

    /// Ends the connection, whatever is under way.
    pub fn hang_up(&mut self) {
        self.halves = None;
        self.early.clear();
    }

    /// Sends a call without waiting for its answer. None: the connection was cut.
    pub fn send(&mut self, method: &str, params: &Value) -> Result<Option<u64>, String> {
        self.last_id += 1;
        let id = self.last_id;
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string() + "\n";
        let sent = self.open()?.1.write_all(line.as_bytes());
        Ok(match sent {
            Ok(()) => Some(id),
            Err(_) => {
                self.cut();
                None
            }
        })
    }

    fn cut(&mut self) {
        self.hang_up();
        self.cuts += 1;
    }

    /// The answer to that call.
    pub fn receive(&mut self, id: Option<u64>) -> Result<Answer, String> {
        // One that went with a former connection is answered by nobody.
        let Some(id) = id.filter(|id| *id >= self.first_id) else { return Ok(Answer::Cut) };
        let deadline = Instant::now() + PATIENCE;
        let mut answer = loop {
            if let Some(answer) = self.early.remove(&id) {
                break answer;
            }
            let Some((reader, _)) = &mut self.halves else { return Ok(Answer::Cut) };
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(_) if line.ends_with('\n') => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(format!("no answer within {PATIENCE:?}"));
                }
                Ok(_) | Err(_) => {
                    self.cut();
                    return Ok(Answer::Cut);
                }
            }
            let answer: Value =
                serde_json::from_str(&line).map_err(|e| format!("an answer that is no JSON ({e}): {line:.300}"))?;
            match answer["id"].as_u64() {
                Some(other) => drop(self.early.insert(other, answer)),
                None => return Err(format!("an answer to nobody: {line:.300}")),
            }
            if Instant::now() > deadline {
                return Err(format!("no answer within {PATIENCE:?}"));
            }
        };
        let Some(error) = answer.get("error") else { return Ok(Answer::Result(answer["result"].take())) };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Answer::Refused { kind: text(&error["data"]["kind"]), message: text(&error["message"]) })
    }

    pub fn call(&mut self, method: &str, params: &Value) -> Result<Answer, String> {
        let id = self.send(method, params)?;
        self.receive(id)
    }

    /// The same call until it is answered.
    pub fn insist(&mut self, method: &str, params: &Value) -> Result<Answer, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let answer = self.call(method, params).map_err(|e| format!("{method} {params:.300}: {e}"))?;
            if !matches!(answer, Answer::Cut) {
                return Ok(answer);
            }
        }
        Err(format!("{method} {params:.300}: cut again and again for {PATIENCE:?}"))
    }

    /// The same call until it is answered, and not refused.
    pub fn demand(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        match self.insist(method, params)? {
            Answer::Result(result) => Ok(result),
            other => Err(format!("{method} {params:.300}: {other:?}")),
        }
    }
}

fn unix(path: &std::path::Path) -> io::Result<Halves> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok((BufReader::new(Box::new(stream.try_clone()?)), Box::new(stream)))
}

fn tcp(address: &SocketAddr) -> io::Result<Halves> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok((BufReader::new(Box::new(stream.try_clone()?)), Box::new(stream)))
}
