#!/usr/bin/env python3
"""`scripts/bench upgrade`: measures what clients, workers and logs notice of upgrades and of killed masters, beside
what is lost when pm2 and supervisord are renewed, and prints one table. `scripts/bench` builds everything first; this
starts everything, and ends all that it started."""

import resource

from figures import endurance, frame, peers, renewed
from figures.daemon import NotMeasured, Programs
from figures.endured import Kills, Upgrades
from figures.floors import Floors
from figures.rounds import Rounds

PARTS = endurance.NAMES


class Effort:
    """How much of everything; `quick` tells whether it works, not how fast it is."""

    def __init__(self, quick, rounds):
        self.upgrades = rounds or (5 if quick else 100)
        self.kills = rounds or (3 if quick else 100)
        self.renewals = 1 if quick else 3
        self.warm_s = 2 if quick else 10
        self.limit_s = 240 if quick else 1200


def run(args, effort, programs):
    floors, rounds = Floors(programs), Rounds()
    for kind, name, count in ((Upgrades, "upgrade", effort.upgrades), (Kills, "kill", effort.kills)):
        if name in args.parts:
            frame.say(f"bench: {name}: {count} times")
            endured = kind(name, programs, floors, rounds, effort)
            rounds.measure(name, in_words(endured.measure), lambda _: None)
    found = peers.supervisors(programs)
    steps = {n: renewed.step(n, found[n], floors.tool("worker"), rounds) for n in ("pm2", "supervisord") if n in args.parts}
    for number in range(effort.renewals if steps else 0):
        frame.say(f"bench: pm2 and supervisord renewed, {number + 1} of {effort.renewals}")
        for step in steps.values():
            step()
    return rounds


def in_words(measure):
    """A connection that breaks where none may is told in the report."""

    def told():
        try:
            measure()
        except (OSError, ValueError) as e:
            raise NotMeasured(f"{type(e).__name__}: {e}") from e

    return told


def main():
    args = frame.chosen("scripts/bench upgrade", __doc__, "so many upgrades and kills: 100; or 5 and 3 with --quick", 1000, parts=PARTS)
    effort = Effort(args.quick, args.rounds)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def measure(classes):
        programs = Programs(args.daemon, args.native, args.built, classes)
        rounds = run(args, effort, programs)
        lines = [
            f"{effort.upgrades} upgrades, {effort.kills} times kill -9 of the master; pm2 {peers.PM2} `update` and supervisord "
            f"{peers.SUPERVISOR} `shutdown` and start: {effort.renewals} times, sums of these",
            "a pause: how long a client that waits gets no answer; nobody is pinned",
        ]
        return lines, rounds, endurance.sections(rounds, args.parts), []

    return frame.whole(args, effort.limit_s, measure)


if __name__ == "__main__":
    frame.ended_in_order(main)
