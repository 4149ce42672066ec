"""Latencies, requests 10 ms apart: floors, `run` → answer, `run` with `wait` → exit, and cold starts."""

from . import machine
from .floors import background
from .rounds import Row, Section

RUNTIMES = ("native", "php", "python")
SIZES_MB = (0, 50)
# Tens of milliseconds each: fewer of these keep a round short.
SLOW_COUNT = {"cold php": 8, "cold python": 4, "forkserver": 20}
FORK = {"native": "fork_c", "php": "fork_php", "python": "fork_python"}
FORK_IS = {"native": "fork in C", "php": "pcntl_fork", "python": "os.fork"}
# The "To reach", as ratios of p50 to the limit.
IDLE_TARGET = {"native": ("<=", 2.5), "php": ("<=", 4.0)}
DEMAND_TARGET = {"native": ("<=", 1.3), "php": ("<=", 1.3)}
COLD_IDLE_TARGET, COLD_DEMAND_TARGET, FORKSERVER_TARGET = (">=", 100), (">=", 30), (">=", 8)


def size_name(mb):
    return f"{mb} MB" if mb else "small"


def floor_steps(floors, rounds, runtimes, count):
    """One entry a measurement of the floors: called once in each round."""
    steps = []

    def step(name, function, take):
        steps.append(lambda: rounds.measure(name, function, take))

    def echo():
        with background(floors.tool("echo"), "--cpu", str(machine.SERVER_CPU)) as port:
            return floors.paced(port, count, "--proto", "echo")

    def bare():
        with background(floors.tool("server")) as port:
            return floors.paced(port, count, "--proto", "line")

    def keep_fork(name):
        def take(result):
            rounds.add(f"{name} started", result["started"])
            rounds.add(f"{name} reaped", result["reaped"])

        return take

    def keep_cold(runtime):
        def take(result):
            rounds.add(f"cold {runtime} began", result["began"])
            rounds.add(f"cold {runtime} ended", result["ended"])

        return take

    step("echo", echo, lambda r: rounds.add("echo", r))
    step("paced bare", bare, lambda r: rounds.add("paced bare", r))
    for runtime in runtimes:
        for mb in SIZES_MB:
            name = f"fork {runtime} {mb}"
            fork = getattr(floors, FORK[runtime])
            step(name, lambda fork=fork, mb=mb: fork(mb, count), keep_fork(name))
    for runtime in (r for r in runtimes if r != "native"):
        slow = min(count, SLOW_COUNT[f"cold {runtime}"])
        step(f"cold {runtime}", lambda r=runtime, n=slow: floors.cold(r, n), keep_cold(runtime))
    if "python" in runtimes:
        slow = min(count, SLOW_COUNT["forkserver"])
        step("forkserver", lambda: floors.forkserver(slow), lambda r: rounds.add("forkserver", r["started"]))
    return steps


def key(config):
    return f"{config.runtime} {config.mb} {config.idle}"


def run_steps(floors, rounds, daemons, count):
    def measured(daemon, *args):
        daemon.settle()
        machine.place(daemon.master, {machine.SERVER_CPU})
        try:
            return floors.paced(daemon.port, count, "--entry", daemon.entry, *args)
        finally:
            machine.place(daemon.master, machine.PROCESSORS)

    def step(name, daemon, *args):
        return lambda: rounds.measure(name, lambda: measured(daemon, *args), lambda r: rounds.add(name, r))

    steps = []
    for daemon in daemons:
        of = key(daemon.config)
        steps += [step(f"run {of}", daemon), step(f"wait {of}", daemon, "--wait")]
        if (daemon.config.runtime, daemon.config.mb) == ("php", 0):
            steps.append(step(f"line {of}", daemon, "--proto", "phprocksyd", "--params", "{}"))
    return steps


def floor_rows(rounds, runtimes):
    def row(what, name, note=""):
        note = note or rounds.missing.get(name, "")
        return Row(what, rounds.median(f"{name} p50"), rounds.median(f"{name} p99"), note=note)

    rows = [row("TCP echo, round trip", "echo"), row("bare C server: request → OK, not pinned", "paced bare")]
    for runtime in runtimes:
        for mb in SIZES_MB:
            missing = rounds.missing.get(f"fork {runtime} {mb}", "")
            rows.append(row(f"{FORK_IS[runtime]} → started, {size_name(mb)}", f"fork {runtime} {mb} started", missing))
            rows.append(row(f"{FORK_IS[runtime]} → reaped, {size_name(mb)}", f"fork {runtime} {mb} reaped", missing))
    for runtime in (r for r in runtimes if r != "native"):
        missing = rounds.missing.get(f"cold {runtime}", "")
        rows.append(row(f"cold {runtime} → the job begins", f"cold {runtime} began", missing))
        rows.append(row(f"cold {runtime} → ended", f"cold {runtime} ended", missing))
    if "python" in runtimes:
        rows.append(row("multiprocessing forkserver: start → started", "forkserver"))
    return Section("Floors and peers", rows)


def run_row(rounds, verb, runtime, mb, idle, limit, limit_is, target):
    name = f"{verb} {runtime} {mb} {idle}"
    return Row(
        f"{runtime}, {size_name(mb)}, " + (f"{idle} idle" if idle else "on demand"),
        rounds.median(f"{name} p50"),
        rounds.median(f"{name} p99"),
        limit=rounds.limit(limit),
        limit_is=limit_is,
        ratio=rounds.ratio(f"{name} p50", limit),
        target=target,
        note=rounds.missing.get(name, ""),
    )


def run_sections(rounds, runtimes, idle):
    answers, exits, sooner = [], [], []
    for runtime in runtimes:
        for mb in SIZES_MB:
            fork = f"fork {runtime} {mb}"
            answers.append(run_row(rounds, "run", runtime, mb, idle, ["echo p50"], "echo", IDLE_TARGET.get(runtime)))
            answers.append(
                run_row(
                    rounds, "run", runtime, mb, 0, [f"{fork} started p50", "echo p50"],
                    f"{FORK_IS[runtime]} → started + echo", DEMAND_TARGET.get(runtime),
                )
            )
            for children in (idle, 0):
                limit, limit_is = [f"{fork} reaped p50", "echo p50"], f"{FORK_IS[runtime]} → reaped + echo"
                exits.append(run_row(rounds, "wait", runtime, mb, children, limit, limit_is, None))
    if "php" in runtimes:
        for children, limit, limit_is in (
            (idle, ["echo p50"], "echo"),
            (0, ["fork php 0 started p50", "echo p50"], "pcntl_fork → started + echo"),
        ):
            row = run_row(rounds, "line", "php", 0, children, limit, limit_is, None)
            row.what += ", Phprocksyd's line"
            answers.append(row)
    for what, runtime, peer, children, target in (
        ("cold php → the job begins", "php", "cold php began p50", idle, COLD_IDLE_TARGET),
        ("cold php → the job begins", "php", "cold php began p50", 0, COLD_DEMAND_TARGET),
        ("forkserver", "python", "forkserver p50", 0, FORKSERVER_TARGET),
    ):
        if runtime in runtimes:
            mine = f"run {runtime} 0 {children}"
            sooner.append(
                Row(
                    f"{runtime}, small, " + (f"{children} idle" if children else "on demand"),
                    rounds.median(f"{mine} p50"),
                    rounds.median(f"{mine} p99"),
                    limit=rounds.median(peer),
                    limit_is=what,
                    ratio=rounds.ratio(peer, f"{mine} p50"),
                    target=target,
                    note=rounds.missing.get(mine, ""),
                )
            )
    sections = [Section("run → answer, 10 ms apart", answers), Section("run with wait → exit, 10 ms apart", exits)]
    return sections + ([Section("How many times sooner than cold", sooner)] if sooner else [])
