"""What an idle daemon has of its own, and of what it is made; how often anything of it is scheduled in."""

import contextlib
import time

from . import machine
from .apps import Preforkd
from .daemon import Config
from .rounds import Beside, Section

# A start's memory is given back two seconds after it, and what waits for that long is the keeper's after one.
CALM_S = 4
KINDS = {"no pools": None, "one pool, on demand": 0, "100 idle children": 100}
# Private memory of keeper and master without pools, kB.
BOUND_KB = 1200


def part(name, flags):
    """Which of the parts a mapping belongs to (proc_pid_smaps(5))."""
    if name.startswith("["):
        return name.strip("[]")
    if name.startswith("/memfd:"):
        return "received"
    if ".so" in name:
        return "libraries"
    if not name:
        return "other"
    return "relocated" if "w" not in flags else "data"


def private_kb(pid):
    """{part: kB that this process has written to, and so has for itself}"""
    found, to = {}, None
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            key, *rest = line.split(None, 5)
            if not key.endswith(":"):
                to = part(rest[4].strip() if len(rest) > 4 else "", rest[0])
            # What a file's page has been replaced by is anonymous. Memory of files in memory is not, but nobody else has these mapped.
            elif key == ("Rss:" if to == "received" else "Anonymous:") and int(rest[0]):
                found[to] = found.get(to, 0) + int(rest[0])
    return found


class Idle:
    def __init__(self, floors, rounds, effort):
        self.rounds, self.seconds = rounds, effort.seconds
        self.made_of = {}

    def start(self, stack, programs):
        """Nothing in rounds: all of them are watched for the same seconds."""
        daemons = {}
        for kind, idle in KINDS.items():
            pools = [] if idle is None else [Config("native", idle=idle).pool(programs)]
            daemon = stack.enter_context(Preforkd(programs, [], pools))
            daemon.config = Config("native", idle=idle or 0)
            if pools:
                daemon.settle()
                daemon.ask("run", {"pool": "bench", "entry": daemon.entry, "wait": True})
                daemon.settle()
            # A connection would be one more thing to be woken for.
            daemon.disconnect()
            daemons[kind] = daemon
        time.sleep(CALM_S)
        watched = {kind: [d.keeper, *machine.below(d.keeper)] for kind, d in daemons.items()}
        before = {kind: sum(map(machine.switches, pids)) for kind, pids in watched.items()}
        time.sleep(self.seconds)
        for kind, pids in watched.items():
            name = f"idle {kind}"
            self.rounds.add_value(f"{name} processes", len(pids))
            self.rounds.add_value(f"{name} switches", sum(map(machine.switches, pids)) - before[kind])
            daemon = daemons[kind]
            for process, pid in (("keeper", daemon.keeper), ("master", daemon.master)):
                of = private_kb(pid)
                self.made_of[f"{name} {process}"] = of
                self.rounds.add_value(f"{name} {process} private", sum(of.values()))
                self.rounds.add(f"{name} {process}", machine.memory_kb([pid]), ("Pss", "Rss"))
        return []

    def section(self):
        rounds, rows = self.rounds, []
        for kind in KINDS:
            name = f"idle {kind}"
            both = 0
            for process in ("keeper", "master"):
                of = sorted(self.made_of[f"{name} {process}"].items(), key=lambda item: -item[1])
                pss, rss = (rounds.median(f"{name} {process} {value}") for value in ("Pss", "Rss"))
                note = f"{', '.join(f'{what} {kb:,}' for what, kb in of)}; PSS {pss:,.0f}, RSS {rss:,.0f}"
                private = rounds.median(f"{name} {process} private")
                both += private
                rows.append(Beside(f"{kind}: {process}, private, kB", private, note=note))
            if kind == "no pools":
                rows[-1].limit, rows[-1].limit_is = BOUND_KB, "with the keeper's"
                rows[-1].ratio, rows[-1].target = both / BOUND_KB, ("<=", 1)
            switches, count = (int(rounds.median(f"{name} {of}")) for of in ("switches", "processes"))
            what = f"{kind}: times scheduled in, {count} processes"
            rows.append(Beside(what, switches, ratio=float(switches), target=("<=", 0), limit_is="none"))
        return Section(f"An idle daemon: memory that each process has written to, and wake-ups in {self.seconds} s", rows)
