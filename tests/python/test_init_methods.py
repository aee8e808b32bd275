"""The init methods beside `svd_weight`: their operators from the dense weights in fp64, and what calibration brings."""

import csv
import json

import pytest
import torch

from parity import deviation
from program import model_section, run, vmla, write_yaml
from reference.model_config import ModelConfig, latent_config
from reference.svd_weight import dense_operators, fitted_scale, latent_operators, truncate
from reference.weights import random_weights, read_export_folder, write_wan_folder
from tiny_stage import CONFIGS, train

DENSE = ModelConfig()
# The factors are stored in fp32: an entry of the product carries about 1e-7 of its row's size.
STORED = 1e-5
CALIBRATED = ("transmla", "care", "care_complex")
WEIGHTS_ALONE = ("random", "svd_weight", "svd_split", "svd_full_mean_rope")


def convert(folder, method, latent, weights):
    source = write_wan_folder(folder / "wan", DENSE, weights)
    section = model_section(latent)
    del section["rope_pair_indices"]
    file = write_yaml(folder / "init.yaml", {"model": section, "init": {"method": method}})
    vmla("init", "--weights", source, "--config", file, "--out", folder / "export")
    return read_export_folder(folder / "export")[1]


def operators_of_layers(folder, method, latent, seed):
    """Of each layer, what the dense weights compute and what `method` made of it."""
    weights = random_weights(DENSE, seed=seed)
    converted = convert(folder, method, latent, weights)
    for layer in range(DENSE.num_layers):
        dense = dense_operators(weights, DENSE, layer, latent.rope_pair_indices)
        yield dense, latent_operators(converted, latent, layer)


def expect_same_up_to_scale(actual, target):
    scale = fitted_scale(actual, target)
    assert scale > 0 and deviation(actual / scale, target) <= STORED


def test_split_latents(tmp_path):
    """Keys and values are the best of half the rank each."""
    latent = latent_config(DENSE, kv_rank=25, q_rank=40, nope=8, rope=8, value=16)
    for dense, made in operators_of_layers(tmp_path, "svd_split", latent, seed=81):
        keys = dense.key[:, dense.content_channels].flatten(0, 1)
        expect_same_up_to_scale(made.key.flatten(0, 1), truncate(keys, 12))
        expect_same_up_to_scale(made.value.flatten(0, 1), truncate(dense.value.flatten(0, 1), 13))


def test_full_stack_and_mean_key(tmp_path):
    """The SVD covers the rotary rows; the shared key is the heads' mean, the queries stay as they are."""
    latent = latent_config(DENSE, kv_rank=24, q_rank=64, nope=8, rope=8, value=16)
    for dense, made in operators_of_layers(tmp_path, "svd_full_mean_rope", latent, seed=82):
        stack = torch.cat([dense.key.flatten(0, 1), dense.value.flatten(0, 1)])
        best = truncate(stack, 24).view(2, DENSE.num_heads, DENSE.head_dim, -1)
        expect_same_up_to_scale(made.key, best[0][:, dense.content_channels])
        expect_same_up_to_scale(made.value, best[1])
        expect_same_up_to_scale(made.key_rope, dense.key[:, dense.rope_channels].mean(0))
        expect_same_up_to_scale(made.query_rope, dense.query[:, dense.rope_channels])


@pytest.mark.parametrize("method", CALIBRATED)
def test_calibration_needs_clips(method, tmp_path, dense_run):
    done = run("init", "--weights", dense_run, "--config", CONFIGS / "teacher_forcing.yaml",
               "--set", f"init.method={method}", "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1 and method in errors[0] and "--data" in errors[0]


def test_whitened_errs_least_on_what_it_saw(tmp_path, dataset, dense_run):
    errors = {}
    for method in CALIBRATED:
        out = tmp_path / method
        vmla("init", "--weights", dense_run, "--config", CONFIGS / "teacher_forcing.yaml", "--data", dataset,
             "--set", f"init.method={method}", "--set", "init.calibration_clips=4", "--out", out)  # fmt: skip
        layers = json.loads((out / "init_report.json").read_text())["layers"]
        errors[method] = [layer["kv_activation_error"] for layer in layers]
        assert all(0 < error < 1 for error in errors[method])
    for care, *others in zip(*(errors[m] for m in ("care", "transmla", "care_complex")), strict=True):
        assert all(care <= other for other in others)


def scores(folder):
    with open(folder / "init_scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["layer"] for row in rows}) == 4  # three layers, and all of them
    return {(row["method"], row["layer"]): row for row in rows}


def test_scores_of_weights_alone(tmp_path, dense_run):
    out = tmp_path / "scores"
    done = vmla("analyze", "init", "--weights", dense_run, "--config", CONFIGS / "teacher_forcing.yaml", "--out", out)
    found = scores(out)
    assert {method for method, _ in found} == set(WEIGHTS_ALONE)
    assert all(method in done.stdout for method in WEIGHTS_ALONE)
    for layer in "012":
        error = {method: float(found[method, layer]["weight_error"]) for method in WEIGHTS_ALONE}
        assert error["svd_weight"] <= error["svd_split"] * (1 + 1e-6)
        assert error["svd_weight"] <= error["svd_full_mean_rope"] * (1 + 1e-6) < error["random"]
        assert float(found["svd_weight", layer]["rope_energy_kept"]) >= float(
            found["svd_full_mean_rope", layer]["rope_energy_kept"]
        )
        assert found["svd_weight", layer]["output_error"] == ""


def test_scores_on_held_out_clips(tmp_path, dataset, dense_run):
    out = tmp_path / "scores"
    vmla("analyze", "init", "--weights", dense_run, "--config", CONFIGS / "teacher_forcing.yaml", "--data", dataset,
         "--held-out", dataset, "--held-out-clips", 3, "--set", "init.calibration_clips=6", "--out", out)  # fmt: skip
    found = scores(out)
    assert {method for method, _ in found} == {*WEIGHTS_ALONE, *CALIBRATED}
    report = json.loads((out / "init_scores.json").read_text())
    assert report["dense_loss"] > 0
    for row in report["methods"]:
        assert row["first_loss"] > 0 and row["velocity_error"] > 0
        assert all(0 < layer["output_error"] < 10 for layer in row["layers"])
        random = row["method"] == "random"
        assert all((layer["rope_energy_kept"] is None) == random for layer in row["layers"])
    total = {m: float(found[m, "all"]["key_error"]) + float(found[m, "all"]["value_error"]) for m, _ in found}
    assert total["care"] < total["svd_weight"] < total["random"]


def test_training_starts_from_a_calibrated_method(tmp_path, dataset, dense_run):
    folder = train("teacher_forcing", tmp_path / "run", dataset, dense_run, init__method="care_complex",
                   init__calibration_clips=3)  # fmt: skip
    report = json.loads((folder / "init_report.json").read_text())
    assert report["method"] == "care_complex"
    assert all(layer["kv_activation_error"] > 0 for layer in report["layers"])


def test_rank_one_is_warned_of(tmp_path, dense_run):
    done = vmla("init", "--weights", dense_run, "--config", CONFIGS / "teacher_forcing.yaml",
                "--set", "model.kv_lora_rank=1", "--set", "init.method=svd_weight", "--out", tmp_path / "out")  # fmt: skip
    assert sum("kv_lora_rank is 1" in line for line in (done.stdout + done.stderr).splitlines()) == 1
