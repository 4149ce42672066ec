"""pm2 and supervisord getting a new version of themselves: what becomes of the workers and their lines."""

import tempfile
import time

from . import numbered
from .daemon import NotMeasured
from .endured import keep_lines
from .knocking import Knocking

UP_S = 60
# supervisord takes a program for running after 1 s.
CALM_S = 2


def all_renewed(folder, before):
    """Waits until each worker has another process than before."""
    until = time.monotonic() + UP_S
    while any(now <= then for now, then in zip(numbered.begun(folder), before)):
        if time.monotonic() > until:
            raise NotMeasured(f"not all workers were there again after {UP_S} s")
        time.sleep(0.05)


def once(make, worker):
    with tempfile.TemporaryDirectory(prefix="preforkd-bench-") as folder:
        with make(numbered.apps(worker, folder)) as supervisor:
            time.sleep(CALM_S)
            before = numbered.begun(folder)
            with Knocking(supervisor.socket) as knocking:
                supervisor.upgrade()
                all_renewed(folder, before)
                time.sleep(CALM_S)
            return numbered.judge(folder, supervisor.dir), knocking.longest_ms


def step(name, make, worker, rounds):
    def take(result):
        lines, deaf_ms = result
        keep_lines(rounds, name, lines)
        rounds.add_value(f"{name} deaf", deaf_ms)

    return lambda: rounds.measure(name, lambda: once(make, worker), take)
