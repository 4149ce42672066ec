"""From kill -9 of a worker to its successor's first instruction, against fork and exec of the same program."""

import contextlib
import subprocess
import time

from .apps import Begun, pausing
from .daemon import NotMeasured
from .floors import output_of
from .rounds import Section, against, beside

# As many first ends in each round; supervisord's take up to a second each.
WORKERS = {"preforkd": 20, "pm2": 20, "supervisord": 5, "floor": 20}
GAP_MS = 50
# supervisord takes a program for running after startsecs, 1 s.
CALM_S = 2
RAW_TARGET, PM2_TARGET = ("<=", 1.5), ("<=", 0.25)


class Floor:
    """fork, exec and waitpid in C (successor.c). It ends with its standard input, and its workers with it."""

    def __init__(self, floors, folder):
        self.begun = Begun(folder)
        self.command = [floors.tool("successor"), "floor", str(WORKERS["floor"]), floors.tool("worker")]
        self.env = {"BENCH_BEGUN": self.begun.path}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self.env)
        try:
            self.pids = list(self.begun.wait(WORKERS["floor"]))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.begun.close()

    def renewed(self):
        """For it each end is like the first one."""


def measure(floors, supervisors, rounds, folder, effort, in_rounds):
    """All of them are up while one is measured."""
    with contextlib.ExitStack() as stack:
        kept = {"floor": stack.enter_context(Floor(floors, folder))}
        for name, make in supervisors.items():
            try:
                kept[name] = stack.enter_context(make(pausing(floors.tool("worker"), WORKERS[name])))
            except NotMeasured as e:
                rounds.missing[f"successor {name}"] = str(e)

        def one(name):
            keeper = kept[name]
            command = [floors.tool("successor"), "clock", keeper.begun.path, str(GAP_MS), *map(str, keeper.pids)]
            result = output_of(command)
            keeper.pids = result["pids"]
            return result["begun"]

        def step(name):
            key = f"successor {name}"
            return lambda: rounds.measure(key, lambda: one(name), lambda r: rounds.add(key, r))

        def before_round():
            for keeper in kept.values():
                keeper.renewed()
            time.sleep(CALM_S)

        in_rounds([step(name) for name in kept], effort.rounds, before_round)


def section(rounds):
    floor = "successor floor p50"
    raw = (rounds.median(floor), "fork + exec in C", rounds.ratio("successor preforkd p50", floor), RAW_TARGET)
    holds = [
        raw,
        against(rounds, "successor {} p50", "pm2", PM2_TARGET),
        against(rounds, "successor {} p50", "supervisord"),
    ]
    slowest = (rounds.median("successor floor p99"), "fork + exec in C", None, None)
    missing = rounds.missing.get("successor floor", "")
    note = f"fork + exec in C: not measured: {missing}" if missing else ""
    return Section(
        "From kill -9 of a worker to its successor's first instruction, µs",
        [
            *beside(rounds, "median", "successor {} p50", holds, note),
            *beside(rounds, "99 of 100", "successor {} p99", [slowest]),
        ],
    )
