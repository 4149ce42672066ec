#!/usr/bin/env python3
"""`scripts/bench zygotes`: what the memory of a warm process costs its forks: huge pages or not, what a run
copies, how it leaves. `scripts/bench` builds everything first; this starts it, and ends all that it started."""

import contextlib
import random

from figures import copied, frame, latency
from figures.daemon import Programs
from figures.floors import Floors
from figures.rounds import Rounds

PARTS = ("huge", "copied", "exit")


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (2 if quick else 5)
        self.requests = 20 if quick else 60
        self.endurance = 50 if quick else 1000
        self.limit_s = 240 if quick else 900


def run(args, effort, programs):
    floors, rounds, sections = Floors(programs), Rounds(), []
    for part in args.parts:
        measured = getattr(copied, part.capitalize())(args.runtimes, floors, rounds, effort)
        with contextlib.ExitStack() as stack:
            frame.say(f"bench: {part}: starting the daemons")
            steps = measured.start(stack, programs)
            for number in range(effort.rounds):
                frame.say(f"bench: {part}: round {number + 1} of {effort.rounds}, {len(steps)} measurements")
                for step in random.sample(steps, len(steps)):
                    step()
            measured.afterwards()
            sections.append(measured.section())
    return rounds, sections


def main():
    args = frame.chosen("scripts/bench zygotes", __doc__, parts=PARTS, runtimes=latency.RUNTIMES)
    effort = Effort(args.quick, args.rounds)

    def measure(classes):
        rounds, sections = run(args, effort, Programs(args.daemon, args.native, args.built, classes))
        lines = [
            f"medians of {effort.rounds} rounds in random order, ratios within a round; microseconds unless said",
            "whole cycles: one connection in a closed loop, from the request until the run's exit is known, client and server pinned apart",
        ]
        return lines, rounds, sections, []

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
