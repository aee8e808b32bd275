"""What a dense stage's rank log says of [W_K; W_V], against numpy and `vmla analyze spectrum`."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
from program import run, vmla
from ranks import train_on_ranks
from reference.rank import entropy_rank, r99, stable_rank
from reference.weights import read_export_folder
from tiny_stage import last_checkpoint, train, train_arguments

WATCHED = {"rank__every": 2, "rank__energy_at": [4, 8]}
LAYERS, WIDTH = 3, 64


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory, dataset):
    return train("pretrain", tmp_path_factory.mktemp("watched") / "run", dataset, **WATCHED)


def log_of(path) -> dict:
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def energy(values: np.ndarray, rank: int) -> float:
    return float((values[:rank] ** 2).sum() / (values**2).sum())


def joint(checkpoint, folder) -> list[np.ndarray]:
    vmla("export", "--checkpoint", checkpoint, "--weights", "raw", "--format", "videomla", "--dtype", "fp32",
         "--out", folder)  # fmt: skip
    _, weights = read_export_folder(folder)
    return [
        np.concatenate([weights[f"blocks.{i}.self_attn.{name}.weight"].double().numpy() for name in "kv"])
        for i in range(LAYERS)
    ]


def test_ranks_are_those_of_the_stacked_weights(watched_run, tmp_path):
    log = log_of(watched_run / "rank.h5")
    assert log["steps"].tolist() == [0, 2, 4, 6] and log["rank"].tolist() == [WIDTH] * LAYERS
    assert log["energy_ranks"].tolist() == [4, 8] and log["energy_at"].shape == (4, LAYERS, 2)
    assert "null_spectrum" not in log and "truncated_spectrum" not in log  # those belong to latents
    for layer, matrix in enumerate(joint(last_checkpoint(watched_run), tmp_path / "export")):
        values = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(log["spectrum"][3, layer], values, atol=1e-8 * values[0])
        assert log["entropy_rank"][3, layer] == pytest.approx(entropy_rank(values), rel=1e-9)
        assert log["stable_rank"][3, layer] == pytest.approx(stable_rank(values), rel=1e-9)
        assert log["r99"][3, layer] == r99(values)
        found = [energy(values, 4), energy(values, 8)]
        np.testing.assert_allclose(log["energy_at"][3, layer], found, rtol=1e-9)
    # Training moves it.
    assert not np.allclose(log["entropy_rank"][0], log["entropy_rank"][3], rtol=1e-6)


def test_the_summary_says_the_last_ones_beside_nulls(watched_run):
    log = log_of(watched_run / "rank.h5")
    summary = json.loads((watched_run / "summary.json").read_text())["rank"]
    for name in ("entropy_rank", "r99", "r99_fractional", "stable_rank"):
        assert summary[name] == pytest.approx(log[name][3].tolist())
        for null in ("shuffled", "gaussian"):
            assert summary[f"{null}_{name}"] == pytest.approx(log[f"{null}_{name}"].tolist())
    for place, rank in enumerate((4, 8)):
        assert summary[f"energy_at_{rank}"] == pytest.approx(log["energy_at"][3, :, place].tolist())
        assert summary[f"gaussian_energy_at_{rank}"] == pytest.approx(log["gaussian_energy_at"][:, place].tolist())
    assert summary["full_rank"] == [WIDTH] * LAYERS and "kv_lora_rank" not in summary
    assert log["shuffled_step"].tolist() == [6]  # nulls are the last weights'


def test_it_is_what_analyze_spectrum_says(watched_run, tmp_path):
    vmla("analyze", "spectrum", "--weights", last_checkpoint(watched_run), "--out", tmp_path / "spectrum")
    log = log_of(watched_run / "rank.h5")
    with h5py.File(tmp_path / "spectrum" / "spectrum.h5") as file:
        np.testing.assert_array_equal(file["kv/spectrum"][:], log["spectrum"][3])
        np.testing.assert_array_equal(file["kv/shuffled_spectrum"][:], log["shuffled_spectrum"])
        np.testing.assert_allclose(file["kv/energy_at"][:, [3, 7]], log["energy_at"][3], rtol=1e-12)
    with open(tmp_path / "spectrum" / "spectrum.csv", encoding="utf-8") as text:
        rows = [row for row in csv.DictReader(text) if row["weights"] == "kv"]
    for layer, row in enumerate(rows):
        assert float(row["shuffled_entropy_rank"]) == pytest.approx(log["shuffled_entropy_rank"][layer], rel=1e-8)


def test_pages_show_the_curves(watched_run):
    report = (watched_run / "report.html").read_text(encoding="utf-8")
    for words in ("[W_K; W_V]", "Gaussian, rows as long", "entries permuted", "Energy in the first 8 singular values"):
        assert words in report, words
    assert "budget d<sub>c</sub>" not in report and "random product" not in report


def test_a_run_that_goes_on_says_the_same(watched_run, dataset, tmp_path):
    again = tmp_path / "run"
    steady = WATCHED | {"optimizer__lr_schedule": "constant"}
    whole = train("pretrain", tmp_path / "whole", dataset, **steady)
    train("pretrain", again, dataset, **(steady | {"train__steps": 4}))
    train("pretrain", again, dataset, **steady)
    one, two = log_of(whole / "rank.h5"), log_of(again / "rank.h5")
    assert set(one) == set(two)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def test_ranks_that_share_the_weights_say_the_same(watched_run, dataset, tmp_path):
    shared = train_on_ranks(2, "pretrain", tmp_path / "run", dataset, distributed__sharding="full",
                            train__micro_batch_size=2, **WATCHED)  # fmt: skip
    one, two = log_of(watched_run / "rank.h5"), log_of(shared / "rank.h5")
    assert set(one) == set(two)
    # Six steps of gradients that are summed in another order, in fp32: entries of the weights move by 1e-6 of a step's
    # size, and singular values by no more than the weights.
    for name in ("spectrum", "shuffled_spectrum", "gaussian_spectrum", "entropy_rank", "energy_at"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_measuring_does_not_disturb(watched_run, dense_run):
    for file in last_checkpoint(dense_run).glob("*.safetensors"):
        assert file.read_bytes() == (last_checkpoint(watched_run) / file.name).read_bytes()


def test_an_eighth_of_the_width_by_default(dataset, tmp_path):
    out = train("pretrain", tmp_path / "run", dataset, rank__every=2, train__steps=2)
    assert log_of(out / "rank.h5")["energy_ranks"].tolist() == [WIDTH // 8]


@pytest.mark.parametrize("ranks", [[0], [65], [8, 8], [8, 4]])
def test_what_does_not_fit(ranks, dataset, tmp_path):
    arguments = train_arguments("pretrain", tmp_path / "run", dataset, rank__every=2, rank__energy_at=ranks)
    done = run(*arguments, "--dry-run")
    assert done.returncode == 2 and "rank.energy_at: " in done.stderr and "ascending" in done.stderr and done.stderr.count("\n") == 1, done.stderr
