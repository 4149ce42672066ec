"""Memory of 100 PHP workers of one application: forked from a warm pool, and each loading it for itself."""

import time

from . import machine
from .apps import App, Preforkd
from .daemon import BENCHES, Config, NotMeasured
from .rounds import Beside, Section

WORKERS = 100
CALM_S = 2
TARGET = ("<=", 0.125)


def pss_kb(programs, warm):
    if warm:
        app = App("workers", [], more={"pool": "bench", "entry": "Waiting", "instances": WORKERS})
        pools = [Config("php").pool(programs)]
    else:
        script = str(BENCHES / "app/php/cold-worker.php")
        env = {"PREFORKD_BENCH_CLASSES": programs.classes, "PREFORKD_BENCH_MB": "0"}
        app = App("workers", [programs.php, script], more={"instances": WORKERS}, env=env)
        pools = []
    with Preforkd(programs, [app], pools) as daemon:
        time.sleep(CALM_S)
        pids = daemon.pids + ([daemon.ask("pools")["pools"][0]["zygote_pid"]] if warm else [])
        if None in pids:
            raise NotMeasured("the pool has no warm process")
        return machine.memory_kb(pids)["Pss"], daemon.took_ms


def steps(programs, rounds):
    def step(name, warm):
        def take(result):
            rounds.add_value(f"{name} pss", result[0])
            rounds.add_value(f"{name} up", result[1])

        return lambda: rounds.measure(name, lambda: pss_kb(programs, warm), take)

    return [step("php warm", True), step("php cold", False)]


def section(rounds):
    def row(what, value, target):
        note = "; ".join(rounds.missing[n] for n in ("php warm", "php cold") if n in rounds.missing)
        return Beside(
            what,
            rounds.median(f"php warm {value}"),
            limit=rounds.median(f"php cold {value}"),
            limit_is="cold",
            ratio=rounds.ratio(f"php warm {value}", f"php cold {value}"),
            target=target,
            note=note,
        )

    return Section(
        f"{WORKERS} PHP workers of one application with 300 classes, warm against cold",
        [
            row("PSS of all of them and the warm process, kB", "pss", TARGET),
            row("from the start of the daemon until all run, ms", "up", None),
        ],
    )
