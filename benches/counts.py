#!/usr/bin/env python3
"""`scripts/bench counts`: system calls, page faults and memory of a run, held against bounds. They do not depend on how busy the
machine is, so `scripts/test` runs it, too, and a bound that is broken fails it."""

from figures import frame, latency
from figures.counted import Counts
from figures.daemon import Programs
from figures.floors import Floors
from figures.rounds import Rounds

LIMIT_S = 180


def main():
    args = frame.chosen("scripts/bench counts", __doc__, "taken once, whatever is said here", runtimes=latency.RUNTIMES)
    broken = []

    def measure(classes):
        programs = Programs(args.daemon, args.native, args.built, classes)
        rounds = Rounds()
        counts = Counts(args.runtimes, Floors(programs), rounds, programs)
        counts.measure()
        section = counts.section()
        broken.extend(row for row in section.rows if row.verdict == "missed")
        return ["each once; bounds are in benches/figures/counted.py"], rounds, [section], []

    return frame.whole(args, LIMIT_S, measure) or int(bool(broken))


if __name__ == "__main__":
    frame.ended_in_order(main)
