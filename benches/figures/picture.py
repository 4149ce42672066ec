"""Latency against load as an SVG: one panel a server, side by side over the same logarithmic axis of time."""

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

LEFT, TOP, BOTTOM, RIGHT, GAP = 64, 140, 52, 28, 40
WIDE, HIGH = 400, 300
# Kinds of lines, in the legend's order; `dash` as SVG has it, none for a line that is not broken.
DASHES = {"p50": "", "p99": "", "p999": "", "floor50": "6 4", "floor999": "1.5 4"}
# For light and dark surroundings. The background is painted, so that neither depends on the page's.
STYLE = """
svg { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 12px }
.back { fill: #ffffff } text { fill: #57606a } .title { fill: #1f2328; font-size: 17px; font-weight: 600 }
.panel { fill: #1f2328; font-size: 13px; font-weight: 600 } .grid { stroke: #d8dee4 } .faint { stroke: #eff2f5 }
.axis { stroke: #8c959f } .mark { stroke: #8c959f; stroke-dasharray: 2 3 } .line { fill: none; stroke-width: 2; stroke-linejoin: round }
.p50 { stroke: #0969da } .p99 { stroke: #bf8700 } .p999 { stroke: #cf222e } .floor50, .floor999 { stroke: #6e7781 }
.line.floor50, .line.floor999 { stroke-width: 1.6 } circle.p50 { fill: #0969da } circle.p99 { fill: #bf8700 } circle.p999 { fill: #cf222e }
circle { stroke: none } .floor999 { stroke-linecap: round }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117 } text { fill: #9198a1 } .title, .panel { fill: #f0f6fc } .grid { stroke: #2f3742 } .faint { stroke: #1c222b }
.axis, .mark { stroke: #656c76 } .p50 { stroke: #58a6ff } .p99 { stroke: #d29922 } .p999 { stroke: #ff7b72 }
.floor50, .floor999 { stroke: #9198a1 } circle.p50 { fill: #58a6ff } circle.p99 { fill: #d29922 } circle.p999 { fill: #ff7b72 }
}
"""


@dataclass
class Panel:
    title: str
    # {kind: [(requests a second, µs)]}
    lines: dict
    # [(requests a second, words)]: vertical lines
    marks: list = field(default_factory=list)

    @property
    def points(self):
        return [p for points in self.lines.values() for p in points]


def steps(most, about=5):
    """0, then round numbers up to `most`, as many as about that."""
    rough = most / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [i * step for i in range(int(most / step) + 1)]


def decades(low, high):
    """[(value, whether it is labelled)] of a logarithmic axis: 1, 2 and 5 of each decade; the others are faint."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [(m * 10**power, m in (1, 2, 5)) for m in range(1, 10)]
    return [(value, labelled) for value, labelled in found if low <= value <= high]


def bounds(values):
    """The next of 1, 2 and 5 times a power of ten on either side."""
    def below(value):
        power = 10 ** math.floor(math.log10(value))
        return max(m * power for m in (1, 2, 5) if m * power <= value)

    low, high = below(min(values)), below(max(values))
    power = 10 ** math.floor(math.log10(high))
    return low, next(m * power for m in (2, 5, 10) if m * power > high)


def time(us):
    return f"{us:g} µs" if us < 1000 else f"{us / 1000:g} ms" if us < 1e6 else f"{us / 1e6:g} s"


def text(x, y, words, kind="", anchor="start"):
    more = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def straight(x1, y1, x2, y2, kind):
    dash = f' stroke-dasharray="{DASHES[kind]}"' if DASHES.get(kind) else ""
    kind = f"line {kind}" if kind in DASHES else kind
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"{dash}/>'


def legend(names, y):
    parts, x = [], LEFT
    for kind, words in names.items():
        parts += [straight(x, y - 4, x + 26, y - 4, kind), text(x + 33, y, words)]
        # An estimate, since nobody can measure text here.
        x += 33 + 6.4 * len(words) + 26
    return parts


def drawn(panel, left, low, high, first):
    """One panel whose lower left corner is at `left`; the first one has the axis of time."""
    most = max([x for x, _ in panel.points] + [x for x, _ in panel.marks]) * 1.04
    bottom = TOP + HIGH

    def at(x, y):
        return left + WIDE * x / most, bottom - HIGH * math.log(y / low) / math.log(high / low)

    parts = [text(left, TOP - 30, panel.title, "panel")]
    for value, labelled in decades(low, high):
        y = at(0, value)[1]
        parts.append(straight(left, y, left + WIDE, y, "grid" if labelled else "faint"))
        if labelled and first:
            parts.append(text(left - 8, y + 4, time(value), anchor="end"))
    for value in steps(most):
        x = at(value, low)[0]
        parts += [straight(x, bottom, x, bottom + 4, "axis"), text(x, bottom + 18, f"{value:,.0f}", anchor="middle")]
    parts.append(straight(left, bottom, left + WIDE, bottom, "axis"))
    parts.append(text(left + WIDE / 2, bottom + 38, "runs a second", anchor="middle"))
    for value, words in panel.marks:
        x = at(value, low)[0]
        parts += [straight(x, TOP, x, bottom, "mark"), text(x, TOP - 6, words, anchor="middle")]
    for kind in reversed(DASHES):
        points = [at(*p) for p in panel.lines.get(kind, [])]
        if not points:
            continue
        dash = f' stroke-dasharray="{DASHES[kind]}"' if DASHES[kind] else ""
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="line {kind}"{dash}/>')
        if not DASHES[kind]:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{kind}"/>' for x, y in points]
    return parts


def svg(title, subtitle, names, panels):
    """`names` are the words of the legend for each kind of line that there is."""
    low, high = bounds([y for panel in panels for _, y in panel.points])
    width, height = LEFT + len(panels) * (WIDE + GAP) - GAP + RIGHT, TOP + HIGH + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
        text(LEFT, 32, title, "title"),
        text(LEFT, 52, subtitle),
        *legend(names, 78),
    ]
    for number, panel in enumerate(panels):
        parts += drawn(panel, LEFT + number * (WIDE + GAP), low, high, number == 0)
    return "\n".join([*parts, "</svg>"]) + "\n"
