//! What the runs do, in three languages: each tells first, by one short write, that it has started.

use std::io::Write;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use preforkd::zygote::{Run, Zygote};
use serde_json::{Value, json};

use crate::chance::Step;

/// How a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Exit(u8),
    Signal(i32),
    Result,
    Error,
    /// Not by itself.
    Hold,
}

/// What is asked of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub pool: String,
    pub ms: u64,
    /// Lines that it prints; with some its output is captured.
    pub lines: u64,
    pub then: Then,
    pub timeout_ms: Option<u64>,
}

impl Plan {
    pub fn choose(step: &mut Step, pools: &[&str]) -> Plan {
        // Most are native: a run of PHP or Python costs ten times as much.
        let pool = if step.percent(70) { pools[0] } else { *step.one(pools) }.to_owned();
        let then = match step.between(0, 9) {
            0..=3 => Then::Exit(step.between(0, 255) as u8),
            4 | 5 => Then::Result,
            6 => Then::Error,
            7 => Then::Signal(*step.one(&[9, 10, 11, 15])),
            _ => Then::Hold,
        };
        let ms = if step.percent(60) { 0 } else { step.between(1, 600) };
        let timeout_ms = (then == Then::Hold && step.percent(60)).then(|| step.between(700, 2000));
        let lines = if step.percent(30) { step.between(1, 50) } else { 0 };
        Plan { pool, ms, lines, then, timeout_ms }
    }

    /// The params of `run`.
    pub fn request(&self, id: &str, marks: &str, wait: bool) -> Value {
        let (then, n) = match self.then {
            Then::Exit(n) => ("exit", i32::from(n)),
            Then::Signal(n) => ("signal", n),
            Then::Result => ("result", 0),
            Then::Error => ("error", 0),
            Then::Hold => ("hold", 0),
        };
        let entry = if self.pool == "python" { "jobs:job" } else { "job" };
        let params = json!({"id": id, "marks": marks, "ms": self.ms, "lines": self.lines, "then": then, "n": n});
        let output = if self.lines > 0 { "capture" } else { "log" };
        json!({"pool": self.pool, "entry": entry, "id": id, "params": params, "wait": wait, "output": output, "timeout": self.timeout_ms})
    }

    /// What it prints.
    pub fn output(&self, id: &str) -> String {
        (0..self.lines).map(|n| format!("{id} {n}\n")).collect()
    }
}

/// This program as the warm process of a native pool.
pub fn zygote() -> Result<(), Box<dyn std::error::Error>> {
    let mut zygote = Zygote::from_env()?;
    zygote.entry("job", job);
    zygote.entry("work", |_| {
        loop {
            println!("at work");
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    zygote.serve()
}

#[expect(clippy::exit, reason = "it is what the run was asked to do")]
fn job(run: &Run<'_>) -> Result<Value, Box<dyn std::error::Error>> {
    let text = |key: &str| run.params()[key].as_str().ok_or("a text is missing");
    let number = |key: &str| run.params()[key].as_u64().ok_or("a number is missing");
    let id = text("id")?;
    std::fs::File::options().append(true).create(true).open(text("marks")?)?.write_all(format!("{id}\n").as_bytes())?;
    for n in 0..number("lines")? {
        println!("{id} {n}");
    }
    std::thread::sleep(Duration::from_millis(number("ms")?));
    match text("then")? {
        "exit" => std::process::exit(number("n")? as i32),
        "signal" => {
            raise(Signal::try_from(number("n")? as i32)?)?;
            Err("the signal did not kill".into())
        }
        "error" => Err(id.into()),
        "hold" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        _ => Ok(json!({"id": id})),
    }
}

pub const PYTHON: &str = r#"import os, sys, time

def job(p):
    fd = os.open(p["marks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (p["id"] + "\n").encode())
    os.close(fd)
    for n in range(p["lines"]):
        print(p["id"], n, flush=True)
    time.sleep(p["ms"] / 1000)
    then = p["then"]
    if then == "exit":
        sys.exit(p["n"])
    if then == "signal":
        os.kill(os.getpid(), p["n"])
    if then == "error":
        raise ValueError(p["id"])
    while then == "hold":
        time.sleep(60)
    return {"id": p["id"]}
"#;

pub const PHP: &str = r#"<?php
function job(array $p) {
    file_put_contents($p['marks'], $p['id'] . "\n", FILE_APPEND);
    for ($n = 0; $n < $p['lines']; $n++) {
        echo $p['id'], ' ', $n, "\n";
    }
    usleep($p['ms'] * 1000);
    if ($p['then'] === 'exit') { exit($p['n']); }
    if ($p['then'] === 'signal') { posix_kill(getmypid(), $p['n']); }
    if ($p['then'] === 'error') { throw new RuntimeException($p['id']); }
    while ($p['then'] === 'hold') { sleep(60); }
    return ['id' => $p['id']];
}
"#;
