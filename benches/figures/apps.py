"""Apps that say when they began, and preforkd keeping them up."""

import os
import select
import time
from dataclasses import dataclass, field

from .daemon import Config, Daemon, NotMeasured

UP_S = 120


@dataclass
class App:
    name: str
    command: list
    # Keys that preforkd alone has, and variables for it.
    more: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)


def pausing(worker, count):
    return [App(f"app{i}", [worker]) for i in range(count)]


class Begun:
    """The FIFO on which workers say that they began (benches/worker.c). It is held open, so that there always is
    a reader."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "begun")
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.rest = b""

    def wait(self, count, seconds=UP_S):
        """{pid: CLOCK_MONOTONIC in ns} of the next so many."""
        found, until = {}, time.monotonic() + seconds
        while len(found) < count:
            if not select.select([self.fd], [], [], max(0, until - time.monotonic()))[0]:
                raise NotMeasured(f"{len(found)} of {count} were up after {seconds} s")
            *lines, self.rest = (self.rest + os.read(self.fd, 65536)).split(b"\n")
            found.update(tuple(map(int, line.split())) for line in lines)
        return found

    def all_up(self, count, since):
        """Their pids, and from `since` to the last one's first instruction in ms."""
        found = self.wait(count)
        return list(found), (max(found.values()) - since) / 1e6 if found else None

    def close(self):
        os.close(self.fd)


class Preforkd(Daemon):
    """Keeper and master. Once entered its apps run: `pids` are the workers', `took_ms` is from the command to the
    last one's first instruction. All supervisors have these."""

    name = "preforkd"

    def __init__(self, programs, apps, pools=(), tcp=False):
        super().__init__(Config("native"), programs)
        self.apps, self.pools = apps, list(pools)
        self.listen = ["--listen", f"127.0.0.1:{self.port}"] if tcp else ["--no-tcp"]
        self.begun = Begun(self.dir)

    def definition(self, app):
        return {
            "name": app.name,
            **({"script": app.command[0], "args": app.command[1:], "interpreter": "none"} if app.command else {}),
            "cwd": self.dir,
            "env": {"BENCH_BEGUN": self.begun.path, **app.env},
            **app.more,
        }

    def start(self):
        before = time.monotonic_ns()
        self.launch({"pools": self.pools, "apps": [self.definition(a) for a in self.apps]}, *self.listen)
        count = sum(a.more.get("instances", 1) for a in self.apps)
        self.pids, self.took_ms = self.begun.all_up(count, before)
        self.answering()
        self.learn_pids()

    def answering(self):
        until = time.monotonic() + UP_S
        while True:
            try:
                return self.ask("info")
            except (OSError, ValueError) as e:
                self.disconnect()
                if time.monotonic() > until or self.process.poll() is not None:
                    raise NotMeasured(f"the daemon does not answer: {e}; {self.log_tail()}") from e
                time.sleep(0.02)

    @property
    def daemons(self):
        return [self.keeper, self.master]

    def add(self, app):
        self.ask("apps.start", {"apps": [self.definition(app)], "folder": self.dir, "env": dict(os.environ), "wait": False})
        self.disconnect()

    def restarts(self, name):
        worker = self.ask("apps.list", {"target": name})["workers"][0]
        self.disconnect()
        return f"{worker['restarts']} restarts, then {worker['state']}"

    def renewed(self):
        """All of them anew, so that the next end of each is its first one again."""
        self.ask("apps.restart", {"target": "all"})
        self.disconnect()
        self.pids = list(self.begun.wait(len(self.pids)))

    def stop(self):
        super().stop()
        self.begun.close()
