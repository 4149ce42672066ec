#!/usr/bin/env python3
"""`scripts/bench runs`: measures warm runs against their floors and prints one table. `scripts/bench`
builds everything first; this starts it, and ends all that it started."""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from figures import latency, machine, others, report, syscalls, throughput, wakeups
from figures.daemon import BENCHES, Config, Daemon, NotMeasured, Programs
from figures.floors import Floors
from figures.rounds import Rounds

ROOT = BENCHES.parent
PARTS = ("floors", "latency", "throughput", "others", "syscalls", "wakeups")
CLASSES = 300
IDLE = 8
# More than this used by others before the start makes every figure doubtful.
QUIET_SHARE = 0.1


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (2 if quick else 5)
        self.requests = 20 if quick else 100
        self.rate_s = 0.12 if quick else 0.4
        self.sleepers = 1000 if quick else 5000
        self.others_rounds = 2 if quick else 5
        self.strace = (20, 60) if quick else (100, 300)
        self.idle_s = 3 if quick else 10
        # After this no further round is begun; after the limit everything is ended.
        self.rounds_until = time.monotonic() + (60 if quick else 360)
        self.limit_s = 240 if quick else 600


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench runs", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, for trying out; no figures to quote")
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help=f"of {', '.join(PARTS + latency.RUNTIMES)}; may be repeated or have commas")
    parser.add_argument("--rounds", type=int, choices=range(1, 51), metavar="N", help="5, or 2 with --quick")
    parser.add_argument("--markdown", metavar="FILE", help="write the table for the documentation too")
    parser.add_argument("--json", metavar="FILE", help="write the figures of every round too")
    parser.add_argument("--daemon", default=str(ROOT / "target/release/preforkd"), help="the program to measure")
    parser.add_argument("--native", default=str(ROOT / "target/release/examples/native"), help="the native zygote")
    parser.add_argument("--built", default=str(ROOT / "target/bench"), help="where the client and floors are")
    args = parser.parse_args()
    names = [n for o in args.only for n in o.split(",")]
    if unknown := [n for n in names if n not in PARTS + latency.RUNTIMES]:
        parser.error(f"--only {unknown[0]}: there are {', '.join(PARTS + latency.RUNTIMES)}")
    args.parts = [p for p in PARTS if p in names] or list(PARTS)
    args.runtimes = [r for r in latency.RUNTIMES if r in names] or list(latency.RUNTIMES)
    return args


def say(text):
    print(text, file=sys.stderr, flush=True)


def start_all(stack, args, programs, floors, rounds):
    """One daemon for each runtime, size and number of idle children; all of them wait while one is measured."""
    daemons = []
    for runtime in args.runtimes:
        for mb in latency.SIZES_MB:
            for idle in (IDLE, 0):
                config = Config(runtime, mb, idle)
                try:
                    daemon = stack.enter_context(Daemon(config, programs))
                    daemons.append(daemon)
                    if runtime == "native":
                        floors.native_kb[mb] = machine.own_kb(daemon.zygote)
                except NotMeasured as e:
                    say(f"bench: {config.name}: {e}")
                    for name in ("run", "wait", "line", *(f"rate {k}" for k in throughput.CONNECTIONS)):
                        verb, *k = name.split()
                        rounds.missing[" ".join([verb, latency.key(config), *k])] = str(e)
    return daemons


def run(args, effort, programs):
    floors, rounds, sections, calls = Floors(programs), Rounds(), [], []
    with contextlib.ExitStack() as stack:
        daemons = []
        if {"latency", "throughput", "syscalls"} & set(args.parts):
            say("bench: starting the daemons")
            daemons = start_all(stack, args, programs, floors, rounds)
        steps = []
        if {"floors", "latency"} & set(args.parts):
            steps += latency.floor_steps(floors, rounds, args.runtimes, effort.requests)
        if "latency" in args.parts:
            steps += latency.run_steps(floors, rounds, daemons, effort.requests)
        if {"floors", "throughput"} & set(args.parts):
            steps += throughput.steps(floors, rounds, daemons if "throughput" in args.parts else [], effort.rate_s)
        longest = 0
        for number in range(effort.rounds if steps else 0):
            begin = time.monotonic()
            if begin + longest > effort.rounds_until:
                say(f"bench: no time for round {number + 1}")
                effort.rounds = number
                break
            say(f"bench: round {number + 1} of {effort.rounds}, {len(steps)} measurements")
            # Each round in an order of its own, so that a slow minute does not always hit the same ones.
            for step in random.sample(steps, len(steps)):
                step()
            longest = max(longest, time.monotonic() - begin)
        if {"floors", "latency"} & set(args.parts):
            sections.append(latency.floor_rows(rounds, args.runtimes))
        if "latency" in args.parts:
            sections += latency.run_sections(rounds, args.runtimes, IDLE)
        if {"floors", "throughput"} & set(args.parts):
            runtimes = args.runtimes if "throughput" in args.parts else []
            sections.append(throughput.section(rounds, runtimes, IDLE))
        if "syscalls" in args.parts:
            say("bench: system calls")
            small = [d for d in daemons if d.config.mb == 0 and d.config.runtime in ("native", "php")]
            calls = syscalls.measure(floors, small, args.built, *effort.strace)
    if "others" in args.parts and "native" in args.runtimes:
        say(f"bench: {effort.sleepers} others")
        alive = others.measure(floors, programs, rounds, effort)
        sections.append(others.section(rounds, alive))
    if "wakeups" in args.parts:
        say(f"bench: {effort.idle_s} s of nothing")
        sections.append(wakeups.section(wakeups.measure(programs, args.runtimes, effort.idle_s), effort.idle_s))
    return floors, rounds, sections, calls


def header(args, effort, floors, busy, seconds):
    version = ""
    if os.path.exists(args.daemon):
        version = subprocess.run([args.daemon, "--version"], capture_output=True, text=True, timeout=10).stdout
    priority = "SCHED_RR" if floors.realtime else "ordinary priority (SCHED_RR was not allowed)"
    lines = [
        f"{version.strip() or 'preforkd'}, {time.strftime('%Y-%m-%d')}; {machine.describe()}",
        f"medians of {effort.rounds} rounds in random order, ratios within a round; microseconds unless said; took {seconds:.0f} s",
        f"client in C at {priority}; latencies with client and master pinned to different processors, rates with nobody pinned",
        "forks of the floors at ordinary priority, in 4 KiB pages; cold and forked alike load the same classes and modules",
    ]
    if args.quick:
        lines.append("--quick: tells whether it works, not how fast it is")
    if busy > QUIET_SHARE:
        lines.append(f"NOT QUIET: others used {busy:.0%} of the machine before or after; do not quote these")
    if machine.CLIENT_CPU < 0:
        lines.append("one processor only: nothing could be pinned apart")
    return lines


def out_of_time(*_):
    raise TimeoutError("the time for all of it is over")


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    args = arguments()
    effort = Effort(args.quick, args.rounds)
    # An exception, so that everything on the way out is ended in order.
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, interrupted)
    signal.alarm(effort.limit_s)
    begin, busy = time.monotonic(), machine.busy_share()
    with tempfile.TemporaryDirectory(prefix="preforkd-bench-") as classes:
        programs = Programs(args.daemon, args.native, args.built, classes)
        subprocess.run([programs.php, str(BENCHES / "app/php/classes.php"), classes, str(CLASSES)], check=True)
        floors, rounds, sections, calls = run(args, effort, programs)
    busy = max(busy, machine.busy_share())
    head = header(args, effort, floors, busy, time.monotonic() - begin)
    print(report.text(head, sections, calls), end="")
    if args.markdown:
        with open(args.markdown, "w") as f:
            f.write(report.markdown(head, sections, calls))
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"header": head, "rounds": rounds.values, "missing": rounds.missing, "syscalls": calls}, f, indent=1)
    failed = bool(rounds.missing) or any(isinstance(c, str) for _, c in calls)
    return 1 if failed or any(r.verdict == "not measured" for s in sections for r in s.rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, TimeoutError) as e:
        sys.exit(f"bench: ended before the end: {str(e) or 'interrupted'}")
