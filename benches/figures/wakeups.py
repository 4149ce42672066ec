"""How often anything of an idle daemon with 100 idle children is scheduled in. The kernel counts that for each
thread, so nothing disturbs what is observed."""

import contextlib
import time

from . import machine
from .daemon import Config, Daemon, NotMeasured
from .rounds import Row, Section

IDLE = 100
# The first seconds after a start belong to the start.
CALM_S = 4


def measure(programs, runtimes, seconds):
    """{runtime: {kind of process: times} or why not}"""
    result, daemons = {}, []
    with contextlib.ExitStack() as stack:
        for runtime in runtimes:
            try:
                daemon = stack.enter_context(Daemon(Config(runtime, idle=IDLE), programs))
                # Its own connection would be one more thing to be woken for.
                zygote = daemon.pool()["zygote_pid"]
                daemon.disconnect()
                daemons.append((runtime, daemon, zygote))
            except NotMeasured as e:
                result[runtime] = str(e)
        if not daemons:
            return result
        time.sleep(CALM_S)

        def read():
            return {
                runtime: {pid: machine.switches(pid) for pid in [d.keeper, *machine.below(d.keeper)]}
                for runtime, d, _ in daemons
            }

        before = read()
        time.sleep(seconds)
        after = read()
        for runtime, daemon, zygote in daemons:
            kinds = {daemon.keeper: "keeper", daemon.master: "master", zygote: "zygote"}
            times = {"keeper": 0, "master": 0, "zygote": 0, "children": 0, "processes": len(before[runtime])}
            for pid in before[runtime].keys() | after[runtime].keys():
                times[kinds.get(pid, "children")] += after[runtime].get(pid, 0) - before[runtime].get(pid, 0)
            result[runtime] = times
    return result


def section(result, seconds):
    rows = []
    for runtime, times in result.items():
        what = f"{runtime}: times scheduled in"
        if isinstance(times, str):
            rows.append(Row(what, target=("<=", 0), note=times))
            continue
        parts = [times[k] for k in ("keeper", "master", "zygote", "children")]
        note = "{} processes: keeper {}, master {}, zygote {}, idle children {}".format(times["processes"], *parts)
        if times["processes"] < IDLE + 3:
            # Then it is not the daemon that was asked about.
            rows.append(Row(what, target=("<=", 0), note=f"incomplete: {note}"))
        else:
            rows.append(Row(what, ratio=float(sum(parts)), target=("<=", 0), note=note))
    return Section(f"An idle daemon with {IDLE} idle children, {seconds} s", rows)
