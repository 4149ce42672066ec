"""What an upgrade or the death of a master does to clients, workers and memory."""

import contextlib
import os
import signal
import tempfile
import time

from . import machine, numbered
from .apps import Preforkd
from .daemon import Config, NotMeasured
from .frame import say
from .knocking import Knocking
from .pipelined import Pipelined

IDLE = 1000
# How long a status is kept, which a new master counts anew; once nothing has run for longer, memory can be compared.
KEEP_S, CALM_S = 1, 5
FULL_S = 30
# Between two of them: a master that lived for less than 1 s is followed only after a pause.
LIFE_S = 1.2
# Between the quiet time that is measured and what is held against it.
APART_NS = 10_000_000


class Endured:
    """A daemon with runs, idle children and workers; everything that one kind of event does to it."""

    def __init__(self, name, programs, floors, rounds, effort):
        self.name, self.programs, self.floors, self.rounds, self.effort = name, programs, floors, rounds, effort

    def measure(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="preforkd-bench-"))
            apps = numbered.apps(self.floors.tool("worker"), folder)
            daemon = self.daemon = stack.enter_context(Preforkd(self.programs, apps, self.pools(), tcp=True))
            self.full()
            # What the first requests make stays.
            with self.clients(folder) as clients:
                time.sleep(self.effort.warm_s)
                clients.end()
            before = self.held()
            with Knocking(os.path.join(daemon.dir, "preforkd.sock")) as knocking, self.clients(folder) as clients:
                time.sleep(1)
                events = self.events()
                time.sleep(1)
                clients.end()
            self.keep(before, self.held(), numbered.judge(folder, daemon.dir), knocking, clients)
            return clients, events

    def pools(self):
        few = Config("native", idle=8, more={"name": "busy", "keep": f"{KEEP_S}s", "default": True})
        many = Config("native", idle=IDLE, max_running=IDLE, more={"name": "idle"})
        return [few.pool(self.programs), many.pool(self.programs)]

    def clients(self, folder):
        return Pipelined(self.floors, self.daemon.port, "busy", folder, self.effort.limit_s)

    def full(self):
        """Waits for the idle children."""
        until = time.monotonic() + FULL_S
        while True:
            pools = {pool["name"]: pool for pool in self.daemon.ask("pools")["pools"]}
            if all(p["state"] == "ready" for p in pools.values()) and pools["idle"]["idle"] >= IDLE:
                return
            if time.monotonic() > until:
                raise NotMeasured(f"{pools['idle']['idle']} of {IDLE} idle children after {FULL_S} s")
            time.sleep(0.05)

    def held(self):
        time.sleep(KEEP_S + CALM_S)
        self.full()
        self.daemon.learn_pids()
        found = {"processes": len(machine.below(self.daemon.keeper))}
        for who, pid in (("keeper", self.daemon.keeper), ("master", self.daemon.master)):
            found[f"{who} fds"] = machine.files(pid)
            found[f"{who} RssAnon"] = machine.own_kb(pid)
            found[f"{who} PSS"] = machine.memory_kb([pid])["Pss"]
        return found

    def keep(self, before, after, lines, knocking, clients):
        add = lambda what, value: self.rounds.add_value(f"{self.name} {what}", value)
        for what in before:
            add(f"{what} before", before[what])
            add(f"{what} after", after[what])
        for what in ("begun", "repeated", "duplicates", "lost", "doubled", "wrong", "unknown"):
            add(f"runs {what}", clients.counts[what])
        add("runs refused", clients.counts["refused"] + clients.counts["unreachable"] + knocking.refused)
        if failure := clients.counts["first_failure"]:
            say(f"bench: {self.name}: the first answer that was not the right one: {failure.strip()}")
        keep_lines(self.rounds, self.name, lines)
        add("deaf", knocking.longest_ms)


def keep_lines(rounds, name, lines):
    rounds.add_value(f"{name} restarted", lines.restarted)
    for what in ("written", "lost", "doubled"):
        rounds.add_value(f"{name} lines {what}", getattr(lines, what))
    for silence in lines.silences:
        rounds.add_value(f"{name} silence", silence)


class Upgrades(Endured):
    def events(self):
        found = []
        for number in range(self.effort.upgrades):
            begin = time.monotonic_ns()
            answer = self.daemon.ask("upgrade")
            end = time.monotonic_ns()
            found.append((begin, end, answer))
            time.sleep(LIFE_S + (end - begin) / 1e9)
            told(self.name, number, self.effort.upgrades)
        return found

    def measure(self):
        clients, events = super().measure()
        for begin, end, answer in events:
            quiet = begin - APART_NS - (end - begin), begin - APART_NS
            self.rounds.add_value("upgrade pause", clients.longest_pause(begin, end))
            self.rounds.add_value("upgrade quiet", clients.longest_pause(*quiet))
            self.rounds.add_value("upgrade own", answer["pause_us"] / 1000)
            self.rounds.add_value("upgrade whole", (end - begin) / 1e6)


class Kills(Endured):
    def events(self):
        found = []
        for number in range(self.effort.kills):
            self.daemon.learn_pids()
            found.append(time.monotonic_ns())
            os.kill(self.daemon.master, signal.SIGKILL)
            self.daemon.disconnect()
            time.sleep(LIFE_S)
            self.full()
            told(self.name, number, self.effort.kills)
        return found

    def measure(self):
        clients, events = super().measure()
        for killed in events:
            first, last = clients.until_served(killed)
            self.rounds.add_value("kill pause", last)
            self.rounds.add_value("kill first", first)
            # In the middle of its life the next master has done all that a start needs.
            quiet = killed - APART_NS - int(last * 1e6), killed - APART_NS
            self.rounds.add_value("kill quiet", clients.longest_pause(*quiet))


def told(name, number, count):
    if (number + 1) % 25 == 0:
        say(f"bench: {name}: {number + 1} of {count}")
