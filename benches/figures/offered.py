"""`run` → answer while requests come when they are due, at fractions of the rate that a closed loop reached just before."""

import contextlib
import random
from dataclasses import dataclass

from .daemon import ENTRY, Config, Daemon
from .floors import background
from .picture import Panel, svg
from .rounds import Offered, Section

CONNECTIONS, IDLE = 32, 8
# As many idle children as the load needs.
BOUNDS = {"min": 2, "max": 64}
FRACTIONS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95)
HALF = 0.5
PERCENTILES = ("p50", "p99", "p99.9")
TARGET = ("<=", 4.0)
# What is due in the first of it is not counted: the connections are new.
WARM_S = 0.1
# More runs may live than ever do here, so that none is queued.
MAX_RUNNING = 5000


@dataclass
class Server:
    """What is asked: the floor, or a daemon with one pool."""

    runtime: str
    idle: int
    half: tuple
    curve: tuple = ()
    target: tuple = None
    bounds: dict = None

    @property
    def name(self):
        return f"{self.runtime} {self.bounds['max'] if self.bounds else self.idle}"

    @property
    def what(self):
        if self.runtime == "bare":
            return "bare C server"
        if self.bounds:
            return f"{self.runtime}, {self.bounds['min']} to {self.bounds['max']} idle"
        return f"{self.runtime}, " + (f"{self.idle} idle" if self.idle else "on demand")

    def config(self):
        return pool(self.runtime, self.idle, {"idle": self.bounds} if self.bounds else None)

    @property
    def title(self):
        return {"php": "PHP with 300 classes"}.get(self.runtime, self.runtime) + f", {self.idle} idle children"

    @property
    def args(self):
        return ("--proto", "line") if self.runtime == "bare" else ("--entry", ENTRY[self.runtime])

    def points(self):
        """(schedule, fraction) of all that is measured."""
        half = [(schedule, HALF) for schedule in self.half]
        return half + [(schedule, f) for schedule in self.curve for f in FRACTIONS if (schedule, f) not in half]


def servers(runtimes):
    found = [Server("bare", 0, ("even", "poisson"), ("poisson",))]
    for runtime in runtimes:
        if runtime == "native":
            found += [Server(runtime, IDLE, ("even", "poisson"), ("poisson", "even"), TARGET), Server(runtime, 0, ("poisson",))]
            found += [Server(runtime, BOUNDS["min"], ("poisson",), bounds=BOUNDS)]
        elif runtime == "php":
            found += [Server(runtime, IDLE, ("even", "poisson"), ("poisson",)), Server(runtime, 0, ("poisson",))]
        else:
            found += [Server(runtime, IDLE, ("poisson",))]
    return found


def pool(runtime, idle, more=None):
    return Config(runtime, idle=idle, max_running=MAX_RUNNING, more={"max_queued": 10000, **(more or {})})


def saturation(floors, port, seconds, *args):
    return floors.throughput(port, CONNECTIONS, seconds, *args)["per_second"]


class Curves:
    """One step a round for each server: its saturation, and then its points in random order, all within seconds."""

    def __init__(self, found, floors, rounds, effort):
        self.servers, self.floors, self.rounds, self.effort = found, floors, rounds, effort

    def start(self, stack, programs):
        steps = []
        for server in self.servers:

            def begun(server=server):
                if server.runtime == "bare":
                    return None
                return stack.enter_context(Daemon(server.config(), programs))

            def ready(daemon, server=server):
                steps.append(lambda: self.rounds.measure(server.name, lambda: self.measured(server, daemon), self.keep))

            self.rounds.measure(server.name, begun, ready)
        return steps

    @contextlib.contextmanager
    def port(self, daemon):
        """A port, and what waits until nothing is left of the load before."""
        if daemon:
            yield daemon.port, daemon.settle
        else:
            with background(self.floors.tool("server")) as port:
                yield port, lambda: None

    def measured(self, server, daemon):
        found = {}
        with self.port(daemon) as (port, settle):
            settle()
            full = saturation(self.floors, port, self.effort.saturation_s, *server.args)
            found[f"{server.name} saturation"] = {"per_second": full}
            for schedule, fraction in random.sample(server.points(), len(server.points())):
                settle()
                seconds = self.effort.seconds(server, fraction, full * fraction)
                args = ("--schedule", schedule, "--seed", random.randrange(1 << 32), "--warm-s", WARM_S)
                result = self.floors.load(port, full * fraction, seconds, *args, *server.args)
                found[point(server, schedule, fraction)] = {**result, "per_second": full * fraction}
        return found

    def keep(self, found):
        for name, result in found.items():
            self.rounds.add_value(f"{name} rate", result["per_second"])
            if "latency" in result:
                self.rounds.add(name, result["latency"], (*PERCENTILES, "count"))
                self.rounds.add_value(f"{name} late", result["late"]["p99.9"])

    def sections(self):
        halves = [self.half(server, schedule) for server in self.servers for schedule in server.half]
        found = [Section("run → answer at half of saturation: p99.9 held against p50", halves)]
        for server in self.servers:
            for schedule in server.curve:
                rows = [self.row(server, f"{f:g} of saturation", schedule, f) for f in FRACTIONS]
                full = self.rounds.median(f"{server.name} saturation rate")
                rows.append(Offered("saturation", rate=full, note=self.rounds.missing.get(server.name, "")))
                found.append(Section(f"run → answer against load: {server.what}, {schedule}", rows))
        return found

    def picture(self, rounds):
        """As SVG; None when there is no curve."""
        names = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
        panels = []
        floor = {"floor50": self.line("bare 0", "p50"), "floor999": self.line("bare 0", "p99.9")}
        for server in self.servers:
            full = self.rounds.median(f"{server.name} saturation rate")
            if server.runtime == "bare" or "poisson" not in server.curve or not full:
                continue
            lines = {kind: self.line(server.name, percentile) for kind, percentile in names.items()}
            if server.runtime == "native":
                lines |= floor
            panels.append(Panel(server.title, lines, [(full * HALF, "half"), (full, "saturation")]))
        if floor["floor50"]:
            names |= {"floor50": "bare fork-per-request server in C: p50", "floor999": "its p99.9"}
        told = f"run → answer, from when a request was due; due at random (Poisson); medians of {rounds} rounds"
        return svg("Latency against load", told, names, panels) if panels else None

    def line(self, server, percentile):
        found = [[self.rounds.median(f"{server} poisson {f:g} {of}") for of in ("rate", percentile)] for f in FRACTIONS]
        return [tuple(point) for point in found if None not in point]

    def row(self, server, what, schedule, fraction):
        name = point(server, schedule, fraction)
        shown = [self.rounds.median(f"{name} {p}") for p in ("rate", *PERCENTILES)]
        return Offered(what, **dict(zip(("rate", "p50", "p99", "p999"), shown)))

    def half(self, server, schedule):
        name = point(server, schedule, HALF)
        row = self.row(server, f"{server.what}, {schedule}", schedule, HALF)
        row.figure, row.limit, row.limit_is, row.target = row.p999, row.p50, "p50", server.target
        row.ratio = self.rounds.ratio(f"{name} p99.9", f"{name} p50")
        row.note = self.rounds.missing.get(server.name, "")
        if row.p50 is not None:
            late = self.rounds.median(f"{name} late")
            row.note = f"{sum(self.rounds.values[f'{name} count']):,} requests; sent late by {late:,.0f} (p99.9)"
        return row


def point(server, schedule, fraction):
    return f"{server.name} {schedule} {fraction:g}"
