"""What would fail hours later, or elsewhere, is said before the first step, and with its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from program import REPOSITORY, one_line_error, run, vmla
from tiny_stage import make_dataset, train, train_arguments


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("checks")
    data = make_dataset(folder, 4)
    return data, train("pretrain", folder / "run", data, train__steps=1)


@pytest.fixture(scope="module")
def dense(trained, tmp_path_factory) -> Path:
    """An export of the trained model, to be damaged in copies."""
    out = tmp_path_factory.mktemp("export") / "dense"
    vmla("export", "--checkpoint", trained[1], "--format", "wan", "--out", out, "--dtype", "fp32")
    return out


@pytest.mark.parametrize("flags", [[], ["--dry-run"]], ids=["train", "dry-run"])
def test_prompts_are_read_at_the_start(trained, tmp_path, flags):
    bad = tmp_path / "prompts.txt"
    bad.write_bytes(b"a red circle\na \xff circle\n")
    run_dir = tmp_path / "run"
    for prompts, part in ((tmp_path / "none.txt", "No such file"), (bad, "UTF-8"), (tmp_path, "a folder")):
        arguments = train_arguments("pretrain", run_dir, trained[0], sample__prompts=str(prompts), sample__every=100)
        one_line_error(run(*arguments, *flags), "sample.prompts", part)
    long = tmp_path / "long.txt"
    long.write_text("word " * 7 + "\n")
    arguments = train_arguments("pretrain", run_dir, trained[0], sample__prompts=str(long), model__text_len=5)
    assert run(*arguments, *flags).returncode == 2
    assert not run_dir.exists()


def test_a_run_folder_that_cannot_be_made_is_found_by_dry_run(trained, tmp_path):
    (tmp_path / "file").write_text("")
    one_line_error(run(*train_arguments("pretrain", tmp_path / "file" / "run", trained[0]), "--dry-run"), "file")


def test_bytes_that_are_no_text_do_not_reach_the_first_save(trained, tmp_path):
    config = tmp_path / "x.yaml"
    text = (REPOSITORY / "configs" / "tiny" / "pretrain.yaml").read_bytes()
    config.write_bytes(text + b"# caf\xe9\n")
    one_line_error(run("train", "--config", config, "--dry-run"), "x.yaml", "UTF-8")


def damaged(dense: Path, folder: Path, change) -> Path:
    copy = folder / "damaged"
    shutil.copytree(dense, copy)
    (file,) = copy.glob("*.safetensors")
    tensors = change(load_file(file))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return copy


def starts(weights: Path, trained, tmp_path: Path, *flags):
    arguments = train_arguments("pretrain", tmp_path / "out", trained[0], weights, train__steps=1)
    return run(*arguments, *flags)


def with_nan(tensors: dict) -> dict:
    tensors["blocks.1.ffn.0.weight"][3, 5] = float("nan")
    return tensors


def with_int8(tensors: dict) -> dict:
    return tensors | {"blocks.1.ffn.0.weight": tensors["blocks.1.ffn.0.weight"].to(torch.int8)}


@pytest.mark.parametrize("change, part", [(with_nan, "NaN"), (with_int8, "I8")], ids=["nan", "int8"])
def test_start_weights_are_blamed_by_name(trained, dense, tmp_path, change, part):
    weights = damaged(dense, tmp_path, change)
    for flags in ([], ["--dry-run"]):
        one_line_error(starts(weights, trained, tmp_path, *flags), "'blocks.1.ffn.0.weight'", part)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "generator.", "module.generator.model."])
def test_prefixes_of_wrappers_are_left_out_and_named(trained, dense, tmp_path, prefix):
    weights = damaged(dense, tmp_path, lambda tensors: {prefix + name: t for name, t in tensors.items()})
    done = starts(weights, trained, tmp_path)
    assert done.returncode == 0, done.stderr
    if prefix != "_orig_mod.":
        assert f"without the prefix '{prefix}'" in done.stdout + done.stderr


def two_networks(first: str, second: str):
    def change(tensors: dict) -> dict:
        return {f"{role}.{name}": t.clone() for role in (first, second) for name, t in tensors.items()}

    return change


def test_the_generator_of_a_file_is_taken(trained, dense, tmp_path):
    done = starts(damaged(dense, tmp_path, two_networks("critic", "generator")), trained, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "without the prefix 'generator.'; ignored: 'critic.' (" in done.stdout + done.stderr


def test_several_networks_without_a_role_are_named(trained, dense, tmp_path):
    weights = damaged(dense, tmp_path, two_networks("critic", "student"))
    one_line_error(starts(weights, trained, tmp_path), "several networks", "'critic.'", "'student.'")


def test_pipes_are_no_files(trained, tmp_path):
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    one_line_error(run("train", "--config", pipe, timeout=20), "pipe")
    one_line_error(starts(pipe, trained, tmp_path), "pipe")
    prompts = ["--checkpoint", trained[1], "--prompts", pipe, "--frames", "9", "--out", tmp_path / "o"]
    one_line_error(run("sample", *prompts, timeout=60), "pipe")


def test_an_output_that_is_a_file_is_named(trained, tmp_path):
    file = tmp_path / "taken"
    file.write_text("mine")
    for command in (
        ["sample", "--checkpoint", trained[1], "--prompt", "a", "--frames", "9", "--out", file],
        ["sample", "--checkpoint", trained[1], "--prompt", "a", "--frames", "9", "--out", file / "below"],
        ["export", "--checkpoint", trained[1], "--format", "wan", "--out", file],
        ["export", "--checkpoint", trained[1], "--format", "wan", "--out", file / "below"],
        ["data", "synth", "--out", file / "below", "--count", "1"],
    ):
        done = run(*command)
        assert done.returncode in (1, 2), command
        assert str(file) in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not re.search(r"filesystem error|basic_string|what\(\)|std::", done.stderr), done.stderr
    assert file.read_text() == "mine"


def sealed(manifest: Path, content: dict) -> None:
    content["manifest_sha256"] = "0" * 64
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text(text.replace("0" * 64, digest, 1))


@pytest.mark.parametrize("key, value", [("num_layers", 10**9), ("dim", 2**62), ("text_len", 1e300), ("num_layers", -1)])
def test_sizes_of_a_manifest_are_checked_before_anything_is_built(trained, tmp_path, key, value):
    copy = tmp_path / "run"
    shutil.copytree(trained[1], copy, symlinks=True)
    (manifest,) = copy.glob("checkpoints/step_*/manifest.json")
    content = json.loads(manifest.read_text())
    content["model"][key] = value
    sealed(manifest, content)
    sample = ["--checkpoint", copy, "--prompt", "a", "--frames", "9", "--out", tmp_path / "o"]
    one_line_error(run("sample", *sample, timeout=60), "manifest.json", key)
    one_line_error(run(*train_arguments("pretrain", copy, trained[0], train__steps=2), timeout=60), "manifest.json", key)


def test_a_mistyped_dataset_is_not_made(tmp_path):
    config = REPOSITORY / "configs" / "tiny" / "footage.yaml"
    path = tmp_path / "trian.h5"
    arguments = ["--config", config, "--run-dir", tmp_path / "run", "--set", f"data.path={path}"]
    one_line_error(run("train", *arguments), "data.path", "trian.h5 does not exist")
    one_line_error(run("train", *arguments, "--dry-run"), "data.path", "trian.h5 does not exist")
    assert list(tmp_path.iterdir()) == []
    nothing = ["--set", "data.make={}", "--set", "data.make_validation={}"]
    assert "is missing" in one_line_error(run("train", *arguments, *nothing), "data.path")


def test_a_large_stage_is_told_how_it_fits(tmp_path):
    config = REPOSITORY / "configs" / "wan14b" / "teacher_forcing.yaml"
    plan = ["analyze", "memory", "--config", config, "--gpus", "8", "--gpu-memory", "80"]
    bare = ["--set", "distributed={}"]
    assert "\nfits on 8 GPUs of 80" in vmla(*plan).stdout, "the file carries what fits"
    told = vmla(*plan, *bare).stdout
    assert "does not fit on 8 GPUs of 80" in told
    settings = re.findall(r"^  --set (.+)$", told, re.MULTILINE)
    assert settings
    flags = [word for setting in settings for word in ("--set", setting)]
    assert "\nfits on 8 GPUs of 80" in vmla(*plan, *bare, *flags).stdout


@pytest.mark.parametrize(
    "channels, pairs, without",
    [(4, [], "rows and columns"), (4, [6, 11], "time"), (6, [], None), (4, [[0, 6], [6, 11], [0, 11]], None)],
)
def test_an_axis_without_a_rotary_pair_is_said(trained, tmp_path, channels, pairs, without):
    sizes = {"qk_rope_head_dim": channels, "qk_nope_head_dim": 32 - channels, "rope_pair_indices": pairs}
    changed = {f"model__{key}": value for key, value in sizes.items()}
    done = run(*train_arguments("teacher_forcing", tmp_path / "run", trained[0], trained[1], **changed), "--dry-run")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "no rotary pair" in line]
    assert len(said) == (0 if without is None else 1)
    assert without is None or f"is one of {without}," in said[0]
