"""Reports and records as a page of text, at most 100 columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nlptl.errors import listing
from nlptl.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from nlptl.report.report import Report

WIDTH = 100
LABEL_WIDTH = 40
#: Past this many labels a full table is no page any more: the weakest are shown, for they are where to look.
MANY_LABELS, WEAKEST = 25, 12
#: Below this a percentile interval is known to be too narrow.
FEW_ROWS = 30

UNITS = {"spans": "sentences"}


def report_page(report: Report) -> str:
    """The page that ``print(report)`` shows."""
    unit = UNITS.get(report.problem, "rows")
    parts = (report.task or report.problem, f"{report.rows:,} {unit}", report.source)
    title = " · ".join(part for part in parts if part)
    sections = [[_cut(title, WIDTH), "─" * WIDTH], _metrics(report, unit)]
    if report.labels:
        sections.append(_label_table(report.labels, report.problem))
    sections += [_pairs("counts", report.counts), _pairs("choices", report.choices), _cost(report)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def record_page(record: Mapping[str, Any]) -> str:
    """The page that ``print(record)`` shows."""
    sections = [_pairs(name, section) for name, section in record.items() if isinstance(section, Mapping)]
    if record.get("notes"):
        notes = [line for note in record["notes"] for line in _wrapped(f"- {note}", 2, 4)]
        sections.append(["notes", *notes])
    return "\n\n".join("\n".join(lines) for lines in sections if lines) or "nothing recorded yet"


def _metrics(report: Report, unit: str) -> list[str]:
    level = f"{report.bootstrap.level * 100:g} % interval"
    body = [
        [
            f"{name} ↓" if name in LOWER_IS_BETTER else name,
            _number(score.value),
            "" if score.low != score.low else f"{score.low:.4f} … {score.high:.4f}",
        ]
        for name, score in report.metrics.items()
    ]
    lines = [*_table(["score", "value", level], body), "", report.bootstrap.describe(unit)]
    if LOWER_IS_BETTER & report.metrics.keys():
        lines.append("↓ lower is better")
    if report.rows < FEW_ROWS:
        lines.append(f"fewer than {FEW_ROWS} {unit}: the intervals are a rough guide, and too narrow")
    return lines


def _label_table(labels: Sequence[Mapping[str, Any]], problem: str) -> list[str]:
    met = [row for row in labels if row["support"] or row["predicted"]]
    unmet = [row["label"] for row in labels if not (row["support"] or row["predicted"])]
    shown, lines = met, []
    if len(met) > MANY_LABELS:
        shown = sorted(met, key=lambda row: row["f1"])[:WEAKEST]
        lines = [f"the {WEAKEST} weakest of {len(met)} labels (all of them in report.labels)"]
    columns = [c for c in labels[0] if c != "label"]
    body = [[str(row["label"]), *(_number(row[c]) for c in columns)] for row in shown]
    lines += _table(["entity" if problem == "spans" else "label", *columns], body)
    if unmet:
        lines += ["", *_wrapped(f"neither in the gold nor predicted: {listing(unmet)}", 0, 2)]
    return lines


def _cost(report: Report) -> list[str]:
    lines = []
    if report.seconds is not None:
        speed = report.rows_per_second
        rate = f", {speed:,.{0 if speed >= 10 else 1}f} {UNITS.get(report.problem, 'rows')}/s" if speed else ""
        lines.append(f"predicted in {report.seconds:,.{1 if report.seconds >= 0.1 else 4}f} s{rate}")
    if report.trainable_parameters is not None:
        total = report.total_parameters
        part = f" of {total:,} ({report.trainable_parameters / total:.2%})" if total else ""
        lines.append(f"{report.trainable_parameters:,}{part} parameters were trained")
    return lines


def _pairs(name: str, section: Mapping[str, Any]) -> list[str]:
    """A section of names and values; a nested section is indented under its name."""
    if not section:
        return []
    return [name, *_lines(section, 2)]


def _lines(section: Mapping[str, Any], indent: int) -> list[str]:
    width = max(_columns(str(key)) for key in section) + 2
    lines: list[str] = []
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            lines += [" " * indent + str(key), *_lines(value, indent + 2)]
            continue
        text = ", ".join(map(_number, value)) if isinstance(value, (list, tuple)) else _number(value)
        lines += _wrapped(f"{_pad(str(key), width)}{text or '-'}", indent, indent + width)
    return lines


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns: the first to the left, the numbers to the right."""
    rows = [list(header), *([_cut(row[0], LABEL_WIDTH), *row[1:]] for row in body)]
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(header))]
    cells = [[_pad(cell, widths[i], right=i > 0) for i, cell in enumerate(row)] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def _number(value: Any) -> str:
    if value is None or value != value:
        return "undefined"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    # A learning rate of 0.00002 must not print as 0.0000.
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2e}"


def _columns(text: str) -> int:
    """How many terminal columns the text takes: East Asian letters take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def _pad(text: str, width: int, *, right: bool = False) -> str:
    gap = " " * (width - _columns(text))
    return gap + text if right else text + gap


def _cut(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    while _columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _wrapped(text: str, first: int, others: int) -> list[str]:
    """Lines of at most WIDTH columns; continuation lines are indented under the value."""
    lines, line = [], " " * first
    for word in _words(text, WIDTH - max(first, others)):
        if _columns(line + word.rstrip()) > WIDTH:
            lines.append(line.rstrip())
            line = " " * others
        line += word
    return [*lines, line.rstrip()]


def _words(text: str, longest: int) -> Iterable[str]:
    """Words with the blanks after them; a word longer than a line (a path, a hash) is broken."""
    word = ""
    for i, letter in enumerate(text):
        word += letter
        if (letter == " " and text[i + 1 : i + 2] != " ") or _columns(word) >= longest:
            yield word
            word = ""
    if word:
        yield word
