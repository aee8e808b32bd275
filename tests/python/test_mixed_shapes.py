"""A dataset whose files hold clips of several shapes: every batch is of one shape, on any number of ranks."""

from __future__ import annotations

import shutil

import pytest
from program import one_line_error, run, vmla
from ranks import train_on_ranks
from safetensors.torch import load_file
from tiny_stage import last_checkpoint, metrics, train, train_arguments

FRAMES, WIDE = 9, 24


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Twelve clips of 16x16 and six of 16x24, in two files of one folder."""
    folder = tmp_path_factory.mktemp("mixed")
    dataset = folder / "dataset"
    dataset.mkdir()
    for name, count, width in (("square", 12, 16), ("wide", 6, WIDE)):
        videos = folder / name
        vmla("data", "synth", "--out", videos, "--count", count)
        vmla("data", "encode", "--videos", videos, "--out", dataset / f"{name}.h5", "--width", width)
    return dataset


def settings(dataset):
    return {"data__validation_path": str(dataset / "square.h5"), "train__steps": 9, "optimizer__schedule_steps": 9}


def weights(run_dir):
    return load_file(last_checkpoint(run_dir) / "generator.safetensors")


def tokens(run_dir):
    """Of a clip of each step."""
    return [round(line["tokens_per_second"] * line["time_step"] / 4) for line in metrics(run_dir)]


def test_batches_of_both_shapes_are_trained_on_and_a_resumed_run_goes_on_with_them(mixed, tmp_path):
    whole = train("pretrain", tmp_path / "whole", mixed, **settings(mixed))
    square, wide = FRAMES * 4 * 4, FRAMES * 4 * WIDE // 4
    assert sorted(tokens(whole)) == 6 * [square] + 3 * [wide]
    parts = tmp_path / "parts"
    train("pretrain", parts, mixed, **settings(mixed) | {"train__steps": 5})
    train("pretrain", parts, mixed, **settings(mixed))
    assert tokens(parts) == tokens(whole)
    for name, tensor in weights(whole).items():
        assert tensor.equal(weights(parts)[name]), name
    shared = train_on_ranks(2, "pretrain", tmp_path / "ranks", mixed, **settings(mixed) | {"train__micro_batch_size": 2})
    assert tokens(shared) == tokens(whole)
    for one, two in zip(metrics(whole), metrics(shared), strict=True):
        # Sums over a batch in another order, fp32.
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)


def test_inspect_and_the_plan_know_all_shapes(mixed, tmp_path):
    told = vmla("data", "inspect", mixed, "--sheet", tmp_path / "sheet.png").stdout
    assert "[12, 9, 12, 8, 8]" in told and "[6, 9, 12, 8, 12]" in told
    arguments = train_arguments("pretrain", tmp_path / "run", mixed, **settings(mixed))
    mixed_plan = vmla(*arguments, "--dry-run").stdout
    alone = train_arguments("pretrain", tmp_path / "run", mixed / "wide.h5", **settings(mixed))
    alone += ["--set", f"data.validation_path={mixed / 'wide.h5'}"]
    assert mixed_plan == vmla(*alone, "--dry-run").stdout, "planned for the largest clips"


def test_validation_clips_must_have_the_most_frequent_shape(mixed, tmp_path):
    arguments = train_arguments("pretrain", tmp_path / "run", mixed, **settings(mixed))
    for held_out, words in ((mixed / "wide.h5", "another shape than most of"), (mixed, "clips of 2 shapes")):
        one_line_error(run(*arguments, "--set", f"data.validation_path={held_out}"), "data.validation_path", words)


def test_files_must_agree_in_what_is_no_size(mixed, tmp_path):
    other = tmp_path / "dataset"
    shutil.copytree(mixed, other)
    videos = tmp_path / "videos"
    vmla("data", "synth", "--out", videos, "--count", 2)
    vmla("data", "encode", "--videos", videos, "--out", other / "other.h5", "--codec", "space_to_depth:4")
    one_line_error(run("data", "inspect", other), "square.h5", "latent channels")
