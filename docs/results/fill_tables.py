#!/usr/bin/env python3
"""The tables of docs/reproduce.md, from the sweeps' tables in this folder: fill_tables.py [--check]

docs/results/NAME holds what `vmla sweep --config configs/experiments/NAME.yaml` wrote: table.csv, a row a run. In the page
a table stands between `<!-- results: TABLE -->` and `<!-- end -->`. --check writes nothing; status 1 where the page
says something else.
"""

from __future__ import annotations

import csv
import math
import re
import statistics
import sys

from stage_tables import render_gains, render_rungs, render_starts
from sweep_tables import RESULTS, Column, Sweep, Table, grid, half_width, interval, number, render, values_of

PAGE = RESULTS.parent.parent / "docs/reproduce.md"


def loss_and_keep(base: str) -> list[Column]:
    """Both, and how much they differ from the baseline's."""
    return [
        Column("validation loss", "tf.validation_loss"),
        Column(f"less {base}", "tf.validation_loss", 4, "difference"),
        Column("keep", "tf.mosaic.keep"),
        Column(f"less {base}", "tf.mosaic.keep", 3, "difference"),
    ]


TABLES = {
    "rank": Table(
        "rank",
        {"ground": "bits a token", "d_c": "d_c"},
        loss_and_keep("the dense model's"),
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
    "inits": Table(
        "init",
        {"kv_lora_rank": "d_c", "method": "init"},
        [
            Column("steps to .40", "steps_to_0.4", 0),
            Column("to .33", "steps_to_0.33", 0),
            Column("to .28", "steps_to_0.28", 0),
            Column("last loss", "tf.validation_loss"),
            Column("less svd_weight's", "tf.validation_loss", 4, "difference"),
            Column("keep", "tf.mosaic.keep"),
        ],
        {"method": "svd_weight"},
    ),
    "splits": Table(
        "rope_split",
        {"split": "nope + rope"},
        [
            *loss_and_keep("that of 20+12"),
            Column("direction of motion", "tf.adherence.direction"),
        ],
        {"split": "20+12"},
    ),
    "budgets": Table(
        "budget",
        {"ranks": "d_c by layer"},
        [
            *loss_and_keep("that of 8-8-8"),
            Column("entropy rank of the weights", "tf.rank.entropy_rank", 1),
        ],
        {"ranks": "8-8-8"},
    ),
    "long": Table(
        "long",
        {"attention": "attention", "cache": "cache"},
        [
            Column("keep, one clip", "dmd.mosaic.keep"),
            Column("energy", "dmd.mosaic.energy"),
            Column("keep, last of ten", "dmd.long_rollout.mosaic.keep_last"),
            Column("less the dense model's", "dmd.long_rollout.mosaic.keep_last", 3, "difference"),
            Column("energy", "dmd.long_rollout.mosaic.energy_last"),
            Column("less the dense model's", "dmd.long_rollout.mosaic.energy_last", 3, "difference"),
            Column("direction", "dmd.drift.adherence.direction_last"),
            Column("motion, of a real clip's", "dmd.drift.motion_share_last", 2),
            Column("drift", "dmd.drift.shift", 1),
        ],
        {"attention": "dense"},
    ),
    "long_caches": Table(
        "long",
        {"attention": "attention", "cache": "less the window's"},
        [
            Column("keep, one clip", "dmd.mosaic.keep", 3, "difference"),
            Column("keep, last of ten", "dmd.long_rollout.mosaic.keep_last", 3, "difference"),
            Column("energy", "dmd.long_rollout.mosaic.energy_last", 3, "difference"),
            Column("direction", "dmd.drift.adherence.direction_last", 3, "difference"),
            Column("motion, of a real clip's", "dmd.drift.motion_share_last", 2, "difference"),
        ],
        {"cache": "window"},
    ),
    "eight_bits": Table(
        "int8",
        {"kv_cache_dtype": "cache"},
        [
            Column("keep, one clip", "dmd.mosaic.keep"),
            Column("less fp32's", "dmd.mosaic.keep", 5, "difference"),
            Column("energy, less fp32's", "dmd.mosaic.energy", 5, "difference"),
            Column("keep, last of ten", "dmd.long_rollout.mosaic.keep_last"),
            Column("less fp32's", "dmd.long_rollout.mosaic.keep_last", 5, "difference"),
            Column("energy, less fp32's", "dmd.long_rollout.mosaic.energy_last", 5, "difference"),
        ],
        {"kv_cache_dtype": "auto"},
        {"auto": "fp32"},
    ),
}


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
    rows = []
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
        rows.append([*cells, str(len(ratios))])
    return grid(["keep, of the dense model's", "12 bits", "4 bits", "ratio at equal seeds", "seeds"], rows)


def render_first_losses() -> list[str]:
    """The loss before the first step, of every init method; init_scores/first_loss.csv has a row a seed."""
    file = RESULTS / "init_scores" / "first_loss.csv"
    if not file.exists():
        return ["Not run yet."]
    with open(file, newline="") as text:
        rows = list(csv.DictReader(text))
    losses: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        losses.setdefault((row["d_c"], row["method"]), {})[row["seed"]] = float(row["first_loss"])
    ranks, methods = ([*dict.fromkeys(row[key] for row in rows)] for key in ("d_c", "method"))
    lines = []
    for method in methods:
        cells = [method]
        for rank in ranks:
            own, base = losses[rank, method], losses[rank, "svd_weight"]
            cells.append(number(statistics.mean(own.values()), 3))
            apart = [own[seed] - base[seed] for seed in own if seed in base]
            cells.append("" if method == "svd_weight" else interval(apart, 3))
        lines.append(cells)
    heads = ["init", *(head for rank in ranks for head in (f"d_c = {rank}", "less svd_weight's"))]
    return grid(heads, lines)


def render_sooner() -> list[str]:
    """How many steps fewer than svd_weight an init needs to each target: at equal seeds where both arrive, and the
    number of seeds in which it is sooner, where never is later than any step."""
    sweep = Sweep.read("init")
    if sweep is None:
        return ["Not run yet."]
    targets = ("0.4", "0.33", "0.28")
    rows = []
    for method, rank in sweep.cells:
        if method == "svd_weight":
            continue
        own, base = sweep.cells[method, rank], sweep.cells["svd_weight", rank]
        cells = [rank, method]
        for target in targets:
            column = Column("", f"steps_to_{target}")
            of_own, of_base = values_of(own, column), values_of(base, column)
            both = [(of_own.get(seed, math.inf), of_base.get(seed, math.inf)) for seed in own if seed in base]
            arrived = [a - b for a, b in both if a < math.inf and b < math.inf]
            decided = [a < b for a, b in both if a != b]
            text = interval(arrived, 0) if arrived else "never both"
            cells.append(f"{text}; {sum(decided)} of {len(decided)}" if decided else "neither arrives")
        rows.append(cells)
    rows.sort(key=lambda cells: int(cells[0]))
    return grid(["d_c", "init", *(f"to {target.removeprefix('0')}" for target in targets)], rows)


OTHERS = {
    "first_losses": render_first_losses,
    "gains": render_gains,
    "knees": render_knees,
    "rungs": render_rungs,
    "sooner": render_sooner,
    "starts": render_starts,
}


def filled(page: str) -> str:
    def table_of(match: re.Match) -> str:
        name = match[1]
        if name not in OTHERS and name not in TABLES:
            sys.exit(f"{PAGE.name}: there is no table '{name}'; known: {', '.join([*TABLES, *OTHERS])}")
        lines = OTHERS[name]() if name in OTHERS else render(TABLES[name])
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
