"""The parts of `scripts/bench scale`: each takes a daemon from none to very many of something, and measures on the way."""

from . import crowd
from .daemon import NotMeasured
from .rounds import Section, Slope

SLOWER = ("<=", 1.5)
MASTER_KB, LIST_MS = 64 << 10, 50


class Part:
    """One thing that there may be many of."""

    # {figure: (what it is, decimal)}
    rows = {
        "run p50": "run → answer, 10 ms apart, µs: p50",
        "run p99": "… p99",
        "cost": "time a run, closed loop, 8 connections, µs",
        "calls": "system calls of the master for a run",
        "master own": "master, memory of its own (RssAnon), kB",
        "master Rss": "… all of it (Rss), kB",
        "keeper own": "keeper, memory of its own, kB",
    }
    slower = "run p50"

    def __init__(self, rounds, effort):
        self.rounds, self.effort = rounds, effort
        self.counts = [0, *self.many()]

    def name(self, count):
        return f"{type(self).__name__.lower()} {count}"

    def measure(self, floors, programs):
        try:
            with crowd.Crowd(programs, *self.options()) as daemon:
                for count in self.counts:
                    # strace at the ends alone: it is slow, and what lies between is between.
                    calls = count in (0, self.counts[-1])
                    alive = self.grow(floors, daemon, count) or 0
                    crowd.weighed(floors, daemon, self.rounds, self.name(count), self.effort, calls, alive)
                    self.look(daemon, count)
        except NotMeasured as e:
            for count in self.counts:
                self.rounds.drop(self.name(count), str(e))

    def options(self):
        return []

    def grow(self, floors, daemon, count):
        """From so many as before to `count`; answers how many runs live then, if any."""
        raise NotImplementedError

    def look(self, daemon, count):
        pass

    def values(self, figure):
        return [self.rounds.median(f"{self.name(count)} {figure}") for count in self.counts]

    def held(self, figure):
        """What a row is held against."""
        if figure != self.slower:
            return {}
        none, most = (f"{self.name(self.counts[i])} {figure}" for i in (0, -1))
        return {"limit": self.rounds.median(none), "limit_is": "with none", "ratio": self.rounds.ratio(most, none), "target": SLOWER}

    def each(self, figure):
        """Bytes for one more, from the first count to the last."""
        first, last = (self.rounds.median(f"{self.name(self.counts[i])} {figure}") for i in (0, -1))
        return None if first is None or last is None else (last - first) * 1024 / (self.counts[-1] - self.counts[0])

    def section(self):
        rows = [Slope(what, self.values(figure), **self.held(figure)) for figure, what in self.rows.items()]
        for who in ("master", "keeper"):
            rows.append(Slope(f"… bytes of the {who}'s own for each", [None] * (len(self.counts) - 1) + [self.each(f"{who} own")]))
        if why := self.rounds.missing.get(self.name(0)):
            rows[0].note = why
        return Section(f"{self.title}: {', '.join(f'{count:,}' for count in self.counts)}", rows)


class Workers(Part):
    title = "Workers without logs"
    rows = Part.rows | {
        "apps.list": "`apps.list` of all, ms",
        "list": "`list`, ms",
        "command": "`preforkd list`, ms",
        "json": "`preforkd --json list`, ms",
        "jlist": "`preforkd jlist`, ms",
    }
    logs = False

    def many(self):
        return [crowd.room(n, crowd.QUIET_FDS) for n in self.effort.workers]

    def grow(self, floors, daemon, count):
        daemon.workers(count, floors.tool("worker"), self.logs)

    def look(self, daemon, count):
        crowd.listed(daemon, self.rounds, self.name(count))

    def held(self, figure):
        limits = {"master Rss": (MASTER_KB, "kB"), "apps.list": (LIST_MS, "ms"), "list": (LIST_MS, "ms")}
        if figure not in limits:
            return super().held(figure)
        (limit, unit), most = limits[figure], self.values(figure)[-1]
        return {"limit": limit, "limit_is": unit, "ratio": None if most is None else most / limit, "target": ("<=", 1.0)}


class Logged(Workers):
    title = "Workers with a pipe for each of their outputs, and two logs for all"
    logs = True

    def many(self):
        return [crowd.room(n, crowd.LOGGED_FDS) for n in self.effort.logged]


class Connections(Part):
    title = "Connections that say nothing"

    def many(self):
        return [crowd.room(n, 1) for n in self.effort.connections]

    def grow(self, floors, daemon, count):
        daemon.connected(count)


class Alive(Part):
    title = "Runs that live"

    def many(self):
        return [crowd.room(n, 1) for n in self.effort.alive]

    def grow(self, floors, daemon, count):
        return daemon.sleepers(floors, count)


class Done(Part):
    title = "Runs that are done, of which the last 100,000 are kept"
    rows = Part.rows | {"list": "`list`, ms", "runs": "`runs`, a page of the first 100, ms"}

    def many(self):
        return self.effort.done

    def grow(self, floors, daemon, count):
        before = daemon.ask("info")["counts"]["runs_total"]
        daemon.done(floors, max(0, count - before))

    def look(self, daemon, count):
        self.rounds.add_value(f"{self.name(count)} list", daemon.asked("list", {}))
        self.rounds.add_value(f"{self.name(count)} runs", daemon.asked("runs", {"limit": 100}))

    def each(self, figure):
        """All but the first of them are kept."""
        first, second = (self.rounds.median(f"{self.name(count)} {figure}") for count in self.counts[:2])
        return None if first is None or second is None else (second - first) * 1024 / self.counts[1]


PARTS = {part.__name__.lower(): part for part in (Workers, Logged, Connections, Alive, Done)}
