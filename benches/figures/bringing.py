"""From the command that starts the daemon until it is of use."""

import os
import socket
import time

from .apps import Preforkd, pausing
from .daemon import Config, NotMeasured
from .rounds import Beside, Section

APPS = 200
READY_S = 30
# Keeper and master, one after the other.
EXECS = 2
FLOOR = "commands floor dynamic p50"


class Started(Preforkd):
    """`serve` of so many apps that are not to run and of one pool or none; `took` has the times since the command, in µs."""

    def __init__(self, programs, apps, pools):
        super().__init__(programs, apps, pools)
        self.took = {}

    def definition(self, app):
        return {**super().definition(app), "autostart": False}

    def start(self):
        # The keeper tells of the first master that serves (sd_notify(3)); nobody has to look again and again.
        path = os.path.join(self.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(READY_S)
            os.environ["NOTIFY_SOCKET"] = path
            before = time.monotonic_ns()
            try:
                self.launch({"pools": self.pools, "apps": [self.definition(a) for a in self.apps]}, *self.listen)
            finally:
                del os.environ["NOTIFY_SOCKET"]
            try:
                manager.recv(4096)
            except TimeoutError as e:
                raise NotMeasured(f"the daemon was not ready after {READY_S} s: {self.log_tail()}") from e
            self.took["ready"] = (time.monotonic_ns() - before) / 1000
        self.ask("ping")
        self.took["ping"] = (time.monotonic_ns() - before) / 1000
        if self.pools:
            self.ask("run", {"pool": "bench", "entry": self.entry, "wait": True})
            self.took["run"] = (time.monotonic_ns() - before) / 1000
        self.disconnect()


KINDS = {
    "no pools, no apps": (0, False),
    "one native pool": (0, True),
    f"{APPS} apps defined": (APPS, False),
}


class Serving:
    def __init__(self, floors, rounds, effort):
        self.floors, self.rounds = floors, rounds

    def start(self, _, programs):
        worker = self.floors.tool("worker")

        def step(kind, apps, pool):
            pools = [Config("native").pool(programs)] if pool else []

            def one():
                with Started(programs, pausing(worker, apps), pools) as daemon:
                    return daemon.took

            name = f"daemon {kind}"
            return lambda: self.rounds.measure(name, one, lambda took: self.rounds.add(name, took, took))

        return [step(kind, *of) for kind, of in KINDS.items()]

    def section(self):
        rounds, rows = self.rounds, []
        floor = rounds.median(FLOOR)
        for kind in KINDS:
            for moment, what in (("ping", "`ping` is answered"), ("run", "the first run has ended")):
                name = f"daemon {kind} {moment}"
                if rounds.median(name) is None and moment == "run":
                    continue
                ready = rounds.median(f"daemon {kind} ready")
                note = rounds.missing.get(f"daemon {kind}", "")
                if ready is not None and moment == "ping":
                    note = f"systemd is told READY=1 after {ready:,.0f}"
                row = Beside(f"{kind}: until {what}", rounds.median(name), note=note)
                if floor is not None:
                    row.limit, row.limit_is = EXECS * floor, f"{EXECS} × fork, exec of dynamic"
                    row.ratio = rounds.ratio(name, [FLOOR] * EXECS)
                rows.append(row)
        return Section("From the command `serve`, µs", rows)
