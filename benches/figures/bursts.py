"""Requests that come in bursts: as many idle children as always, against as many as the last seconds needed."""

import random

from .daemon import Daemon
from .offered import BOUNDS, PERCENTILES, pool, saturation
from .rounds import Offered, Section

SETTINGS = {"fixed": (4, 4), "bounds": (BOUNDS["min"], BOUNDS)}
SAID = {"fixed": "idle: 4", "bounds": f"idle: {BOUNDS['min']} to {BOUNDS['max']}"}
# Bursts at full saturation, for so long, and then nothing for four times as long.
ON_MS, TIMES = 10, 5
# So many at once, every so often.
VOLLEY, PERIOD_S = 64, 1
SCHEDULES = {
    "bursts": f"{ON_MS} ms of saturation every {ON_MS * TIMES} ms",
    "volleys": f"{VOLLEY} at once each {PERIOD_S} s",
}


class Bursts:
    """One step a round for each runtime: both settings have the same rates."""

    def __init__(self, runtimes, floors, rounds, effort):
        self.runtimes, self.floors, self.rounds, self.effort = runtimes, floors, rounds, effort

    def start(self, stack, programs):
        steps = []
        for runtime in self.runtimes:
            daemons = {}
            for setting, (least, idle) in SETTINGS.items():

                def begun(least=least, idle=idle, runtime=runtime):
                    return stack.enter_context(Daemon(pool(runtime, least, {"idle": idle}), programs))

                def ready(daemon, setting=setting, daemons=daemons):
                    daemons[setting] = daemon

                self.rounds.measure(f"burst {runtime} {setting}", begun, ready)
            if daemons:
                steps.append(lambda runtime=runtime, daemons=daemons: self.step(runtime, daemons))
        return steps

    def step(self, runtime, daemons):
        any_of_them = next(iter(daemons.values()))
        rates = []

        def full():
            any_of_them.settle()
            return saturation(self.floors, any_of_them.port, self.effort.saturation_s, "--entry", any_of_them.entry)

        self.rounds.measure(f"burst {runtime}", full, rates.append)
        kinds = [(schedule, setting) for schedule in SCHEDULES for setting in daemons]
        for schedule, setting in random.sample(kinds, len(kinds)) if rates else ():
            self.one(f"burst {runtime} {setting}", schedule, daemons[setting], rates[0])

    def one(self, name, schedule, daemon, full):
        # The pool has a second to see what is asked of it.
        if schedule == "bursts":
            args = (full / TIMES, self.effort.bursts_s, "--on-ms", ON_MS, "--times", TIMES)
        else:
            args = (VOLLEY / PERIOD_S, self.effort.volleys_s, "--volley", VOLLEY)
        more = ("--schedule", schedule, "--warm-s", PERIOD_S, "--seed", random.randrange(1 << 32), "--entry", daemon.entry)

        def measured():
            daemon.settle()
            return self.floors.load(daemon.port, *args, *more)

        def keep(result):
            self.rounds.add(f"{name} {schedule}", result["latency"], PERCENTILES)
            self.rounds.add_value(f"{name} {schedule} rate", args[0])

        self.rounds.measure(name, measured, keep)

    def section(self):
        rows = []
        for runtime in self.runtimes:
            for schedule, said in SCHEDULES.items():
                for setting in SETTINGS:
                    name, fixed = f"burst {runtime} {setting}", f"burst {runtime} fixed {schedule}"
                    shown = [self.rounds.median(f"{name} {schedule} {p}") for p in ("rate", *PERCENTILES)]
                    row = Offered(f"{runtime}, {said}, {SAID[setting]}", **dict(zip(("rate", "p50", "p99", "p999"), shown)))
                    row.note = self.rounds.missing.get(name) or self.rounds.missing.get(f"burst {runtime}", "")
                    if setting != "fixed":
                        row.figure, row.limit, row.limit_is = row.p99, self.rounds.median(f"{fixed} p99"), f"p99 with {SAID['fixed']}"
                        row.ratio = self.rounds.ratio(f"{name} {schedule} p99", f"{fixed} p99")
                    rows.append(row)
        return Section("run → answer when requests come in bursts: p99 held against p99", rows)
