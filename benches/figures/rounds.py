"""Samples of all rounds, and what is said about them: medians over rounds, ratios within a round."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from .daemon import NotMeasured


class Rounds:
    """`values[name]` holds one number a round. Names are like `run native 0 8 p50`."""

    def __init__(self):
        self.values = {}
        self.missing = {}

    def add(self, name, result, fields=("p50", "p99")):
        for f in fields:
            self.values.setdefault(f"{name} {f}", []).append(result[f])

    def add_value(self, name, value):
        self.values.setdefault(name, []).append(value)

    def measure(self, name, function, take):
        """Runs one measurement, and `take` stores what it gave under names that begin with its own. Once it has
        failed it is not tried again, and what earlier rounds gave is dropped: half a result is none."""
        if name in self.missing:
            return
        try:
            take(function())
        except NotMeasured as e:
            self.drop(name, str(e))

    def drop(self, name, why):
        self.missing[name] = why
        for key in [k for k in self.values if k.startswith(f"{name} ")]:
            del self.values[key]

    def median(self, name):
        values = self.values.get(name)
        return statistics.median(values) if values else None

    def ratio(self, name, limit):
        """The median of each round's own ratio, because the machine differs from round to round. `limit` is
        a name, or a list of names whose values are added up."""
        of = self.values.get(name)
        names = limit if isinstance(limit, list) else [limit]
        if not of or any(n not in self.values for n in names):
            return None
        columns = [self.values[n] for n in names]
        return statistics.median(v / sum(parts) for v, *parts in zip(of, *columns))

    def limit(self, names):
        """The sum of medians, as a figure to show beside a ratio."""
        medians = [self.median(n) for n in names]
        return None if None in medians else sum(medians)


@dataclass
class Held:
    """A line of the table, held against a limit."""

    what: str
    # What the ratio is of, where that is not the first that is shown.
    figure: float | None = field(default=None, kw_only=True)
    limit: float | None = field(default=None, kw_only=True)
    limit_is: str = field(default="", kw_only=True)
    ratio: float | None = field(default=None, kw_only=True)
    # ("<=" or ">=", bound) of the ratio
    target: tuple | None = field(default=None, kw_only=True)
    note: str = field(default="", kw_only=True)

    @property
    def verdict(self):
        if self.target is None:
            return ""
        if self.ratio is None:
            return "not measured"
        sign, bound = self.target
        reached = self.ratio <= bound if sign == "<=" else self.ratio >= bound
        return "ok" if reached else "missed"


@dataclass
class Row(Held):
    p50: float | None = None
    p99: float | None = None
    per_second: float | None = None

    HEAD = ("p50", "p99", "a second")

    @property
    def shown(self):
        return self.p50, self.p99, self.per_second


@dataclass
class Offered(Held):
    """Latency at a rate at which requests are due."""

    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None

    HEAD = ("a second", "p50", "p99", "p99.9")

    @property
    def shown(self):
        return self.rate, self.p50, self.p99, self.p999


@dataclass
class Beside(Held):
    """The same figure of three supervisors."""

    preforkd: float | None = None
    pm2: float | None = None
    supervisord: float | None = None

    HEAD = ("preforkd", "pm2", "supervisord")

    @property
    def shown(self):
        return self.preforkd, self.pm2, self.supervisord


@dataclass
class Compared(Held):
    """One figure with what the section's title says, and without."""

    with_it: float | None = None
    without: float | None = None

    HEAD = ("with", "without")

    @property
    def shown(self):
        return self.with_it, self.without


@dataclass
class Endured(Held):
    """What each of four events did. Text is shown as it is."""

    upgrade: float | str | None = None
    kill: float | str | None = None
    pm2: float | str | None = None
    supervisord: float | str | None = None

    HEAD = ("upgrade", "kill -9", "pm2 update", "supervisord")

    @property
    def shown(self):
        return self.upgrade, self.kill, self.pm2, self.supervisord


@dataclass
class Slope(Held):
    """One figure with none of something, with some, and with more; the section's title tells how many."""

    values: list = field(default_factory=list)

    HEAD = ("none", "some", "more", "most")

    @property
    def shown(self):
        # Where there are fewer, the last is the most nevertheless.
        *some, last = self.values
        return (*some, *[None] * (len(self.HEAD) - len(self.values)), last)


@dataclass
class Section:
    title: str
    rows: list


def beside(rounds, what, name, holds=(), note=""):
    """The lines for one figure of all supervisors, `name` with `{}` for theirs: one line for each of `holds`, which
    are (limit, limit_is, ratio, target), or one without. The note of each that could not be measured is below."""
    names = [name.format(s) for s in Beside.HEAD]
    missing = [f"{s}: not measured: {w}" for s in Beside.HEAD for k, w in rounds.missing.items() if name.format(s).startswith(f"{k} ")]
    mine = rounds.median(names[0])
    rows = [Beside(what, *map(rounds.median, names), note="; ".join([*([note] if note else []), *missing]))]
    for i, (limit, limit_is, ratio, target) in enumerate(holds):
        if i > 0:
            rows.append(Beside("", figure=mine))
        rows[-1].limit, rows[-1].limit_is, rows[-1].ratio, rows[-1].target = limit, limit_is, ratio, target
    return rows


def against(rounds, name, peer, target=None):
    """Preforkd's figure held against a peer's."""
    mine, theirs = name.format("preforkd"), name.format(peer)
    return rounds.median(theirs), peer, rounds.ratio(mine, theirs), target
