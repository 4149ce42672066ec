"""Memory of the daemon with so many apps, and how long it takes to bring them up."""

import time

from . import machine
from .apps import pausing
from .rounds import Section, against, beside

FEW, MANY = 200, 1000
TENTH = ("<=", 0.1)
EACH_BYTES = 4096


def steps(supervisors, rounds, worker, counts, calm_s):
    def one(make, count):
        with make(pausing(worker, count)) as supervisor:
            # What a start needs and gives back is not what it costs to be there.
            time.sleep(calm_s)
            return machine.memory_kb(supervisor.daemons), supervisor.took_ms

    def take(name):
        def store(result):
            memory, took_ms = result
            rounds.add(name, memory, ("Pss", "Rss"))
            if took_ms is not None:
                rounds.add_value(f"{name} up", took_ms)

        return store

    def step(supervisor, make, count):
        name = f"apps {supervisor} {count}"
        return lambda: rounds.measure(name, lambda: one(make, count), take(name))

    return [step(s, make, n) for s, make in supervisors.items() for n in counts]


def each_bytes(rounds):
    """What one app more takes, from 200 to 1,000, of medians."""
    for supervisor in ("preforkd", "pm2", "supervisord"):
        few, many = (rounds.median(f"apps {supervisor} {n} Pss") for n in (FEW, MANY))
        if few is not None and many is not None:
            rounds.add_value(f"apps {supervisor} each", (many - few) * 1024 / (MANY - FEW))


def sections(rounds):
    memory, up = [], []
    for count in (0, FEW, MANY):
        name = f"apps {{}} {count} Pss"
        holds = [against(rounds, name, peer, TENTH if count == FEW else None) for peer in ("pm2", "supervisord")]
        memory += beside(rounds, f"{count:,} apps, PSS", name, holds)
        memory += beside(rounds, f"{count:,} apps, RSS", f"apps {{}} {count} Rss")
    each_bytes(rounds)
    each = rounds.median("apps preforkd each")
    ratio = each / EACH_BYTES if each is not None else None
    what = f"each further app, bytes of PSS ({FEW} to {MANY:,})"
    memory += beside(rounds, what, "apps {} each", [(EACH_BYTES, "bytes", ratio, ("<=", 1.0))])
    for count in (FEW, MANY):
        name = f"apps {{}} {count} up"
        note = "preforkd starts 256 at once, then one every 10 ms" if count > 256 else ""
        up += beside(rounds, f"{count:,} apps", name, [against(rounds, name, p) for p in ("pm2", "supervisord")], note)
    return [
        Section("Memory of the daemon (preforkd: keeper and master), kB", memory),
        Section("From the command that starts the daemon until all apps run, ms", up),
    ]
