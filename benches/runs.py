#!/usr/bin/env python3
"""`scripts/bench runs`: measures warm runs against their floors and prints one table. `scripts/bench`
builds everything first; this starts it, and ends all that it started."""

import contextlib

from figures import frame, latency, machine, others, syscalls, throughput, wakeups
from figures.daemon import Config, Daemon, NotMeasured, Programs
from figures.floors import Floors
from figures.rounds import Rounds

PARTS = ("floors", "latency", "throughput", "others", "syscalls", "wakeups")
IDLE = 8


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
        self.rounds_s = 60 if quick else 360
        self.limit_s = 240 if quick else 600


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
                    frame.say(f"bench: {config.name}: {e}")
                    for name in ("run", "wait", "line", *(f"rate {k}" for k in throughput.CONNECTIONS)):
                        verb, *k = name.split()
                        rounds.missing[" ".join([verb, latency.key(config), *k])] = str(e)
    return daemons


def run(args, effort, programs):
    floors, rounds, sections, calls = Floors(programs), Rounds(), [], []
    with contextlib.ExitStack() as stack:
        daemons = []
        if {"latency", "throughput", "syscalls"} & set(args.parts):
            frame.say("bench: starting the daemons")
            daemons = start_all(stack, args, programs, floors, rounds)
        steps = []
        if {"floors", "latency"} & set(args.parts):
            steps += latency.floor_steps(floors, rounds, args.runtimes, effort.requests)
        if "latency" in args.parts:
            steps += latency.run_steps(floors, rounds, daemons, effort.requests)
        if {"floors", "throughput"} & set(args.parts):
            steps += throughput.steps(floors, rounds, daemons if "throughput" in args.parts else [], effort.rate_s)
        if steps:
            effort.rounds = frame.in_rounds(steps, effort.rounds, effort.rounds_s)
        if {"floors", "latency"} & set(args.parts):
            sections.append(latency.floor_rows(rounds, args.runtimes))
        if "latency" in args.parts:
            sections += latency.run_sections(rounds, args.runtimes, IDLE)
        if {"floors", "throughput"} & set(args.parts):
            runtimes = args.runtimes if "throughput" in args.parts else []
            sections.append(throughput.section(rounds, runtimes, IDLE))
        if "syscalls" in args.parts:
            frame.say("bench: system calls")
            small = [d for d in daemons if d.config.mb == 0 and d.config.runtime in ("native", "php")]
            calls = syscalls.measure(floors, small, args.built, *effort.strace)
    if "others" in args.parts and "native" in args.runtimes:
        frame.say(f"bench: {effort.sleepers} others")
        alive = others.measure(floors, programs, rounds, effort)
        sections.append(others.section(rounds, alive))
    if "wakeups" in args.parts:
        frame.say(f"bench: {effort.idle_s} s of nothing")
        sections.append(wakeups.section(wakeups.measure(programs, args.runtimes, effort.idle_s), effort.idle_s))
    return floors, rounds, sections, calls


def header(effort, floors):
    priority = "SCHED_RR" if floors.realtime else "ordinary priority (SCHED_RR was not allowed)"
    lines = [
        f"medians of {effort.rounds} rounds in random order, ratios within a round; microseconds unless said",
        f"client in C at {priority}; latencies with client and master pinned to different processors, rates with nobody pinned",
        "forks of the floors at ordinary priority, in 4 KiB pages; cold and forked alike load the same classes and modules",
    ]
    if machine.CLIENT_CPU < 0:
        lines.append("one processor only: nothing could be pinned apart")
    return lines


def main():
    args = frame.chosen("scripts/bench runs", __doc__, parts=PARTS, runtimes=latency.RUNTIMES)
    effort = Effort(args.quick, args.rounds)

    def measure(classes):
        programs = Programs(args.daemon, args.native, args.built, classes)
        floors, rounds, sections, calls = run(args, effort, programs)
        return header(effort, floors), rounds, sections, calls

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
