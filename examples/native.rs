//! A native warm process: what the tests and the benchmarks run, and a start for your own.
//!
//! ```jsonc
//! { "pools": [{ "name": "fixture", "runtime": "native", "command": ["target/release/examples/native"] }] }
//! ```

use std::io::Write;
use std::time::Duration;

use preforkd::zygote::Zygote;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut zygote = Zygote::from_env()?;

    // The preload: memory that each run then shares. PREFORKD_BENCH_MB of it, touched page by page.
    let megabytes: usize = std::env::var("PREFORKD_BENCH_MB").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    let mut data = vec![0u8; megabytes << 20];
    data.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    if let Ok(path) = std::env::var("PREFORKD_FIXTURE_PRELOAD") {
        // What a preload can do wrong, as the tests ask for it.
        match path.as_str() {
            "fail" => return Err("the preload was asked to fail".into()),
            "hang" => std::thread::sleep(Duration::from_secs(60)),
            "thread" => drop(std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)))),
            _ => {}
        }
    }

    zygote.entry("noop", |_| Ok(Value::Null));
    zygote.entry("echo", |run| Ok(run.params().clone()));
    zygote.entry("args", |run| Ok(json!(run.args())));
    zygote.entry("env", |run| {
        let name = run.params()["name"].as_str().ok_or("params.name is missing")?;
        Ok(std::env::var(name).map_or(Value::Null, Value::from))
    });
    zygote
        .entry("exit", |run| std::process::exit(run.params()["code"].as_i64().ok_or("params.code is missing")? as i32));
    zygote.entry("sleep", |run| {
        let number = |key: &str| run.params()[key].as_f64();
        let ms = number("ms").or(number("seconds").map(|s| s * 1000.0)).ok_or("params.ms (or seconds) is missing")?;
        std::thread::sleep(Duration::from_secs_f64(ms / 1000.0));
        Ok(Value::Null)
    });
    zygote.entry("signal", |run| {
        let number = run.params()["signal"].as_i64().ok_or("params.signal is missing")?;
        let me = std::process::id().to_string();
        std::process::Command::new("kill").args([format!("-{number}"), me]).status()?;
        std::thread::sleep(Duration::from_secs(60));
        Ok(Value::Null)
    });
    zygote.entry("fail", |_| Err("it was asked to fail".into()));
    zygote.entry("panic", |_| panic!("it was asked to panic"));
    zygote.entry("print", |run| {
        let text = |key: &str| run.params()[key].as_str().unwrap_or_default().to_owned();
        std::io::stdout().write_all(text("stdout").as_bytes())?;
        std::io::stderr().write_all(text("stderr").as_bytes())?;
        Ok(Value::Null)
    });
    zygote.entry("append", |run| {
        // A line for each time that it runs, so that the file tells what ran twice.
        let text = |key: &str| run.params()[key].as_str().ok_or("params.path and params.line are texts");
        let mut file = std::fs::File::options().append(true).create(true).open(text("path")?)?;
        file.write_all(format!("{}\n", text("line")?).as_bytes())?;
        Ok(text("line")?.into())
    });
    zygote.entry("stdin", |_| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin(), &mut text)?;
        Ok(text.into())
    });
    zygote.entry("shell", |run| shell(run.params()));
    zygote.entry("shell_and_fail", |run| shell(run.params()).and(Err("it was asked to fail".into())));
    zygote.entry("shell_and_say", |run| {
        let bytes = run.params()["bytes"].as_u64().ok_or("params.bytes is missing")? as usize;
        shell(run.params()).map(|_| "x".repeat(bytes).into())
    });
    zygote.serve()
}

/// Runs params.script with sh: grandchildren, ignored signals and whatever else a job may do.
fn shell(params: &Value) -> Result<Value, Box<dyn std::error::Error>> {
    let script = params["script"].as_str().ok_or("params.script is missing")?;
    let status = std::process::Command::new("sh").args(["-c", script]).status()?;
    Ok(status.code().map_or(Value::Null, Value::from))
}
