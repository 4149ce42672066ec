#!/usr/bin/env python3
"""`scripts/bench startup`: what a command at the terminal takes from its start to its end, the daemon until it serves,
and what it costs while nothing happens. `scripts/bench` builds everything first; this starts it, and ends all that it started."""

import contextlib
import random

from figures import bringing, commands, frame, idle
from figures.daemon import Programs
from figures.floors import Floors
from figures.rounds import Rounds

PARTS = {"commands": commands.Commands, "daemon": bringing.Serving, "idle": idle.Idle}


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (2 if quick else 7)
        # How often in a round.
        self.commands = 10 if quick else 50
        self.cold_peers = 1 if quick else 3
        self.seconds = 2 if quick else 10
        self.limit_s = 60 if quick else 240


def run(args, effort, programs):
    rounds, floors = Rounds(), Floors(programs)
    measured = [PARTS[part](floors, rounds, effort) for part in args.parts]
    with contextlib.ExitStack() as stack:
        steps = []
        for part, of in zip(args.parts, measured):
            frame.say(f"bench: {part}: starting what it needs")
            # What is idle is not to be there while the rest is measured, nor the other way round.
            if part == "idle":
                with contextlib.ExitStack() as alone:
                    steps += of.start(alone, programs)
            else:
                steps += of.start(stack, programs)
        for number in range(effort.rounds if steps else 0):
            frame.say(f"bench: round {number + 1} of {effort.rounds}, {len(steps)} measurements")
            for step in random.sample(steps, len(steps)):
                step()
    return rounds, [of.section() for of in measured]


def main():
    args = frame.chosen("scripts/bench startup", __doc__, rounds="7, or 2 with --quick", parts=tuple(PARTS))
    effort = Effort(args.quick, args.rounds)

    def measure(classes):
        rounds, sections = run(args, effort, Programs(args.daemon, args.native, args.built, classes))
        lines = [
            f"medians of {effort.rounds} rounds in random order, ratios within a round; a command: {effort.commands} times in a row, the "
            "median of them; nobody is pinned",
            "memory and wake-ups: one measurement",
        ]
        return lines, rounds, sections, []

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
