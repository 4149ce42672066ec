#!/usr/bin/env python3
"""`scripts/bench scale`: what thousands of workers, connections and runs cost the next run and the daemon's memory.
`scripts/bench` builds everything first; this starts it, and ends all that it started."""

from figures import frame, slopes
from figures.daemon import Programs
from figures.floors import Floors
from figures.rounds import Rounds


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick):
        self.workers = (100, 400) if quick else (1_000, 5_000, 10_000)
        self.logged = (100, 300) if quick else (1_000, 5_000)
        self.connections = (500, 2_000) if quick else (1_000, 4_000)
        self.alive = (300,) if quick else (1_000, 5_000)
        self.done = (10_000, 50_000) if quick else (100_000, 1_000_000)
        self.latency_rounds = 1 if quick else 2
        self.requests = 30 if quick else 100
        self.rate_s = 0.3 if quick else 1
        self.strace = (20, 60) if quick else (50, 150)
        self.calm_s = 0.5 if quick else 3
        self.limit_s = 240 if quick else 1200


def main():
    args = frame.chosen("scripts/bench scale", __doc__, rounds="without effect: each is measured once on its way", parts=tuple(slopes.PARTS))
    effort = Effort(args.quick)

    def measure(classes):
        programs = Programs(args.daemon, args.native, args.built, classes)
        floors, rounds, sections = Floors(programs), Rounds(), []
        for name in args.parts:
            frame.say(f"bench: {name}")
            part = slopes.PARTS[name](rounds, effort)
            part.measure(floors, programs)
            sections.append(part.section())
        lines = [
            "a daemon for each part, taken from none to all; a small native pool on demand; workers are benches/worker.c",
            f"run → answer: medians of {effort.latency_rounds} times {effort.requests} requests, client and master pinned apart; lists: of {slopes.crowd.LIST_ROUNDS}",
        ]
        return lines, rounds, sections, []

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
