"""What the ranks of a run send is what `vmla analyze memory` says of its configuration, to the last byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from distilled_stage import settings as distilled
from program import vmla
from ranks import run_ranks
from tiny_stage import metrics, train_arguments


def planned(ranks: int, arguments: list, folder: Path) -> dict:
    """The plan of what `vmla train` is given: the same file and settings."""
    file = folder / "memory.json"
    _, _, config, _, _, *settings = arguments  # train --config FILE --run-dir DIR --set ...
    vmla("analyze", "memory", "--config", config, "--gpus", ranks, "--json", file, *settings)
    return json.loads(file.read_text())


def sent_by_step(ranks: int, arguments: list) -> dict[int, float]:
    done = run_ranks(ranks, arguments)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return {line["step"]: line["comm_bytes"] for line in metrics(arguments[4])}


@pytest.mark.parametrize(
    "ranks, section",
    [
        (2, {"distributed__sharding": "zero1"}),
        (4, {"distributed__sharding": "full", "train__recompute": "block"}),
        (2, {"distributed__sharding": "zero2", "train__batch_size": 8, "train__micro_batch_size": 1}),
        (4, {"distributed__sharding": "full", "distributed__sequence_parallel_size": 2}),
    ],
)
def test_a_step_of_teacher_forcing(ranks, section, dataset, dense_run, tmp_path):
    steps = {"train__steps": 3, "checkpoint__every": 0}
    arguments = train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run, **steps, **section)
    plan = planned(ranks, arguments, tmp_path)
    sent = sent_by_step(ranks, arguments)
    assert plan["cycle"] == {"steps": 1, "sent": pytest.approx(sent[3], abs=1e-6)}
    # The self-check before the first step has gathered the weights already.
    assert sent[1] <= sent[2] == sent[3] > 0


def test_a_cycle_of_dmd(dataset, dense_run, latent_run, tmp_path):
    section = {"distributed__sharding": "full", "train__recompute": "block", "train__steps": 10, "checkpoint__every": 0}
    arguments = train_arguments(
        "dmd", tmp_path / "run", dataset, latent_run, **distilled("dmd", dense_run), **section
    )
    plan = planned(2, arguments, tmp_path)
    sent = sent_by_step(2, arguments)
    generator, critic = (plan["updates"][player] for player in ("generator", "fake_score"))
    assert sent[6] == pytest.approx(generator["sent"]["bytes"] + critic["sent"]["bytes"], abs=1e-6)
    for step in (7, 8, 9, 10):
        assert sent[step] == pytest.approx(critic["sent_between"]["bytes"], abs=1e-6)
    assert plan["cycle"] == {"steps": 5, "sent": pytest.approx(sum(sent[step] for step in range(6, 11)), abs=1e-6)}
