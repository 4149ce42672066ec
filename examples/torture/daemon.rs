//! The daemon under torture: its folders, its process file, its start and its end.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::job;
use crate::link::{Address, Link};
use crate::world::{House, eventually};

/// Room for journal, table and logs, and little enough to be filled at once.
const DISK: &str = "size=48m,mode=0700";
/// A shutdown has to be through after 8 s; the rest is for a busy machine.
const SHUTDOWN: Duration = Duration::from_secs(12);

/// The apps and how many instances of each there are at a calm point.
pub const APPS: [(&str, u64); 5] = [("tick", 2), ("serve", 2), ("tree", 1), ("warm", 2), ("flaky", 1)];

/// Makes the folders. `root` is ours alone.
pub fn prepare(root: &Path, binary: &Path) -> Result<House, String> {
    let failed = |what: &str, e: std::io::Error| format!("{what} in {}: {e}", root.display());
    let dir = root.join("dir");
    fs::create_dir(&dir).map_err(|e| failed("making a folder", e))?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(|e| failed("making a folder private", e))?;
    // Before there is another mount namespace, in which a chroot's paths have another root.
    let me = std::env::current_exe().map_err(|e| failed("finding our own program", e))?;
    let small_disk = match small_disk(&dir) {
        Ok(()) => true,
        Err(why) => {
            println!("torture: no full disks: {why}");
            false
        }
    };
    let mut pools = vec!["native"];
    for (pool, program, check) in [("python", "python3", "-c"), ("php", "php", "-r")] {
        let there = Command::new(program).args([check, ""]).stdin(Stdio::null()).status();
        if there.is_ok_and(|status| status.success()) {
            pools.push(pool);
        } else {
            println!("torture: no {pool} pool: there is no {program}");
        }
    }
    let write = |name: &str, text: &str| fs::write(root.join(name), text).map_err(|e| failed(name, e));
    for (folder, name, text) in [("py", "jobs.py", job::PYTHON), ("php", "jobs.php", job::PHP)] {
        fs::create_dir(root.join(folder)).map_err(|e| failed("making a folder", e))?;
        write(&format!("{folder}/{name}"), text)?;
    }
    write("tick.sh", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.3; done\n")?;
    write("serve.sh", "sleep 0.1; echo up; while :; do sleep 1; done\n")?;
    write("tree.sh", "(trap '' INT TERM; exec sleep 1000) & sleep 1000 & wait\n")?;
    write("flaky.sh", "sleep 0.$((RANDOM % 9 + 1)); exit $((RANDOM % 3))\n")?;
    write("marks", "")?;
    let house = House { root: root.to_owned(), dir, small_disk, pools, binary: binary.to_owned() };
    write("app.json", &process_file(&house, &me)?.to_string())?;
    Ok(house)
}

/// Mounts a disk for the daemon's directory where nobody but us and what we start sees it, so that it goes with us.
fn small_disk(dir: &Path) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can mount a small one".into());
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| format!("a mount namespace: {e}"))?;
    let mount = |words: &[&str]| {
        let output = Command::new("mount").args(words).arg(dir).output().map_err(|e| format!("mount: {e}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    };
    // Without this the mount would be seen by the whole machine.
    let private = Command::new("mount").args(["--make-rprivate", "/"]).output().map_err(|e| format!("mount: {e}"))?;
    if !private.status.success() {
        return Err(String::from_utf8_lossy(&private.stderr).trim().to_owned());
    }
    mount(&["-t", "tmpfs", "-o", DISK, "tmpfs"])
}

/// Takes the disk away again, which would keep the folder that it is in from being removed.
pub fn unmount(house: &House) -> Result<(), String> {
    if !house.small_disk {
        return Ok(());
    }
    let output = Command::new("umount").arg(&house.dir).output().map_err(|e| format!("umount: {e}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

fn process_file(house: &House, me: &Path) -> Result<Value, String> {
    let common = json!({"max_running": 24, "preload_timeout": "10s", "kill_timeout": "2s", "limits": {"core": 0}});
    let pool = |keys: Value| merged(&common, &keys);
    let mut pools = vec![pool(
        json!({"name": "native", "runtime": "native", "command": [me, "--zygote"], "idle": 4, "default": true}),
    )];
    if house.pools.contains(&"python") {
        pools.push(pool(
            json!({"name": "python", "runtime": "python", "cwd": "py", "preload": "py/jobs.py", "idle": 1}),
        ));
    }
    if house.pools.contains(&"php") {
        pools.push(pool(json!({"name": "php", "runtime": "php", "cwd": "php", "preload": "php/jobs.php", "idle": 1})));
    }
    let common = json!({"restart_delay": "100ms", "min_uptime": "50ms", "max_restarts": 10_000, "kill_timeout": "1s", "max_log_size": "64K", "max_log_files": 1, "interpreter": "bash"});
    let app = |keys: Value| merged(&common, &keys);
    let mut warm = app(json!({"name": "warm", "pool": "native", "entry": "work", "instances": 2}));
    if let Some(keys) = warm.as_object_mut() {
        keys.remove("interpreter");
    }
    let apps = [
        app(json!({"name": "tick", "script": "tick.sh", "instances": 2})),
        app(
            json!({"name": "serve", "script": "serve.sh", "instances": 2, "ready": {"log": "^up$"}, "listen_timeout": "10s"}),
        ),
        app(json!({"name": "tree", "script": "tree.sh"})),
        warm,
        app(json!({"name": "flaky", "script": "flaky.sh"})),
    ];
    Ok(json!({"pools": pools, "apps": apps}))
}

fn merged(common: &Value, keys: &Value) -> Value {
    let mut all = common.clone();
    for (key, value) in keys.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    all
}

/// Starts it and waits until its pools are ready; with `adopt` one that takes over what a dead keeper has left. It ends with us, whatever becomes of us. Also its TCP address.
pub fn start(house: &House, log_level: &str, adopt: bool) -> Result<(Child, Address), String> {
    let log = File::options().create(true).append(true).open(house.log()).map_err(|e| format!("the log: {e}"))?;
    let errors = log.try_clone().map_err(|e| format!("the log: {e}"))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(&house.binary).arg("serve").arg(house.root.join("app.json"));
    command.arg("--dir").arg(&house.dir).args(["--listen", "127.0.0.1:0", "--log-level", log_level]);
    if adopt {
        command.arg("--adopt");
    }
    command.env_remove("PREFORKD_DIR").current_dir(&house.root).stdin(Stdio::null()).stdout(log).stderr(errors);
    let child = command.spawn().map_err(|e| format!("setpriv {}: {e}", house.binary.display()))?;
    let ready = eventually(Duration::from_secs(30), || {
        if !house.socket().exists() {
            return Err("there is no socket yet".to_owned());
        }
        let mut link = Link::new(Address::Unix(house.socket()));
        let pools = link.demand("pools", &json!({}))?;
        let pools = pools["pools"].as_array().cloned().unwrap_or_default();
        if let Some(pool) = pools.iter().find(|pool| pool["state"] != "ready") {
            return Err(format!("not ready: {pool}"));
        }
        let info = link.demand("info", &json!({}))?;
        let addresses = info["listen"].as_array().into_iter().flatten();
        addresses.filter_map(|a| a.as_str()?.parse().ok()).next().ok_or_else(|| format!("no TCP address: {info}"))
    });
    match ready {
        Ok(address) => Ok((child, Address::Tcp(address))),
        Err(why) => {
            let mut child = child;
            end(&mut child);
            Err(format!("the daemon does not start: {why}"))
        }
    }
}

/// Waits for the end that it has been told of.
pub fn ended(child: &mut Child) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + SHUTDOWN;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => return Err(format!("waiting for the daemon: {e}")),
        }
    }
    Err(format!("the daemon did not end within {SHUTDOWN:?}"))
}

/// Ends it as well as can be, after a fault.
pub fn end(child: &mut Child) {
    crate::processes::send(child.id(), nix::sys::signal::Signal::SIGTERM);
    if ended(child).is_err() {
        let left = crate::processes::descendants(child.id());
        // It is ours and has not been waited for; a second error would hide the first.
        let _ = child.kill().and_then(|()| child.wait());
        left.iter().for_each(|process| process.signal(nix::sys::signal::Signal::SIGKILL));
    }
}
