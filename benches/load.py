#!/usr/bin/env python3
"""`scripts/bench load`: latency while requests come when they are due, against how many of them come, and what
bursts do to it. `scripts/bench` builds everything first; this starts it, and ends all that it started."""

import contextlib
import os

from figures import bursts, frame, latency, offered
from figures.daemon import Programs
from figures.floors import Floors
from figures.rounds import Rounds

PARTS = ("curves", "bursts")
# So many requests at half of saturation, that ten of them are above p99.9, if they come within so many seconds.
REQUESTS = 10000
MOST_S = 6
# The same for the other points of a curve.
FEW, FEW_S = 600, 1.5


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (1 if quick else 5)
        self.quick = quick
        self.saturation_s = 0.3 if quick else 0.7
        self.curve_s = 0.3 if quick else 0.5
        self.half_s = 0.3 if quick else 1.5
        self.bursts_s = 0.5 if quick else 1
        self.volleys_s = 1 if quick else 2
        self.rounds_s = 50 if quick else 345
        self.limit_s = 200 if quick else 600

    def seconds(self, server, fraction, rate):
        """How long a point takes. The one that has a target has as many requests in each round as PHP's has in all of them."""
        if fraction != offered.HALF:
            return self.curve_s if self.quick else min(max(FEW / rate, self.curve_s), FEW_S)
        count = 0
        if not self.quick and server.curve and server.runtime != "bare":
            count = REQUESTS if server.target else REQUESTS / self.rounds
        return min(max(count / rate, self.half_s), MOST_S)


def run(args, effort, programs):
    floors, rounds, steps = Floors(programs), Rounds(), []
    with contextlib.ExitStack() as stack:
        frame.say("bench: starting the daemons")
        curves = offered.Curves(offered.servers(args.runtimes), floors, rounds, effort)
        burst = bursts.Bursts([r for r in args.runtimes if r != "python"], floors, rounds, effort)
        if "curves" in args.parts:
            steps += curves.start(stack, programs)
        if "bursts" in args.parts:
            steps += burst.start(stack, programs)
        effort.rounds = frame.in_rounds(steps, effort.rounds, effort.rounds_s)
    sections = []
    if "curves" in args.parts:
        sections += curves.sections()
        draw(args.svg or os.path.join(args.built, "latency.svg"), curves.picture(effort.rounds))
    if "bursts" in args.parts:
        sections.append(burst.section())
    return floors, rounds, sections


def draw(path, picture):
    if picture is None:
        frame.say("bench: nothing to draw")
        return
    with open(path, "w") as f:
        f.write(picture)
    frame.say(f"bench: latency against load is drawn in {path}")


def header(effort, floors):
    priority = "SCHED_RR" if floors.realtime else "ordinary priority (SCHED_RR was not allowed)"
    return [
        f"medians of {effort.rounds} rounds in random order, ratios within a round; microseconds unless said",
        f"client in C at {priority}, {offered.CONNECTIONS} connections, nobody pinned; latency from when a request was due",
        "saturation: as many closed loops, in the same round, just before",
    ]


def main():
    files = {"--svg": "the picture of latency against load there, not to target/bench/latency.svg"}
    args = frame.chosen("scripts/bench load", __doc__, "5, or 1 with --quick", files=files, parts=PARTS, runtimes=latency.RUNTIMES)
    effort = Effort(args.quick, args.rounds)

    def measure(classes):
        floors, rounds, sections = run(args, effort, Programs(args.daemon, args.native, args.built, classes))
        return header(effort, floors), rounds, sections, []

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
