"""The tables of what upgrades and crashes did."""

import statistics

from .endured import IDLE
from .numbered import WORKERS
from .pipelined import CONNECTIONS, EVERY_US
from .rounds import Endured, Section

NAMES = ("upgrade", "kill", "pm2", "supervisord")
OURS = NAMES[:2]
# Of the medians, in ms.
UPGRADE_MS, KILL_MS = 20, 100
NONE = ("<=", 0)


def nine_of_ten(values):
    return sorted(values)[-(-9 * len(values) // 10) - 1]


def row(rounds, what, name, fold=statistics.median, names=NAMES, **more):
    """`fold` of what was measured under `name`, with `{}` for the event."""
    found = {n: rounds.values.get(name.format(n)) for n in names}
    return Endured(what, **{n: fold(values) for n, values in found.items() if values}, **more)


def none_of(rounds, what, name, names=OURS):
    """A sum over all of ours, which has to be 0."""
    values = [v for n in OURS for v in rounds.values.get(name.format(n), [])]
    held = {"limit_is": "none of ours", "ratio": float(sum(values)), "target": NONE} if values else {}
    return row(rounds, what, name, sum, names, **held)


def held(rounds, name, limit_ms, found):
    ratio = found / limit_ms if found is not None else None
    return {"figure": found, "limit": limit_ms, "limit_is": f"ms, {name}", "ratio": ratio, "target": ("<=", 1.0)}


def pauses(rounds, parts):
    median = row(rounds, "median", "{} pause")
    rows = [median]
    wanted = [("upgrade", UPGRADE_MS), ("kill", KILL_MS)]
    for number, (name, limit_ms) in enumerate((n, ms) for n, ms in wanted if n in parts):
        into = median if number == 0 else Endured("")
        for key, value in held(rounds, name, limit_ms, getattr(median, name)).items():
            setattr(into, key, value)
        if into is not median:
            rows.append(into)
    rows += [
        row(rounds, "90 of 100", "{} pause", nine_of_ten),
        row(rounds, "worst", "{} pause", max),
        row(rounds, "in as much time without: median", "{} quiet"),
        row(rounds, "in as much time without: worst", "{} quiet", max),
        Endured("worst, as a multiple", **{n: multiple(rounds, n) for n in OURS}),
        row(rounds, "the daemon's own account (pause_us): median", "{} own"),
        row(rounds, "the daemon's own account: worst", "{} own", max),
        row(rounds, "from the request for it to its answer: median", "{} whole"),
        row(rounds, "from the request for it to its answer: worst", "{} whole", max),
        row(rounds, "the first of the clients is served again: median", "{} first"),
        row(rounds, "the first of the clients is served again: worst", "{} first", max),
    ]
    rows = [r for r in rows if r.what == "" or any(v is not None for v in r.shown) or r.target]
    return Section(f"The longest pause that one of {CONNECTIONS} clients sees, each asking for a run every {EVERY_US / 1000:g} ms, ms", rows)


def multiple(rounds, name):
    pause, quiet = rounds.values.get(f"{name} pause"), rounds.values.get(f"{name} quiet")
    return f"{max(pause) / max(quiet):.1f}" if pause and quiet else None


def runs(rounds):
    return Section(
        "Runs",
        [
            row(rounds, "asked for", "{} runs begun", sum),
            row(rounds, "asked for again with the same id, after a cut", "{} runs repeated", sum),
            row(rounds, "of these, there already", "{} runs duplicates", sum),
            none_of(rounds, "refused, with connections", "{} runs refused"),
            none_of(rounds, "lost", "{} runs lost"),
            none_of(rounds, "started twice", "{} runs doubled"),
            none_of(rounds, "answered wrongly", "{} runs wrong"),
            row(rounds, "ran, and how it ended is told to be unknown", "{} runs unknown", sum),
        ],
    )


def workers(rounds):
    return Section(
        f"{WORKERS} workers that write numbered lines",
        [
            none_of(rounds, "restarted", "{} restarted", NAMES),
            row(rounds, "lines written", "{} lines written", sum),
            none_of(rounds, "lines lost", "{} lines lost", NAMES),
            none_of(rounds, "lines logged twice", "{} lines doubled", NAMES),
            row(rounds, "longest time without a line, ms: median of the workers", "{} silence"),
            row(rounds, "longest time without a line, ms: worst", "{} silence", max),
            row(rounds, "longest time in which nobody listens on the Unix socket, ms", "{} deaf", max),
        ],
    )


def before_and_after(rounds):
    def change(what, name):
        shown = {}
        for n in OURS:
            before, after = (rounds.median(f"{n} {name} {when}") for when in ("before", "after"))
            if before is not None and after is not None:
                shown[n] = f"{before:,.0f} → {after:,.0f}"
        return Endured(what, **shown)

    rows = [change(f"{who}: descriptors", f"{who} fds") for who in ("keeper", "master")]
    rows += [change(f"{who}: {kind}, kB", f"{who} {kind}") for who in ("keeper", "master") for kind in ("RssAnon", "PSS")]
    rows.append(change("processes below the keeper", "processes"))
    return Section(f"Before and after all of them, with {IDLE:,} idle children and nothing running", rows)


def sections(rounds, parts):
    found = []
    if set(OURS) & set(parts):
        found += [pauses(rounds, parts), runs(rounds)]
    found.append(workers(rounds))
    if set(OURS) & set(parts):
        found.append(before_and_after(rounds))
    missing = [f"{name}: not measured: {why}" for name, why in rounds.missing.items()]
    found[0].rows[0].note = "; ".join(missing)
    return found
