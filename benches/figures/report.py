"""The table, on a terminal and as markdown for the documentation."""

from .rounds import Compared, Row

HELD = ("what", "figure", "held against", "ratio", "to reach", "")


def head(sections):
    """All rows of a table are of one kind."""
    kind = next((type(row) for s in sections for row in s.rows), Row)
    return ["", *kind.HEAD, "limit", "ratio", "target", ""]


def number(value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"


def cells(row):
    limit = f"{number(row.limit)} {row.limit_is}".strip() if row.limit is not None else row.limit_is
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio < 100 else f"{row.ratio:.0f}"
    target = f"{'≤' if row.target[0] == '<=' else '≥'} {round(row.target[1], 3):g}" if row.target else ""
    return [row.what, *map(number, row.shown), limit, ratio, target, row.verdict]


def held(sections):
    """Every line that is held against something, as text, for the table of all programs: [{"title", "rows": [cells]}], cells
    as in `HELD`."""
    found = []
    for section in sections:
        rows, what = [], ""
        for row in section.rows:
            # A second line for the same figure has no words of its own.
            what = row.what or what
            if row.ratio is None and row.target is None:
                continue
            figure = row.figure if row.figure is not None else next((v for v in row.shown if v is not None), None)
            limit, *rest = cells(row)[-4:]
            if not limit and isinstance(row, Compared):
                limit = f"{number(row.without)} without"
            rows.append([what, number(figure), limit, *rest])
        if rows:
            found.append({"title": section.title, "rows": rows})
    return found


def syscall_lines(syscalls):
    """One line a configuration with its sum, then one a call."""
    for name, calls in syscalls:
        if isinstance(calls, str):
            yield name, "", f"not measured: {calls}"
            continue
        yield name, f"{sum(calls.values()):.2f}", "all calls"
        for call, times in calls.items():
            yield "", f"{times:.2f}", call


def text(header, sections, syscalls):
    names = head(sections)
    table = [(None, names)]
    for section in sections:
        table.append((section.title, None))
        table += [(row, cells(row)) for row in section.rows]
    widths = [max(len(c[i]) for _, c in table if c) for i in range(len(names))]
    lines = list(header) + [""]
    for what, c in table:
        if c is None:
            lines += ["", what]
            continue
        # Words to the left, numbers to the right.
        padded = [x.ljust(w) if i in (0, len(names) - 4) else x.rjust(w) for i, (x, w) in enumerate(zip(c, widths))]
        lines.append(("  " + "  ".join(padded)).rstrip())
        if what is not None and what.note:
            lines.append(f"      {what.note}")
    if syscalls:
        lines += ["", "System calls of the master for each run"]
        lines += [f"  {name:<28} {times:>7}  {call}" for name, times, call in syscall_lines(syscalls)]
    return "\n".join(lines + ["", verdicts(sections)]) + "\n"


def markdown(header, sections, syscalls):
    names = head(sections)
    lines = [f"- {line}" for line in header if line] + [""]
    for section in sections:
        lines += [f"### {section.title}", ""]
        used = [i for i in range(len(names)) if i == 0 or any(cells(r)[i] for r in section.rows)]
        lines.append("| " + " | ".join(names[i] for i in used) + " |")
        lines.append("|" + "|".join("---" if i in (0, len(names) - 4) else "--:" for i in used) + "|")
        for row in section.rows:
            c = cells(row)
            c[0] += f"<br>{row.note}" if row.note else ""
            lines.append("| " + " | ".join(c[i].replace("|", "\\|") for i in used) + " |")
        lines.append("")
    if syscalls:
        lines += ["### System calls of the master for each run", "", "| | times a run | call |", "|---|--:|---|"]
        lines += ["| {} | {} | {} |".format(*line) for line in syscall_lines(syscalls)] + [""]
    return "\n".join(lines + [verdicts(sections)]) + "\n"


def verdicts(sections):
    found = [row.verdict for s in sections for row in s.rows if row.target]
    said = ", ".join(f"{found.count(v)} {v}" for v in ("ok", "missed", "not measured") if v in found)
    return f"{len(found)} targets: {said}." if found else "No targets in this selection."
