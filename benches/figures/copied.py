"""What a fork copies: page tables, then the pages that a child writes to, and those that PHP's own end touches."""

import time

from . import machine
from .daemon import Config, Daemon, NotMeasured
from .rounds import Compared, Section

SIZES_MB = (20, 200)
# The "To reach": the whole cycle of a run on demand, of that without huge pages.
TARGETS = {("php", 20): ("<=", 1 / 1.5), ("php", 200): ("<=", 0.25)}
# Pages that a run writes to: side by side, and so far apart that each lies in a huge page of its own.
WRITES = {"side by side": (256, 1), "2 MB apart": (100, 512)}
ENTRY = {"php": "Writes", "python": "jobs:writes"}


def minor_faults(daemon, count, entry, params=None):
    """Of one run, as its status has them: the least of several."""
    faults = []
    for _ in range(count):
        ended = daemon.ask("run", {"entry": entry, "wait": True, **({"params": params} if params else {})})
        if ended["exit_code"] != 0:
            raise NotMeasured(f"{entry}: {ended}")
        faults.append(ended["usage"]["minor_faults"])
    return min(faults)


def own_kb(daemon, key):
    """Of the idle child in the middle: a line of its smaps_rollup."""
    daemon.settle()
    time.sleep(0.2)  # the latest one rehearses
    values = []
    for pid in machine.below(daemon.keeper):
        if pid in (daemon.master, daemon.zygote):
            continue
        with open(f"/proc/{pid}/smaps_rollup") as f:
            values += [int(line.split()[1]) for line in f if line.startswith(f"{key}:")]
    return sorted(values)[len(values) // 2]


class Part:
    def __init__(self, runtimes, floors, rounds, effort):
        self.runtimes, self.floors, self.rounds, self.effort = runtimes, floors, rounds, effort

    def cycle(self, name, daemon, entry=None):
        """A step that measures from the request until the exit is known."""

        def measured():
            daemon.settle(60)
            machine.place(daemon.master, {machine.SERVER_CPU})
            try:
                args = ("--count", self.effort.requests, "--gap-ms", 0, "--entry", entry or daemon.entry, "--wait")
                return self.floors.client(daemon.port, *args, pinned=True)["latency"]
            finally:
                machine.place(daemon.master, machine.PROCESSORS)

        return lambda: self.rounds.measure(name, measured, lambda r: self.rounds.add(name, r))

    def value(self, name, take):
        return lambda: self.rounds.measure(name, take, lambda value: self.rounds.add_value(f"{name} value", value))

    def row(self, what, name, names, target=None, unit="value"):
        """Of two configurations, the second of which is what the first is held against, unless it has nothing."""
        values = [self.rounds.median(f"{name} {n} {unit}") for n in names]
        ratio = self.rounds.ratio(*(f"{name} {n} {unit}" for n in names)) if values[1] else None
        missing = [self.rounds.missing[k] for n in names if (k := f"{name} {n}") in self.rounds.missing]
        return Compared(what, *values, ratio=ratio, target=target, note="; ".join(missing))

    def afterwards(self):
        pass


class Huge(Part):
    """Pools with and without huge pages, on demand."""

    NAMES = ("auto", "off")

    def start(self, stack, programs):
        steps = []
        self.daemons = {}
        for runtime in self.runtimes:
            for mb in SIZES_MB:
                for setting in self.NAMES:
                    config = Config(runtime, mb, more={"huge_pages": setting, "preload_timeout": "60s"})
                    daemon = stack.enter_context(Daemon(config, programs))
                    of = f"huge {runtime} {mb}"
                    self.daemons[of, setting] = daemon
                    steps += [self.cycle(f"{of} cycle {setting}", daemon)]
                    steps += [self.value(f"{of} fork {setting}", lambda d=daemon: self.fork_us(d))]
                    for how in WRITES if runtime in ENTRY else ():
                        steps += [self.value(f"{of} {how} {setting}", lambda d=daemon, h=how: self.writes_us(d, h))]
        return steps

    def fork_us(self, daemon):
        """What the zygote has measured over the latest runs."""
        for _ in range(20):
            daemon.ask("run", {"entry": daemon.entry, "wait": True})
        return daemon.pool()["fork_us"]

    def writes_us(self, daemon, how):
        pages, step = WRITES[how]
        params = {"pages": pages, "step": step}
        return min(daemon.ask("run", {"entry": ENTRY[daemon.config.runtime], "params": params, "wait": True})["result"] for _ in range(5))

    def afterwards(self):
        """Memory before and after many runs. Once, since only the first ones change anything."""
        for (of, setting), daemon in self.daemons.items():

            def endured(daemon=daemon):
                daemon.settle(60)
                args = ("--connections", 4, "--count", self.effort.endurance, "--entry", daemon.entry, "--wait", "--limit-s", 110)
                self.floors.client(daemon.port, *args, pinned=False)
                daemon.settle(60)
                with open(f"/proc/{daemon.zygote}/smaps_rollup") as f:
                    sizes = {line.split(":")[0]: int(line.split()[1]) for line in f if line.endswith("kB\n")}
                return sizes

            def take(sizes, of=of, setting=setting):
                self.rounds.add_value(f"{of} pss {setting} value", sizes["Pss"])
                self.rounds.add_value(f"{of} share {setting} value", 100 * sizes["AnonHugePages"] / sizes["Anonymous"])

            self.rounds.measure(f"{of} endurance {setting}", endured, take)

    def section(self):
        rows = []
        for runtime in self.runtimes:
            for mb in SIZES_MB:
                of, who = f"huge {runtime} {mb}", f"{runtime}, {mb} MB"
                rows.append(self.row(f"{who}: run → exit", f"{of} cycle", self.NAMES, TARGETS.get((runtime, mb)), unit="p50"))
                rows.append(self.row(f"{who}: the fork alone", f"{of} fork", self.NAMES))
                if runtime in ENTRY:
                    for how, (pages, _) in WRITES.items():
                        rows.append(self.row(f"{who}: the first writes to {pages} pages {how}", f"{of} {how}", self.NAMES))
                rows.append(self.row(f"{who}: PSS after {self.effort.endurance} runs, kB", f"{of} pss", self.NAMES))
                rows.append(self.row(f"{who}: of the memory huge then, %", f"{of} share", self.NAMES))
        return Section("Huge pages (with: huge_pages auto; without: off), on demand", rows)


class Copied(Part):
    """What a run that does nothing touches, and what an idle child has for itself."""

    def start(self, stack, programs):
        steps = []
        for runtime in self.runtimes:
            for idle in (0, 4):
                daemon = stack.enter_context(Daemon(Config(runtime, 20, idle), programs))
                of = f"copied {runtime} {idle}"
                steps.append(self.value(f"{of} faults", lambda d=daemon: minor_faults(d, 5, d.entry)))
                if idle:
                    steps += [self.value(f"{of} {key}", lambda d=daemon, k=key: own_kb(d, k)) for key in ("Private_Dirty", "Pss")]
        return steps

    def section(self):
        rows = []
        for runtime in self.runtimes:
            faults = [self.rounds.median(f"copied {runtime} {idle} faults value") for idle in (4, 0)]
            rows.append(Compared(f"{runtime}: minor faults of a run that does nothing", *faults))
            for key, what in (("Private_Dirty", "of its own"), ("Pss", "PSS")):
                rows.append(Compared(f"{runtime}: an idle child's memory, {what}, kB", self.rounds.median(f"copied {runtime} 4 {key} value")))
        return Section("What a run copies, 20 MB preloaded (with: idle children; without: on demand)", rows)


class Exit(Part):
    """How a PHP script leaves."""

    NAMES = ("fast", "full")
    SCRIPTS = {"ends in exit(0)": "exits.php", "comes back": "returns.php"}

    def start(self, stack, programs):
        if "php" not in self.runtimes:
            return []
        steps = []
        for setting in self.NAMES:
            daemon = stack.enter_context(Daemon(Config("php", 20, more={"shutdown": setting}), programs))
            for script in self.SCRIPTS.values():
                of = f"exit {script}"
                steps.append(self.cycle(f"{of} cycle {setting}", daemon, script))
                steps.append(self.value(f"{of} faults {setting}", lambda d=daemon, s=script: minor_faults(d, 5, s)))
        return steps

    def section(self):
        rows = []
        for what, script in self.SCRIPTS.items() if "php" in self.runtimes else ():
            rows.append(self.row(f"a script that {what}: run → exit", f"exit {script} cycle", self.NAMES, unit="p50"))
            rows.append(self.row(f"a script that {what}: minor faults", f"exit {script} faults", self.NAMES))
        return Section("How PHP leaves, 20 MB preloaded, on demand (with: shutdown fast; without: full)", rows)
