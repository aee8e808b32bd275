"""Loss curves of the tiny stages against checked-in ones: a change that moves what is trained does not go unnoticed.

Every stage of configs/tiny runs a few steps on a few clips, each from the last steps of the stage before it. A change
that is meant to move a curve rewrites them:

    python tests/python/test_golden.py --write
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pytest
import yaml

from foreign_dataset import write_dataset
from program import overrides, vmla
from tiny_stage import CONFIGS, metrics

GOLDEN = Path(__file__).resolve().parent / "golden"
STEPS = 20

# Stage to run: its configuration, the stages that its roles start from, and what is set beside SHORT. Checked below
# against the folder: a new configuration has a curve, or a reason here.
STAGES = {
    "pretrain": ("pretrain.yaml", {}, {}),
    "tf_svd": ("teacher_forcing.yaml", {"generator": "pretrain"}, {"init.method": "svd_weight"}),
    "tf_random": ("teacher_forcing.yaml", {"generator": "pretrain"}, {"init.method": "random"}),
    "df": ("diffusion_forcing.yaml", {"generator": "pretrain"}, {}),
    "cd": ("consistency.yaml", {"generator": "tf_svd"}, {}),
    "ode": ("ode_regression.yaml", {"generator": "tf_svd"}, {}),
    "dmd": ("dmd.yaml", {"generator": "cd", "real_score": "pretrain"}, {}),
}
WITHOUT_A_CURVE = {"footage.yaml": "its videos are fetched from elsewhere"}

SHORT = {
    "train.steps": STEPS,
    "train.batch_size": 4,
    "train.micro_batch_size": 4,
    "train.threads": 1,
    "train.log_every": STEPS,
    "checkpoint.every": 0,
    "validation.every": 0,
    "rank.every": 0,
    "sample.every": 0,
    "sample.measure_clips": 0,
    "sample.long_frames": 0,
    "optimizer.warmup_steps": 0,
}
ODE_TIMES = [1000.0, 937.5, 2500 / 3, 625.0, 0.0]  # the student's four steps under shift 5, and the endpoint
FIGURES = ("loss", "loss_fake_score")

# Two builds or machines differ by the order of fp32 sums: 6e-8 times the square root of some 1e3 terms an element, 2e-6,
# of what is summed. Consistency compares two nearby predictions, whose difference is 30 times smaller than they are:
# 6e-5. Micro-batches of 1 and 2, another order too, gave 4e-6 and 2e-5.
TOLERANCE = 1e-4


def run_stage(stage: str, folder: Path) -> Path:
    config, sources, changed = STAGES[stage]
    data = {"data.path": str(folder / "train.h5"), "data.validation_path": str(folder / "held_out.h5")}
    parts = {"make": 16, "make_validation": 2}
    if stage == "ode":  # random states of random clips: pairs of a real teacher are made by another command
        data["data.path"] = str(write_dataset(folder / "ode.h5", clips=16, ode_times=ODE_TIMES))
        del parts["make"]
    for part, count in parts.items():
        data[f"data.{part}.synth_count"] = count
        data[f"data.{part}.videos"] = str(folder / "videos" / part)
    starts = {f"init_from.{role}": str(folder / source) for role, source in sources.items()}
    vmla(
        "train", "--config", CONFIGS / config, "--run-dir", folder / stage,
        *overrides({**SHORT, **data, **starts, **changed}),
    )  # fmt: skip
    return folder / stage


def curve(run_dir: Path) -> dict[str, list]:
    """{figure: [[step, value], ...]}; a player that is not updated at every step has fewer entries."""
    log = metrics(run_dir)
    curves = {name: [[m["step"], m[name]] for m in log if name in m] for name in FIGURES}
    return {name: values for name, values in curves.items() if values}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    return {stage: run_stage(stage, folder) for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_loss_curve(stage, runs):
    ours, golden = curve(runs[stage]), json.loads((GOLDEN / f"{stage}.json").read_text())
    assert ours.keys() == golden.keys()
    for name, expected in golden.items():
        assert [step for step, _ in ours[name]] == [step for step, _ in expected], name
        for (step, value), (_, reference) in zip(ours[name], expected, strict=True):
            allowed = TOLERANCE * abs(reference)
            assert abs(value - reference) <= allowed, (
                f"{name} of step {step} is {value}, {reference} is checked in (allowed {allowed:.3g}); "
                f"if that is meant: python tests/python/test_golden.py --write"
            )


def test_every_configuration_has_a_curve():
    stages = {p.name for p in CONFIGS.glob("*.yaml") if not {"stages", "base"} & yaml.safe_load(p.read_text()).keys()}
    assert stages == {config for config, _, _ in STAGES.values()} | WITHOUT_A_CURVE.keys()


def write():
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            lines = [f'"{name}": {json.dumps(values)}' for name, values in curve(run_stage(stage, Path(folder))).items()]
            (GOLDEN / f"{stage}.json").write_text("{" + ",\n ".join(lines) + "}\n")
            print(f"wrote {GOLDEN / stage}.json")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: test_golden.py --write")
    write()
