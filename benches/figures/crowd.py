"""A daemon with workers, connections and runs by the thousand, and what all of them cost the next run."""

import json
import os
import resource
import socket
import statistics
import subprocess
import time

from . import machine, syscalls
from .daemon import Config, Daemon, NotMeasured, READY_S

# Beside those of workers and clients: listeners, the table, channels.
SPARE_FDS = 400
# Of a worker: its handle, and the pipe of its errors, whose last lines are kept also where no log is; with logs a pipe for the
# other output, too. A log of its own would take two more.
QUIET_FDS, LOGGED_FDS = 2, 3
WORKER = "crowd"
SLEEP_S = 900
LIST_ROUNDS = 5
# Ten thousand workers take 98 s: 256 at once, then one every 10 ms.
UP_S = 300


def room(wanted, each):
    """As many as the limit on files permits, which is raised as far as we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * each + SPARE_FDS
    for limit in (max(hard, needed), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return min(wanted, (limit - SPARE_FDS) // each)
        except (OSError, ValueError):
            # Only root raises the hard one.
            continue
    return wanted


class Crowd(Daemon):
    """A daemon with a small native pool on demand, and nobody else at first."""

    def __init__(self, programs, *options):
        super().__init__(Config("native", max_running=10_000, more={"keep": "1d"}), programs)
        self.options = ["--listen", f"127.0.0.1:{self.port}", *options]
        self.clients = []

    def start(self):
        self.launch({"pools": [self.config.pool(self.programs)]}, *self.options)
        self.settle(READY_S)
        self.learn_pids()
        self.socket.settimeout(UP_S)

    def stop(self):
        for client in self.clients:
            client.close()
        super().stop()

    def workers(self, count, program, logs):
        """Brings so many up, or as many more as are missing."""
        if count > 0 and not self.ask("apps.list", {"target": "all"})["workers"]:
            app = {"name": WORKER, "script": program, "interpreter": "none", "cwd": self.dir, "instances": count}
            app |= {"merge_logs": True} if logs else {"out_file": False, "error_file": False}
            self.ask("apps.start", {"apps": [app], "folder": self.dir, "env": {}, "wait": True})
        elif count > 0:
            self.ask("apps.scale", {"name": WORKER, "to": str(count)})
        up = sum(w["state"] == "running" for w in self.ask("apps.list", {"target": "all"})["workers"])
        if up != count:
            raise NotMeasured(f"{up} of {count} workers are up; {self.log_tail()}")

    def connected(self, count):
        """So many clients that say nothing."""
        while len(self.clients) < count:
            self.clients.append(socket.create_connection(("127.0.0.1", self.port), 10))
        until = time.monotonic() + 20
        while (seen := self.ask("info")["counts"]["connections"]) < count:
            if time.monotonic() > until:
                raise NotMeasured(f"{seen} of {count} connections are there")
            time.sleep(0.05)

    def sleepers(self, floors, count):
        """So many runs alive, or some more; answers how many."""
        missing = count - self.pool()["running"]
        if missing > 0:
            floors.client(
                self.port, "--connections", 8, "--count", missing, "--seconds", 60, "--limit-s", 90,
                "--entry", "sleep", "--params", f'{{"seconds":{SLEEP_S}}}', pinned=False,
            )
        # Requests that are under way when the last one is sent go through too.
        if (running := self.pool()["running"]) < count:
            raise NotMeasured(f"{running} of {count} sleepers are alive")
        return running

    def done(self, floors, count):
        """So many runs more, one after the other on each of 8 connections; answers how many a second."""
        # The client takes 120 s at most.
        seconds, before = 0.0, time.monotonic()
        while count > 0:
            some = min(count, 100_000)
            floors.client(self.port, "--connections", 8, "--count", some, "--seconds", 110, "--limit-s", 120, pinned=False)
            count -= some
            seconds = time.monotonic() - before
        return seconds

    def memory(self):
        """{name: kB} of keeper and master."""
        result = {}
        for name, pid in (("master", self.master), ("keeper", self.keeper)):
            result |= {f"{name} {key}": value for key, value in machine.memory_kb([pid]).items()}
            result[f"{name} own"] = machine.own_kb(pid)
        return result

    def asked(self, method, params):
        """ms until the whole answer is here; not read as JSON, which would be Python's time."""
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(UP_S)
            client.connect(os.path.join(self.dir, "preforkd.sock"))
            begin = time.monotonic_ns()
            client.sendall(request)
            size, last = 0, b""
            while not last.endswith(b"\n"):
                last = client.recv(1 << 20)
                if not last:
                    raise NotMeasured(f"{method}: the connection ended after {size} bytes")
                size += len(last)
            return (time.monotonic_ns() - begin) / 1e6

    def commanded(self, *words):
        """ms that a command takes, from its start to its end."""
        command = [self.programs.daemon, "--dir", self.dir, *words]
        begin = time.monotonic_ns()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
        if done.returncode != 0:
            raise NotMeasured(f"{' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return (time.monotonic_ns() - begin) / 1e6


def listed(daemon, rounds, name):
    """What a look at all workers takes."""
    looks = {
        "apps.list": lambda: daemon.asked("apps.list", {"target": "all"}),
        "list": lambda: daemon.asked("list", {}),
        "command": lambda: daemon.commanded("list"),
        "json": lambda: daemon.commanded("--json", "list"),
        "jlist": lambda: daemon.commanded("jlist"),
    }
    for look, take in looks.items():
        rounds.add_value(f"{name} {look}", statistics.median(take() for _ in range(LIST_ROUNDS)))


def weighed(floors, daemon, rounds, name, effort, calls, running):
    """Memory, the time that a run takes, and (`calls`) the master's system calls for it; so many others live."""
    daemon.settle(60, running=running)
    # What a start needs and gives back is not what it costs to be there.
    time.sleep(effort.calm_s)
    for key, value in daemon.memory().items():
        rounds.add_value(f"{name} {key}", value)
    for _ in range(effort.latency_rounds):
        rounds.add(f"{name} run", floors.paced(daemon.port, effort.requests))
    rate = floors.throughput(daemon.port, 8, effort.rate_s)["per_second"]
    rounds.add_value(f"{name} cost", 1e6 / rate)
    daemon.settle(60, running=running)
    if calls:
        found = syscalls.counted(floors, daemon, *effort.strace, running=running)
        rounds.add_value(f"{name} calls", sum(found.values()))
