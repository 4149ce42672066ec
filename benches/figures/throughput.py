"""Runs a second with 1, 8 and 32 connections in closed loops, against the bare C server and the fork loop."""

from .floors import background
from .latency import SIZES_MB, key, size_name
from .rounds import Row, Section

CONNECTIONS = (1, 8, 32)
NATIVE_TARGET, PHP_TARGET = (">=", 1.1), (">=", 6)
# Phprocksyd with 300 classes and 32 connections did 496 runs a second on a machine whose loop of
# fork, exit and wait did 8,100; it needs PHP 5 to 7, so here it is taken in proportion to that loop.
PHPROCKSYD_PER_SECOND, PHPROCKSYD_LOOP = 496, 8100


def steps(floors, rounds, daemons, seconds):
    def bare(mb, k):
        with background(floors.tool("server"), "--kb", floors.size_kb(mb)) as port:
            return floors.throughput(port, k, seconds, "--proto", "line")

    def measured(daemon, k):
        daemon.settle()
        return floors.throughput(daemon.port, k, seconds, "--entry", daemon.entry)

    def step(name, function):
        return lambda: rounds.measure(name, function, lambda r: rounds.add(name, r, ("per_second",)))

    result = [step("loop", lambda: floors.fork_loop(seconds))]
    if any(d.config.runtime == "php" for d in daemons):
        result.append(step("php loops", lambda: floors.fork_php_everywhere(int(600 * seconds))))
    for k in CONNECTIONS:
        result += [step(f"bare {mb} {k}", lambda mb=mb, k=k: bare(mb, k)) for mb in SIZES_MB]
        for d in daemons:
            result.append(step(f"rate {key(d.config)} {k}", lambda d=d, k=k: measured(d, k)))
    return result


def section(rounds, runtimes, idle):
    loop = "loop per_second"
    # 8,100 forks a second are worth 496 runs of Phprocksyd.
    if loop in rounds.values:
        rounds.values["phprocksyd per_second"] = [
            v * PHPROCKSYD_PER_SECOND / PHPROCKSYD_LOOP for v in rounds.values[loop]
        ]
    what = "fork + _exit + wait in C, one after the other"
    rows = [Row(what, per_second=rounds.median(loop), note=rounds.missing.get("loop", ""))]
    for mb in SIZES_MB:
        for k in CONNECTIONS:
            name = f"bare {mb} {k}"
            what = f"bare C server, {size_name(mb)}, {k} connections"
            rows.append(Row(what, per_second=rounds.median(f"{name} per_second"), note=rounds.missing.get(name, "")))
    if "php" in runtimes:
        what = "pcntl_fork, a signal as the end, waitpid: small, a loop for each processor"
        rows.append(Row(what, per_second=rounds.median("php loops per_second"), note=rounds.missing.get("php loops", "")))
    for runtime in runtimes:
        for mb in SIZES_MB:
            for children in (idle, 0):
                for k in CONNECTIONS:
                    name = f"rate {runtime} {mb} {children} {k}"
                    how = f"{children} idle" if children else "on demand"
                    limit, limit_is, target = f"bare {mb} {k} per_second", "bare server", None
                    if k == 32 and runtime == "native":
                        target = NATIVE_TARGET
                    if k == 32 and runtime == "php" and mb == 0:
                        limit, limit_is, target = "phprocksyd per_second", "Phprocksyd, by the fork loop", PHP_TARGET
                    rows.append(
                        Row(
                            f"{runtime}, {size_name(mb)}, {how}, {k} connections",
                            per_second=rounds.median(f"{name} per_second"),
                            limit=rounds.median(limit),
                            limit_is=limit_is,
                            ratio=rounds.ratio(f"{name} per_second", limit),
                            target=target,
                            note=rounds.missing.get(name, ""),
                        )
                    )
                    if limit_is.startswith("Phprocksyd"):
                        own, here = "php loops per_second", rounds.ratio(f"{name} per_second", "php loops per_second")
                        rows.append(Row("  … by what PHP gets out of this machine", limit=rounds.median(own), limit_is="PHP's own forks", ratio=here))
    return Section("Runs a second, closed loops", rows)
