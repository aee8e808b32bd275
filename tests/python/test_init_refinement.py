"""`init.refine_steps`: what alternating least squares make of a method's factors, against numpy."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from program import run, vmla
from reference.weights import read_export_folder
from tiny_stage import CONFIGS, train

CONFIG = CONFIGS / "teacher_forcing.yaml"


def init(weights, out, method, steps, *more):
    vmla("init", "--weights", weights, "--config", CONFIG, "--set", f"init.method={method}",
         "--set", f"init.refine_steps={steps}", "--out", out, *more)  # fmt: skip
    layers = json.loads((out / "init_report.json").read_text())["layers"]
    config, tensors = read_export_folder(out)
    return config, {name: tensor.double().numpy() for name, tensor in tensors.items()}, layers


def composed(config, tensors, layer, report) -> np.ndarray:
    """What the factors give, rows ordered as content keys of all heads, then values, without scale constants."""
    name = f"blocks.{layer}.self_attn"
    up = tensors[f"{name}.kv_b_proj.weight"].reshape(config.num_heads, -1, config.kv_lora_rank)
    down = tensors[f"{name}.kv_a_proj_with_mqa.weight"][: config.kv_lora_rank]
    nope = config.qk_nope_head_dim
    keys = up[:, :nope].reshape(-1, config.kv_lora_rank) / report["key_scale"]
    values = up[:, nope:].reshape(-1, config.kv_lora_rank) / report["value_scale"]
    return np.concatenate([keys, values]) @ down


@pytest.fixture(scope="module")
def best(dense_run, tmp_path_factory):
    """The joint SVD, which no map of the rank comes closer than."""
    config, tensors, layers = init(dense_run, tmp_path_factory.mktemp("best") / "out", "svd_weight", 0)
    return [composed(config, tensors, i, layer) for i, layer in enumerate(layers)]


def test_a_split_start_comes_to_the_joint_optimum(dense_run, tmp_path, best):
    missed = {}
    for steps in (0, 1, 5, 400):
        config, tensors, layers = init(dense_run, tmp_path / str(steps), "svd_split", steps)
        assert ("refined_to" in layers[0]) == (steps > 0)
        missed[steps] = [layer["kv_error"] for layer in layers]
        if steps:
            assert all(layer["refined_to"] < layer["refined_from"] for layer in layers)
    for i, optimal in enumerate(layer["kv_optimal_error"] for layer in
                                init(dense_run, tmp_path / "svd", "svd_weight", 0)[2]):  # fmt: skip
        assert missed[0][i] > missed[1][i] > missed[5][i] > missed[400][i] >= optimal * (1 - 1e-6)
        assert missed[400][i] == pytest.approx(optimal, rel=1e-4)
        made = composed(config, tensors, i, layers[i])
        # Near the optimum the objective is flat: a map that misses by 1 + 1e-4 of the least error may lie 1e-2 of it
        # away from the best one.
        assert np.linalg.norm(made - best[i]) < 0.05 * optimal + 1e-5 * np.linalg.norm(best[i])


@pytest.mark.parametrize("method", ["svd_weight", "care", "transmla", "care_complex"])
def test_an_optimum_stays_as_it_is(method, dense_run, dataset, tmp_path):
    more = ["--data", dataset, "--set", "init.calibration_clips=4"] if method != "svd_weight" else []
    config, before, plain = init(dense_run, tmp_path / "plain", method, 0, *more)
    _, after, refined = init(dense_run, tmp_path / "refined", method, 10, *more)
    for layer in range(config.num_layers):
        assert refined[layer]["refined_to"] <= refined[layer]["refined_from"]
        assert refined[layer]["refined_to"] == pytest.approx(refined[layer]["refined_from"], rel=1e-7)
        one, two = composed(config, before, layer, plain[layer]), composed(config, after, layer, refined[layer])
        np.testing.assert_allclose(two, one, atol=1e-5 * np.abs(one).max())


def test_scores_say_before_and_after(dense_run, tmp_path):
    done = vmla("analyze", "init", "--weights", dense_run, "--config", CONFIG, "--set", "init.refine_steps=8",
                "--out", tmp_path / "scores")  # fmt: skip
    assert "refined:" in done.stdout
    with open(tmp_path / "scores" / "init_scores.csv", newline="", encoding="utf-8") as file:
        rows = {(row["method"], row["layer"]): row for row in csv.DictReader(file)}
    for layer in "012":
        split, svd = rows["svd_split", layer], rows["svd_weight", layer]
        assert float(split["refined_to"]) < float(split["refined_from"])
        # Of the weights as they are, the figure that every method is given is then nearly the joint SVD's.
        assert float(split["refined_to"]) < 1.02 * float(svd["refined_to"])
        assert rows["random", layer]["refined_to"] == ""
    plain = vmla("analyze", "init", "--weights", dense_run, "--config", CONFIG, "--out", tmp_path / "plain")
    assert "refined:" not in plain.stdout


def test_training_starts_from_refined_weights(dense_run, dataset, tmp_path):
    folder = train("teacher_forcing", tmp_path / "run", dataset, dense_run, init__method="svd_split",
                   init__refine_steps=5, train__steps=1)  # fmt: skip
    layers = json.loads((folder / "init_report.json").read_text())["layers"]
    _, _, expected = init(dense_run, tmp_path / "init", "svd_split", 5)
    for made, same in zip(layers, expected, strict=True):
        assert made["refined_to"] == pytest.approx(same["refined_to"], rel=1e-6)


@pytest.mark.parametrize("settings, says", [
    (["init.method=random", "init.refine_steps=3"], "init.refine_steps: 3 steps, but init.method random"),
    (["init.method=svd_weight", "init.refine_steps=-1"], "init.refine_steps"),
])  # fmt: skip
def test_what_cannot_be_refined(settings, says, dense_run, tmp_path):
    words = [word for setting in settings for word in ("--set", setting)]
    done = run("init", "--weights", dense_run, "--config", CONFIG, *words, "--out", tmp_path / "out")
    assert done.returncode == 2 and says in done.stderr and not (tmp_path / "out").exists(), done.stderr
