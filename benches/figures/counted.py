"""What a run and an idle child cost in things that can be counted: the same on a busy machine as on a quiet one."""

from .copied import minor_faults, own_kb
from .daemon import Config, Daemon
from .rounds import Counted, Section
from .syscalls import per_run

IDLE, MB = 4, 20
# (few, many) runs; their difference is what counts.
SYSCALLS = (20, 80)
# Before each close, in a build with debug assertions alone: the standard library looks whether the descriptor is open.
CHECKED = "fcntl"
# What is allowed: the figures of docs/PERFORMANCE.md and, for system calls, the rare ones that it names; for pages a quarter, since another
# build of an interpreter has others, and as a build without optimization has them for the native kit.
CALLS = {IDLE: 14, 0: 10}
FAULTS = {("native", IDLE): 36, ("native", 0): 33, ("php", IDLE): 160, ("php", 0): 155, ("python", IDLE): 600, ("python", 0): 550}
OWN_KB = {"native": 48, "php": 240, "python": 1550}


class Counts:
    """Each once, in daemons of their own."""

    def __init__(self, runtimes, floors, rounds, programs):
        self.runtimes, self.floors, self.rounds, self.programs = runtimes, floors, rounds, programs

    def measure(self):
        for runtime in self.runtimes:
            for idle in (IDLE, 0):
                name = f"counted {runtime} {idle}"
                self.rounds.measure(name, lambda r=runtime, i=idle: self.one(r, i), lambda found, n=name: self.keep(n, found))

    def one(self, runtime, idle):
        found = {}
        with Daemon(Config(runtime, MB, idle), self.programs) as daemon:
            found["faults"] = minor_faults(daemon, 5, daemon.entry)
            if idle:
                found["own"] = own_kb(daemon, "Private_Dirty")
            if runtime == "native":
                calls, _ = per_run(self.floors, daemon, *SYSCALLS)
                found["calls"] = sum(times for call, times in calls.items() if call != CHECKED)
        return found

    def keep(self, name, found):
        for what, value in found.items():
            self.rounds.add_value(f"{name} {what}", value)

    def row(self, what, runtime, idle, of, allowed):
        name = f"counted {runtime} {idle}"
        found = self.rounds.median(f"{name} {of}")
        ratio = None if found is None else found / allowed
        how = f"{IDLE} idle" if idle else "on demand"
        note = self.rounds.missing.get(name, "")
        return Counted(f"{what}, {how}: {runtime}", found, limit=allowed, limit_is="allowed", ratio=ratio, target=("<=", 1), note=note)

    def section(self):
        rows = []
        if "native" in self.runtimes:
            rows += [self.row("system calls of the master for a run", "native", idle, "calls", CALLS[idle]) for idle in CALLS]
        for runtime in self.runtimes:
            for idle in (IDLE, 0):
                rows.append(self.row("minor faults of a run that does nothing", runtime, idle, "faults", FAULTS[runtime, idle]))
            rows.append(self.row("an idle child's own memory, kB", runtime, IDLE, "own", OWN_KB[runtime]))
        return Section(f"Counts, {MB} MB preloaded", rows)
