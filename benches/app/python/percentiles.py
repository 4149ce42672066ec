"""Nearest rank, in microseconds, as the C client prints them."""

import math


def percentiles(samples_ns):
    ordered = sorted(samples_ns)

    def at(p):
        return round(ordered[max(1, math.ceil(p / 100 * len(ordered))) - 1] / 1000, 1)

    return {"count": len(ordered), "min": at(0), "p50": at(50), "p90": at(90), "p99": at(99), "max": at(100)}
