"""What the tables of docs/reproduce.md are made of: rows of a sweep's table.csv, means, intervals, tables of cells.

Means and intervals are computed here anew, not taken from the sweep.
"""

from __future__ import annotations

import csv
import math
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent
# Two-sided 95 % points of Student's t with 1, 2, ... degrees of freedom.
T = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448]


@dataclass
class Column:
    head: str
    figure: str
    digits: int = 3
    kind: str = "spread"  # "mean", or "difference" from the baseline


@dataclass
class Table:
    sweep: str
    axes: dict[str, str]  # axis: head of its column
    columns: list[Column]
    baseline: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # labels as the page has them
    where: dict[str, str] = field(default_factory=dict)  # rows of these labels alone


@dataclass
class Sweep:
    axes: list[str]
    cells: dict[tuple[str, ...], dict[str, dict[str, str]]]  # labels: seed: row

    @staticmethod
    def read(name: str) -> Sweep | None:
        file = RESULTS / name / "table.csv"
        if not file.exists():
            return None
        with open(file, newline="") as text:
            reader = csv.DictReader(text)
            rows = list(reader)
            head = list(reader.fieldnames or [])
        axes = head[head.index("seed") + 1 : head.index("state")]
        tuned = RESULTS / name / "tune.csv"
        if tuned.exists():  # what was chosen for each cell is no axis
            with open(tuned, newline="") as text:
                axes.remove(next(csv.reader(text))[1])
        cells: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
        for row in rows:
            if row["state"] == "done":
                cells.setdefault(tuple(row[axis] for axis in axes), {})[row["seed"]] = row
        return Sweep(axes, cells)


def number(value: float, digits: int, sign: bool = False) -> str:
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    text = re.sub(r"^-(0\.?0*)$", r"+\1" if sign else r"\1", text)  # no negative zero
    return re.sub(r"^([+-]?)0\.", r"\1.", text) if abs(value) < 1 and digits > 1 else text


def values_of(rows: dict[str, dict[str, str]], column: Column) -> dict[str, float]:
    found = {}
    for seed, row in rows.items():
        if row[column.figure] not in ("", "never"):
            found[seed] = float(row[column.figure])
    return found


def spread(rows: dict[str, dict[str, str]], column: Column) -> str:
    values = list(values_of(rows, column).values())
    never = sum(row[column.figure] == "never" for row in rows.values())
    if never > 0:
        return f"{never} of {len(values) + never} never"
    if not values:
        return ""
    mean = number(statistics.mean(values), column.digits)
    if column.kind == "mean" or len(values) < 2:
        return mean
    return f"{mean} ± {number(statistics.stdev(values), column.digits)}"


def half_width(values: list[float]) -> float:
    """Of the 95 % interval of the mean, of two values at least."""
    return T[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))


def interval(pairs: list[float], digits: int) -> str:
    """The mean of differences and its interval, bold where that excludes zero."""
    if not pairs:
        return ""
    mean = statistics.mean(pairs)
    text = number(mean, digits, sign=True)
    if len(pairs) < 2:
        return text
    half = half_width(pairs)
    low, high = (number(mean + side * half, digits, sign=True) for side in (-1, 1))
    text = f"{text} ({low} to {high})"
    return f"**{text}**" if abs(mean) > half else text


def difference(rows: dict, others: dict, column: Column) -> str:
    own, base = values_of(rows, column), values_of(others, column)
    return interval([own[seed] - base[seed] for seed in own if seed in base], column.digits)


def grid(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def render(table: Table) -> list[str]:
    sweep = Sweep.read(table.sweep)
    if sweep is None:
        return ["Not run yet."]
    places = [sweep.axes.index(axis) for axis in table.axes]
    heads = [*table.axes.values(), *(column.head for column in table.columns), "seeds"]
    lines = []
    ordered = [
        labels
        for labels in sorted(sweep.cells, key=lambda labels: order_of(sweep, places, labels))
        if all(labels[sweep.axes.index(axis)] == label for axis, label in table.where.items())
    ]
    for labels in ordered:
        rows = sweep.cells[labels]
        base = tuple(table.baseline.get(axis, label) for axis, label in zip(sweep.axes, labels, strict=True))
        if base == labels and all(column.kind == "difference" for column in table.columns):
            continue  # it would have nothing to say
        cells = [table.names.get(labels[place], labels[place]) for place in places]
        for column in table.columns:
            if column.kind == "difference":
                is_base = base == labels or base not in sweep.cells
                cells.append("" if is_base else difference(rows, sweep.cells[base], column))
            else:
                cells.append(spread(rows, column))
        lines.append([*cells, str(len(rows))])
    return grid(heads, lines)


def order_of(sweep: Sweep, places: list[int], labels: tuple[str, ...]) -> list[int]:
    """As in table.csv along each axis, the table's first axis outermost."""
    seen: list[list[str]] = [[] for _ in sweep.axes]
    for other in sweep.cells:
        for axis, label in enumerate(other):
            if label not in seen[axis]:
                seen[axis].append(label)
    return [seen[place].index(labels[place]) for place in places]
