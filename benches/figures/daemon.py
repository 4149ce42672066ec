"""One daemon with one pool, from its start to its certain end."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

from . import machine

BENCHES = pathlib.Path(__file__).resolve().parent.parent
READY_S = 60
STOP_S = 12
LEAVE_S = 2
ENTRY = {"native": "noop", "php": "Noop", "python": "jobs:noop"}


class NotMeasured(Exception):
    """Why something could not be measured, in words for the report."""


@dataclass
class Programs:
    """Where everything is that gets started."""

    daemon: str
    native: str
    built: str
    classes: str
    php: str = "php"
    python: str = sys.executable

    def env(self, mb=0):
        return {**os.environ, "PREFORKD_BENCH_CLASSES": self.classes, "PREFORKD_BENCH_MB": str(mb)}


@dataclass
class Config:
    runtime: str
    mb: int = 0
    idle: int = 0
    max_running: int = 1000
    more: dict = field(default_factory=dict)

    @property
    def name(self):
        size = f"{self.mb} MB" if self.mb else "small"
        return f"{self.runtime}, {size}, " + (f"{self.idle} idle" if self.idle else "on demand")

    def pool(self, programs):
        pool = {
            "name": "bench",
            "runtime": self.runtime,
            "env": {"PREFORKD_BENCH_MB": str(self.mb), "PREFORKD_BENCH_CLASSES": programs.classes},
            "idle": self.idle,
            "max_running": self.max_running,
            **self.more,
        }
        app = BENCHES / "app" / self.runtime
        if self.runtime == "native":
            pool["command"] = [programs.native]
        elif self.runtime == "php":
            pool.update(preload=str(app / "bootstrap.php"), cwd=str(app), interpreter=[programs.php])
        else:
            pool.update(preload=str(app / "jobs.py"), cwd=str(app), interpreter=[programs.python])
        return pool


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def still_there(processes):
    return {pid: start for pid, start in processes.items() if (s := machine.stat(pid)) and s[1] == start}


class Daemon:
    """Use it in a `with`: whatever happens inside, nothing of it is left running."""

    def __init__(self, config, programs):
        self.config, self.programs = config, programs
        self.dir = tempfile.mkdtemp(prefix="preforkd-bench-")
        self.port = free_port()
        self.process = None
        self.socket = None
        self.next_id = 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.launch({"pools": [self.config.pool(self.programs)]}, "--listen", f"127.0.0.1:{self.port}")
        self.zygote = self.settle(READY_S)["zygote_pid"]
        self.learn_pids()

    def launch(self, contents, *options):
        """`serve` of a process file with these contents."""
        file = os.path.join(self.dir, "bench.json")
        with open(file, "w") as f:
            json.dump(contents, f)
        self.log = os.path.join(self.dir, "bench.log")
        command = [self.programs.daemon, "serve", file, "--dir", self.dir, *options]
        try:
            with open(self.log, "w") as log:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as e:
            raise NotMeasured(f"start {command[0]}: {e.strerror}; build it with cargo build --release") from e

    def learn_pids(self):
        info = self.ask("info")
        self.keeper, self.master = info["keeper_pid"], info["master_pid"]

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(os.path.join(self.dir, "preforkd.sock"))
        self.lines = self.socket.makefile("rb")

    def ask(self, method, params=None):
        """One JSON-RPC call over the Unix socket."""
        if self.socket is None:
            self.connect()
        self.next_id += 1
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params or {}}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self.lines.readline() or b'{"error": "connection closed"}')
        if "result" not in answer:
            raise NotMeasured(f"{method}: {answer.get('error')}")
        return answer["result"]

    @property
    def entry(self):
        return ENTRY[self.config.runtime]

    def pool(self):
        return self.ask("pools")["pools"][0]

    def settle(self, seconds=20, running=0):
        """Waits until the pool is ready and full, and only so many runs are alive."""
        until, state = time.monotonic() + seconds, "no answer yet"
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise NotMeasured(f"the daemon ended with {self.process.returncode}: {self.log_tail()}")
            try:
                pool = self.pool()
                if (pool["state"], pool["running"], pool["queued"]) == ("ready", running, 0) and (
                    pool["idle"] >= self.config.idle
                ):
                    return pool
                state = {k: pool.get(k) for k in ("state", "idle", "running", "queued", "error")}
                if pool["state"] in ("halted", "backoff"):
                    break
            except (OSError, ValueError) as e:
                self.disconnect()
                state = str(e)
            time.sleep(0.02)
        raise NotMeasured(f"the pool did not settle in {seconds} s: {state}; {self.log_tail()}")

    def log_tail(self):
        with open(self.log, errors="replace") as f:
            return " | ".join(f.read().strip().splitlines()[-3:])

    def disconnect(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def stop(self):
        """TERM, and KILL for whatever is left of it after 12 s; by pid and start time."""
        self.disconnect()
        left = {}
        if self.process is not None and self.process.poll() is None:
            left = machine.below(self.process.pid)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                left |= machine.below(self.process.pid)
                self.process.kill()
                self.process.wait()
        until = time.monotonic() + LEAVE_S
        while (left := still_there(left)) and time.monotonic() < until:
            time.sleep(0.02)
        if left:
            print(f"bench: {len(left)} processes of {self.config.name} outlived their daemon, killed", file=sys.stderr)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)
