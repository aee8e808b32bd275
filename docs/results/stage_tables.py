"""The tables of the sweep `stages`: what each rung of distillation keeps and gains, and what is left of the start."""

from __future__ import annotations

from sweep_tables import Column, Sweep, grid, interval, spread, values_of

# The laboratory's stages in their order, at four passes a chunk but for the first.
RUNGS = {
    "teacher forcing, 16 steps": "teacher_forcing.mosaic",
    "teacher forcing, 4 passes": "teacher_forcing.few_step.mosaic",
    "consistency, 4 passes": "consistency.mosaic",
    "DMD, 4 passes": "dmd.mosaic",
}
METHODS = ("svd_weight", "random")


def render_rungs() -> list[str]:
    """What each stage keeps and shows, for both inits."""
    sweep = Sweep.read("stages")
    if sweep is None:
        return ["Not run yet."]
    rows = []
    for label, prefix in RUNGS.items():
        cells = [label]
        for method in METHODS:
            for measure in ("keep", "contrast", "energy"):
                cells.append(spread(sweep.cells.get((method,), {}), Column("", f"{prefix}.{measure}")))
        rows.append(cells)
    heads = ["stage", *(f"{method}: {measure}" for method in METHODS for measure in ("keep", "contrast", "energy"))]
    return grid(heads, rows)


def gain(rows: dict, figure: str, before: str, more_is_better: bool) -> str:
    """Of a stage's figure over that of the one before, at equal seeds, and in how many seeds it is better."""
    own, base = (values_of(rows, Column("", name)) for name in (figure, before))
    pairs = [own[seed] - base[seed] for seed in own if seed in base]
    better = sum(pair > 0 if more_is_better else pair < 0 for pair in pairs)
    return f"{interval(pairs, 3)}, {better} of {len(pairs)}" if pairs else ""


def render_gains() -> list[str]:
    sweep = Sweep.read("stages")
    if sweep is None:
        return ["Not run yet."]
    steps = {
        "consistency over teacher forcing": ("consistency.mosaic", "teacher_forcing.few_step.mosaic", ""),
        "DMD over consistency": ("dmd.mosaic", "consistency.mosaic", ""),
        "DMD over consistency, last of ten clips": (
            "dmd.long_rollout.mosaic",
            "consistency.long_rollout.mosaic",
            "_last",
        ),
    }
    measures = {"contrast": True, "energy": False, "keep": True}
    rows = []
    for label, (own, before, end) in steps.items():
        for method in METHODS:
            cells = [label, method]
            for measure, more_is_better in measures.items():
                names = (f"{own}.{measure}{end}", f"{before}.{measure}{end}")
                cell = sweep.cells.get((method,), {})
                known = all(name in row for name in names for row in cell.values())
                cells.append(gain(cell, *names, more_is_better) if known else "")
            rows.append(cells)
    return grid(["", "init", *(f"{measure}, better in" for measure in measures)], rows)


def render_starts() -> list[str]:
    """Ranks through the stages, and how far the two inits are apart at each (Fig. 8)."""
    sweep = Sweep.read("stages")
    if sweep is None:
        return ["Not run yet."]
    svd, random = (sweep.cells.get((method,), {}) for method in METHODS)
    figures = {
        "teacher forcing: validation loss": "teacher_forcing.validation_loss",
        "teacher forcing: entropy rank": "teacher_forcing.rank.entropy_rank",
        "consistency: entropy rank": "consistency.rank.entropy_rank",
        "DMD: entropy rank": "dmd.rank.entropy_rank",
        "teacher forcing: r_0.99": "teacher_forcing.rank.r99",
        "DMD: r_0.99": "dmd.rank.r99",
        "DMD: keep": "dmd.mosaic.keep",
        "DMD: energy": "dmd.mosaic.energy",
        "DMD, last of ten clips: keep": "dmd.long_rollout.mosaic.keep_last",
        "DMD, last of ten clips: energy": "dmd.long_rollout.mosaic.energy_last",
        "DMD: direction of motion": "dmd.adherence.direction",
    }
    rows = []
    for label, figure in figures.items():
        column = Column("", figure)
        own, base = values_of(random, column), values_of(svd, column)
        apart = interval([own[seed] - base[seed] for seed in own if seed in base], 3)
        rows.append([label, spread(svd, column), spread(random, column), apart])
    return grid(["", *METHODS, "random less svd_weight"], rows)
