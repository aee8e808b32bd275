"""The mosaic from the command line: how clips of it are made and recorded, and what a stage measures on them."""

from __future__ import annotations

import json
import math

import h5py
import pytest
from program import REPOSITORY, overrides, run, vmla
from tiny_stage import SHORT

LAB = REPOSITORY / "configs" / "lab"
MOSAIC = {
    "scene": "mosaic", "cells": 8, "channels": "rgb", "levels": 2, "amplitude": 0.2, "level": -0.45,
    "hidden_first": 0, "hidden_frames": 0,
}  # fmt: skip


def settings(folder, **changed):
    """A lab stage of a few steps on a few clips."""
    data = {}
    for part, path, count in (("make", "path", 24), ("make_validation", "validation_path", 12)):
        data[f"data.{path}"] = str(folder / f"{part}.h5")
        data[f"data.{part}.videos"] = str(folder / part)
        data[f"data.{part}.synth_count"] = count
    fast = SHORT | {"validation.every": 6, "sample.measure_clips": 3, "sample.guidance_scale": 1.0}
    return overrides(fast | data | {key.replace("__", "."): value for key, value in changed.items()})


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """The first two stages of the laboratory, cut down; the second in one folder for each scene."""
    folder = tmp_path_factory.mktemp("lab")
    vmla("train", "--config", LAB / "pretrain.yaml", "--run-dir", folder / "pretrain", *settings(folder))
    vmla(
        "train", "--config", LAB / "teacher_forcing.yaml", "--run-dir", folder / "tf",
        *settings(folder, init_from__generator=str(folder / "pretrain"), sample__also_few_step=[1000, 500],
                  sample__long_frames=18, sample__long_clips=2),
    )  # fmt: skip
    return folder


def test_a_dataset_records_its_scene_and_another_one_is_refused(stages):
    for part in ("make", "make_validation"):
        with h5py.File(stages / f"{part}.h5") as file:
            assert json.loads(file.attrs["scene"]) == MOSAIC
    again = ["train", "--config", LAB / "pretrain.yaml", "--run-dir", stages / "other"]
    done = run(*again, *settings(stages, data__make__mosaic__channels="gray"))
    assert done.returncode == 2 and "make.mosaic" in done.stderr and "gray" in done.stderr
    done = run(*again, *settings(stages, data__make__mosaic__cells=5))
    assert done.returncode == 2 and "data.make.mosaic.cells" in done.stderr
    done = run(*again, *settings(stages, data__make__scene="street"))
    assert done.returncode == 2 and "data.make.scene" in done.stderr


def test_the_command_makes_the_clips_that_a_configuration_makes(stages, tmp_path):
    vmla("data", "synth", "--out", tmp_path / "v", "--count", 24, "--seed", 1, "--scene", "mosaic")
    ours, theirs = (folder / "moving_shapes.json" for folder in (tmp_path / "v", stages / "make"))
    assert ours.read_text() == theirs.read_text()
    vmla("data", "encode", "--videos", tmp_path / "v", "--out", tmp_path / "v.h5")
    with h5py.File(tmp_path / "v.h5") as a, h5py.File(stages / "make.h5") as b:
        assert a.attrs["scene"] == b.attrs["scene"]
        assert (a["latents"][:] == b["latents"][:]).all()
    done = run("data", "synth", "--out", tmp_path / "w", "--count", 1, "--scene", "mosaic", "--level", 0.5)
    assert done.returncode == 2 and "level is 0.5" in done.stderr


def test_a_stage_measures_what_its_samples_keep_of_the_ground(stages):
    summary = json.loads((stages / "tf" / "summary.json").read_text())
    sections = [summary, summary["few_step"], summary["without_cache"], summary["long_rollout"]]
    for section in sections:
        mosaic = section["mosaic"]
        assert all(math.isfinite(value) for value in mosaic.values())
        assert {"keep", "keep_se", "keep_shuffled", "contrast", "contrast_se", "energy", "energy_se"} <= mosaic.keys()
        assert mosaic["energy"] > 3 * mosaic["energy_se"], "six steps make no real clip"
    assert "energy_last" in summary["long_rollout"]["mosaic"] and "energy_last" not in summary["mosaic"]
    page = (stages / "tf" / "report.html").read_text()
    assert "The ground that no caption names" in page and "cache zeroed" in page
    compared = vmla("compare", stages / "tf", stages / "tf").stdout
    assert "mosaic.keep" in compared and "mosaic.energy" in compared


def test_the_same_shapes_stand_before_the_ground(tmp_path):
    for scene in ("shapes", "mosaic"):
        vmla("data", "synth", "--out", tmp_path / scene, "--count", 3, "--scene", scene)
    captions = [(tmp_path / scene / "captions.csv").read_text() for scene in ("shapes", "mosaic")]
    assert captions[0] == captions[1]
    assert "scene" not in json.loads((tmp_path / "shapes" / "moving_shapes.json").read_text())
