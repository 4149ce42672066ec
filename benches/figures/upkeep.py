"""Processor time of the daemon while nothing happens, while an app crashes on and on, and while one writes logs."""

import contextlib
import os
import time

from . import machine
from .apps import App, pausing
from .daemon import NotMeasured
from .rounds import Section, against, beside

IDLE = 200
CALM_S = 4
LINES_MB = 10


def used(supervisors, seconds, before):
    """Every daemon's processor time in ms and times scheduled in, over the same seconds; `before` is begun with each
    of them as the clock starts."""
    start = {}
    for supervisor in supervisors:
        start[supervisor] = machine.cpu_ns(supervisor.daemons), sum(map(machine.switches, supervisor.daemons))
    due = time.monotonic() + seconds
    for supervisor in supervisors:
        before(supervisor)
    time.sleep(max(0, due - time.monotonic()))
    return {
        s.name: ((machine.cpu_ns(s.daemons) - cpu) / 1e6, sum(map(machine.switches, s.daemons)) - switches)
        for s, (cpu, switches) in start.items()
    }


def entered(stack, supervisors, rounds, name, apps):
    found = []
    for supervisor, make in supervisors.items():
        try:
            found.append(stack.enter_context(make(apps)))
        except NotMeasured as e:
            rounds.missing[f"{name} {supervisor}"] = str(e)
    return found


def idle(supervisors, rounds, worker, seconds):
    with contextlib.ExitStack() as stack:
        found = entered(stack, supervisors, rounds, "idle", pausing(worker, IDLE))
        time.sleep(CALM_S)
        for name, (cpu_ms, switches) in used(found, seconds, lambda _: None).items():
            rounds.add_value(f"idle {name} cpu", cpu_ms)
            rounds.add_value(f"idle {name} switches", switches)


def crashing(supervisors, rounds, worker, seconds):
    """{name: what became of the app}"""
    became = {}
    with contextlib.ExitStack() as stack:
        found = entered(stack, supervisors, rounds, "crash", [])
        time.sleep(CALM_S)
        times = used(found, seconds, lambda s: s.add(App("crashing", [worker, "crash"])))
        for supervisor in found:
            rounds.add_value(f"crash {supervisor.name} cpu", times[supervisor.name][0])
            became[supervisor.name] = supervisor.restarts("crashing")
    return became


def written(folder):
    """Bytes in log files, as far as they are still there uncompressed."""
    total = 0
    for at, _, names in os.walk(folder):
        total += sum(os.path.getsize(os.path.join(at, n)) for n in names if ".log" in n)
    return total


def lines(supervisors, rounds, worker, seconds):
    """One after the other: each of them can use a whole processor."""
    kinds = [(name, make, App("lines", [worker, "lines", str(LINES_MB)])) for name, make in supervisors.items()]
    plain = {"max_log_size": False}
    kinds.append(("plain", supervisors["preforkd"], App("lines", [worker, "lines", str(LINES_MB)], more=plain)))
    for name, make, app in kinds:

        def one(make=make, app=app):
            with make([app]) as supervisor:
                time.sleep(1)
                before = written(supervisor.dir)
                cpu_ms, _ = used([supervisor], seconds, lambda _: None)[supervisor.name]
                return cpu_ms, (written(supervisor.dir) - before) / seconds / 1e6

        def take(result, name=name):
            rounds.add_value(f"lines {name} cpu", result[0])
            rounds.add_value(f"lines {name} rate", result[1])

        rounds.measure(f"lines {name}", one, take)


def section(rounds, became, seconds):
    said = "; ".join(f"{name}: {what}" for name, what in became.items())
    switches = rounds.median("idle preforkd switches")
    ratio = None if switches is None else float(switches)
    rows = [
        *beside(rounds, f"{IDLE} idle apps", "idle {} cpu"),
        *beside(rounds, f"{IDLE} idle apps: times scheduled in", "idle {} switches", [(None, "none", ratio, ("<=", 0))]),
        *beside(rounds, "a crash loop, default policy", "crash {} cpu", note=said),
    ]
    plain = rounds.median("lines plain cpu")
    rates = [f"{n} {rounds.median(f'lines {n} rate'):.1f}" for n in ("pm2", "supervisord") if rounds.median(f"lines {n} rate")]
    note = "preforkd rotates at 10 MB and compresses"
    if plain is not None:
        note += f"; with max_log_size: false, which compares with pm2, {plain:,.0f} ms"
    if rates:
        note += f"; MB/s written: preforkd {rounds.median('lines plain rate') or 0:.1f}, {', '.join(rates)}"
    holds = [against(rounds, "lines {} cpu", peer) for peer in ("pm2", "supervisord")]
    rows += beside(rounds, f"{LINES_MB} MB/s of log lines", "lines {} cpu", holds, note)
    return Section(f"Processor time of the daemon in {seconds} s, ms", rows)
