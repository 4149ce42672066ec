#!/usr/bin/env python3
"""`scripts/bench workers`: measures workers beside pm2, supervisord and a bare fork, and prints one table.
`scripts/bench` builds everything first; this installs the two, starts everything, and ends all that it started."""

import random
import resource
import tempfile

from figures import footprint, frame, peers, shared, successor, upkeep
from figures.daemon import Programs
from figures.floors import Floors
from figures.rounds import Rounds

PARTS = ("memory", "successor", "cpu", "php")
SUPERVISORS = ("preforkd", "pm2", "supervisord")


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick, rounds):
        self.rounds = rounds or (2 if quick else 5)
        # A daemon with its apps takes seconds to come up and to calm down.
        self.slow_rounds = 1 if quick else 3
        self.calm_s = 1 if quick else 4
        self.seconds = 3 if quick else 10
        self.limit_s = 300 if quick else 1200


def in_rounds(steps, count, before=lambda: None):
    for number in range(count):
        frame.say(f"bench: round {number + 1} of {count}, {len(steps)} measurements")
        before()
        for step in random.sample(steps, len(steps)):
            step()


def run(args, effort, programs, folder):
    floors, rounds, sections = Floors(programs), Rounds(), []
    worker = floors.tool("worker")
    supervisors = {n: make for n, make in peers.supervisors(programs).items() if n in args.supervisors}
    if "memory" in args.parts:
        frame.say("bench: memory, and how long it takes to bring them up")
        counts = (0, footprint.FEW)
        in_rounds(footprint.steps(supervisors, rounds, worker, counts, effort.calm_s), effort.slow_rounds)
        in_rounds(footprint.steps(supervisors, rounds, worker, (footprint.MANY,), effort.calm_s), 1)
        sections += footprint.sections(rounds)
    if "successor" in args.parts:
        frame.say("bench: kill -9 to the successor's first instruction")
        successor.measure(floors, supervisors, rounds, folder, effort, in_rounds)
        sections.append(successor.section(rounds))
    if "cpu" in args.parts:
        frame.say(f"bench: processor time, {effort.seconds} s each")
        upkeep.idle(supervisors, rounds, worker, effort.seconds)
        became = upkeep.crashing(supervisors, rounds, worker, effort.seconds)
        upkeep.lines(supervisors, rounds, worker, effort.seconds)
        sections.append(upkeep.section(rounds, became, effort.seconds))
    if "php" in args.parts:
        frame.say("bench: PHP workers")
        in_rounds(shared.steps(programs, rounds), effort.slow_rounds)
        sections.append(shared.section(rounds))
    return rounds, sections


def main():
    args = frame.chosen("scripts/bench workers", __doc__, parts=PARTS, supervisors=SUPERVISORS)
    effort = Effort(args.quick, args.rounds)
    # As all three raise it for themselves where they can, and a thousand apps have pipes and logs.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def measure(classes):
        programs = Programs(args.daemon, "", args.built, classes)
        with tempfile.TemporaryDirectory(prefix="preforkd-bench-") as folder:
            rounds, sections = run(args, effort, programs, folder)
        lines = [
            f"pm2 {peers.PM2}, supervisord {peers.SUPERVISOR}; each with its defaults, in a home of its own, with the same environment",
            f"successors: medians of {effort.rounds} rounds in random order, ratios within a round; 0 and {footprint.FEW} apps, PHP: of "
            f"{effort.slow_rounds}; the rest: one measurement",
            "apps are a tiny program in C (benches/worker.c), exec'd; nobody is pinned",
        ]
        return lines, rounds, sections, []

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
