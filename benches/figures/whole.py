"""What all programs have held against something, in one table."""

from .report import HELD

# Words to the left, numbers to the right.
LEFT = (0, 2, 5)


def verdicts(found):
    said = [row[-1] for _, sections in found for s in sections for row in s["rows"] if row[-1]]
    counts = ", ".join(f"{said.count(v)} {v}" for v in ("ok", "missed", "not measured") if v in said)
    return f"{len(said)} targets: {counts}." if said else "No targets in this selection."


def text(header, found):
    """`found` are (name of a program, its sections as `report.held` has them)."""
    table = [row for _, sections in found for s in sections for row in [HELD, *s["rows"]]]
    widths = [max(len(row[i]) for row in table) for i in range(len(HELD))] if table else []

    def line(row):
        return "  " + "  ".join(c.ljust(w) if i in LEFT else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))

    lines = [*header, ""] + ([line(HELD).rstrip()] if table else [])
    for name, sections in found:
        for section in sections:
            lines += ["", f"{name}: {section['title']}", *(line(row).rstrip() for row in section["rows"])]
    return "\n".join([*lines, "", verdicts(found)]) + "\n"


def markdown(header, found):
    lines = [f"- {line}" for line in header] + ["", "| " + " | ".join(HELD) + " |"]
    lines.append("|" + "|".join("---" if i in LEFT else "--:" for i in range(len(HELD))) + "|")
    for name, sections in found:
        for section in sections:
            lines.append(f"| **{name}: {section['title']}** |" + " |" * (len(HELD) - 1))
            lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in section["rows"]]
    return "\n".join([*lines, "", verdicts(found)]) + "\n"
