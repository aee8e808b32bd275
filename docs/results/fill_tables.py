#!/usr/bin/env python3
"""The tables of docs/reproduce.md, from the sweeps' tables in this folder: fill_tables.py [--check]

docs/results/NAME holds what `vmla sweep --config configs/experiments/NAME.yaml` wrote: table.csv, a row a run. In the page
a table stands between `<!-- results: TABLE -->` and `<!-- end -->`. Means and intervals are computed here anew, not taken
from the sweep. --check writes nothing; status 1 where the page says something else.
"""

from __future__ import annotations

import csv
import math
import re
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent
PAGE = RESULTS.parent.parent / "docs/reproduce.md"
# Two-sided 95 % points of Student's t with 1, 2, ... degrees of freedom.
T = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622]


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


TABLES = {
    "rank": Table(
        "rank",
        {"ground": "bits a token", "d_c": "d_c"},
        [
            Column("validation loss", "tf.validation_loss"),
            Column("less the dense model's", "tf.validation_loss", 4, "difference"),
            Column("keep", "tf.mosaic.keep"),
            Column("less the dense model's", "tf.mosaic.keep", 3, "difference"),
        ],
        {"d_c": "dense"},
        {"12_bits": "12", "4_bits": "4"},
    ),
    "ranks": Table(
        "rank",
        {"ground": "bits a token", "d_c": "d_c"},
        [
            Column("r_0.99 of the weights", "tf.rank.r99", 1),
            Column("random product", "tf.rank.null_r99", 1, "mean"),
            Column("entropy rank of the weights", "tf.rank.entropy_rank", 1),
            Column("random product", "tf.rank.null_entropy_rank", 1, "mean"),
            Column("of what is written into the cache", "tf.rank.content_entropy_rank", 1),
            Column("overlap with the start", "tf.rank.subspace_overlap", 2),
        ],
        {},
        {"12_bits": "12", "4_bits": "4"},
    ),
    "bits": Table(
        "rank",
        {"d_c": "d_c"},
        [
            Column("entropy rank of the weights", "tf.rank.entropy_rank", 1, "difference"),
            Column("of what is written into the cache", "tf.rank.content_entropy_rank", 1, "difference"),
            Column("of it, r_0.99", "tf.rank.content_r99", 1, "difference"),
        ],
        {"ground": "4_bits"},
        {},
        {"ground": "12_bits"},
    ),
    "spectrum": Table(
        "spectrum",
        {"ground": "bits a token"},
        [
            Column("r_0.99", "rank.r99", 1),
            Column("permuted", "rank.shuffled_r99", 1, "mean"),
            Column("entropy rank", "rank.entropy_rank", 1),
            Column("permuted", "rank.shuffled_entropy_rank", 1, "mean"),
            Column("energy in the first 16", "rank.energy_at_16"),
            Column("permuted", "rank.shuffled_energy_at_16", 3, "mean"),
            Column("direction of motion", "adherence.direction"),
        ],
        {},
        {"12_bits": "12", "4_bits": "4"},
    ),
}


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
    if not values:
        return ""
    mean = number(statistics.mean(values), column.digits)
    if column.kind == "mean" or len(values) < 2:
        return mean
    return f"{mean} ± {number(statistics.stdev(values), column.digits)}"


def half_width(values: list[float]) -> float:
    """Of the 95 % interval of the mean, of two values at least."""
    return T[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))


def difference(rows: dict, others: dict, column: Column) -> str:
    own, base = values_of(rows, column), values_of(others, column)
    pairs = [own[seed] - base[seed] for seed in own if seed in base]
    if not pairs:
        return ""
    mean = statistics.mean(pairs)
    text = number(mean, column.digits, sign=True)
    if len(pairs) < 2:
        return text
    half = half_width(pairs)
    low, high = (number(mean + side * half, column.digits, sign=True) for side in (-1, 1))
    text = f"{text} ({low} to {high})"
    return f"**{text}**" if abs(mean) > half else text


def render(table: Table) -> list[str]:
    sweep = Sweep.read(table.sweep)
    if sweep is None:
        return ["Not run yet."]
    places = [sweep.axes.index(axis) for axis in table.axes]
    heads = [*table.axes.values(), *(column.head for column in table.columns), "seeds"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    ordered = [
        labels
        for labels in sorted(sweep.cells, key=lambda labels: order_of(sweep, places, labels))
        if all(labels[sweep.axes.index(axis)] == label for axis, label in table.where.items())
    ]
    for labels in ordered:
        rows = sweep.cells[labels]
        base = tuple(table.baseline.get(axis, label) for axis, label in zip(sweep.axes, labels, strict=True))
        cells = [table.names.get(labels[place], labels[place]) for place in places]
        for column in table.columns:
            if column.kind == "difference":
                is_base = base == labels or base not in sweep.cells
                cells.append("" if is_base else difference(rows, sweep.cells[base], column))
            else:
                cells.append(spread(rows, column))
        lines.append("| " + " | ".join([*cells, str(len(rows))]) + " |")
    return lines


def knees(sweep: Sweep, ground: str, share: float) -> dict[str, float]:
    """Of each seed the d_c at which `keep` comes to `share` of the dense model's, on the line between two ranks over
    log d_c."""
    found = {}
    dense = sweep.cells.get(("dense", ground), {})
    keep = Column("", "tf.mosaic.keep")
    for seed, of_dense in values_of(dense, keep).items():
        target = share * of_dense
        points = [
            (math.log2(float(labels[0])), values_of(rows, keep)[seed])
            for labels, rows in sweep.cells.items()
            if labels[0] != "dense" and labels[1] == ground and seed in values_of(rows, keep)
        ]
        points.sort()
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            if y0 < target <= y1:
                found[seed] = 2 ** (x0 + (target - y0) / (y1 - y0) * (x1 - x0))
                break
    return found


def render_knees() -> list[str]:
    sweep = Sweep.read("rank")
    if sweep is None:
        return ["Not run yet."]
    lines = ["| keep, of the dense model's | 12 bits | 4 bits | ratio at equal seeds | seeds |", "|---|---|---|---|---|"]
    for share in (0.8, 0.9, 0.95):
        rich, poor = (knees(sweep, ground, share) for ground in ("12_bits", "4_bits"))
        ratios = [math.log2(rich[seed] / poor[seed]) for seed in rich if seed in poor]
        cells = [f"{share:.0%}".replace("%", " %")]
        for knee in (rich, poor):
            values = list(knee.values())
            cells.append(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")
        if len(ratios) > 1:
            mean = statistics.mean(ratios)
            half = half_width(ratios)
            cells.append(f"{2**mean:.2f} ({2 ** (mean - half):.2f} to {2 ** (mean + half):.2f})")
        else:
            cells.append("")
        lines.append("| " + " | ".join([*cells, str(len(ratios))]) + " |")
    return lines


def order_of(sweep: Sweep, places: list[int], labels: tuple[str, ...]) -> list[int]:
    """As in table.csv along each axis, the table's first axis outermost."""
    seen: list[list[str]] = [[] for _ in sweep.axes]
    for other in sweep.cells:
        for axis, label in enumerate(other):
            if label not in seen[axis]:
                seen[axis].append(label)
    return [seen[place].index(labels[place]) for place in places]


def filled(page: str) -> str:
    def table_of(match: re.Match) -> str:
        name = match[1]
        if name != "knees" and name not in TABLES:
            sys.exit(f"{PAGE.name}: there is no table '{name}'; known: knees, {', '.join(TABLES)}")
        lines = render_knees() if name == "knees" else render(TABLES[name])
        return "\n".join([f"<!-- results: {name} -->", *lines, "<!-- end -->"])

    return re.sub(r"<!-- results: (\w+) -->\n.*?<!-- end -->", table_of, page, flags=re.S)


def main() -> None:
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    page = PAGE.read_text()
    wanted = filled(page)
    if "--check" not in sys.argv:
        PAGE.write_text(wanted)
    elif wanted != page:
        sys.exit(f"{PAGE.name} is not what docs/results says: run python3 docs/results/fill_tables.py")


if __name__ == "__main__":
    main()
