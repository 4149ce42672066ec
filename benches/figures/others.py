"""What a run costs while thousands of others are alive, in a daemon of its own."""

import resource

from .daemon import Config, Daemon, NotMeasured
from .rounds import Row, Section

TARGET = ("<=", 1.5)
# Beside a pidfd for each run: listeners, connections, log pipes.
SPARE_FDS = 200
# Longer than the measurement by far; they end with their daemon.
SLEEP_S = 180


def allowed(wanted):
    """As many sleepers as the limits on files and processes permit; raises the soft limits to the hard ones."""
    for what, spare in ((resource.RLIMIT_NOFILE, SPARE_FDS), (resource.RLIMIT_NPROC, SPARE_FDS)):
        soft, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard - spare)
        if soft != resource.RLIM_INFINITY and soft < wanted + spare:
            resource.setrlimit(what, (min(wanted + spare, hard) if hard != resource.RLIM_INFINITY else wanted + spare, hard))
    return wanted


def measure(floors, programs, rounds, effort):
    """Adds `alone …` and `among …` to the rounds, as many of each as `effort` says; answers how many were alive."""
    sleepers = allowed(effort.sleepers)
    config = Config("native", max_running=sleepers + 1000, more={"max_queued": 1000})

    def one(name, daemon, running):
        daemon.settle(30, running=running)
        rounds.add(f"{name} run", floors.paced(daemon.port, effort.requests, "--entry", "noop"))
        rounds.add(f"{name} fork", floors.fork_c(0, effort.requests)["started"])
        daemon.settle(30, running=running)
        for k in (1, 8):
            rate = floors.throughput(daemon.port, k, effort.rate_s, "--entry", "noop")["per_second"]
            rounds.add_value(f"{name} cost {k}", 1e6 / rate)
            daemon.settle(30, running=running)

    try:
        with Daemon(config, programs) as daemon:
            for _ in range(effort.others_rounds):
                one("alone", daemon, 0)
            floors.client(
                daemon.port, "--connections", 8, "--count", sleepers, "--seconds", 60,
                "--entry", "sleep", "--params", f'{{"seconds":{SLEEP_S}}}', pinned=False,
            )
            running = daemon.pool()["running"]
            # Requests that are under way when the last one is sent go through too.
            if running < sleepers * 0.99:
                raise NotMeasured(f"{running} of {sleepers} sleepers are alive")
            for _ in range(effort.others_rounds):
                one("among", daemon, running)
            return running
    except NotMeasured as e:
        for name in ("others", "alone", "among"):
            rounds.drop(name, str(e))
        return sleepers


def section(rounds, sleepers):
    note = rounds.missing.get("others", "")

    def row(what, name, target, p99=True):
        return Row(
            what,
            rounds.median(f"among {name}" + (" p50" if p99 else "")),
            rounds.median(f"among {name} p99") if p99 else None,
            limit=rounds.median(f"alone {name}" + (" p50" if p99 else "")),
            limit_is="with none",
            ratio=rounds.ratio(f"among {name}" + (" p50" if p99 else ""), f"alone {name}" + (" p50" if p99 else "")),
            target=target,
            note=note,
        )

    return Section(
        f"The cost of a native run on demand with {sleepers} others alive",
        [
            row("run → answer, 10 ms apart", "run", TARGET),
            row("time a run, closed loop, 1 connection", "cost 1", TARGET, p99=False),
            row("time a run, closed loop, 8 connections", "cost 8", TARGET, p99=False),
            row("for comparison: fork in C → started", "fork", None),
        ],
    )
