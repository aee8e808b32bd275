"""What a run's rank log says of latents and subspaces, against numpy and the plain PyTorch network."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
import torch
from program import run, vmla
from reference import network
from reference.rank import entropy_rank, r99
from reference.weights import read_export_folder, to_double
from tiny_stage import last_checkpoint, train, train_arguments

CLIPS = 3
WATCHED = {"rank__every": 1, "rank__activation_clips": CLIPS, "rank__activation_every": 1, "ema__decay": 0,
           "optimizer__lr_schedule": "constant"}  # fmt: skip


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory, dataset, dense_run):
    return train("teacher_forcing", tmp_path_factory.mktemp("watched") / "run", dataset, dense_run, **WATCHED)


def log_of(path) -> dict:
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def weights_of(checkpoint, folder):
    vmla("export", "--checkpoint", checkpoint, "--weights", "raw", "--format", "videomla", "--dtype", "fp32",
         "--out", folder)  # fmt: skip
    config, weights = read_export_folder(folder)
    return config, to_double(weights)


def latents_of(config, weights, dataset, monkeypatch) -> list[np.ndarray]:
    """Each layer's latents [tokens, R] over the first clips, by the reference network: clean, at timestep 0."""
    found: dict[str, list] = {}
    real = network.keys_of

    def keys_of(w, c, name, content, rotary):
        found.setdefault(name, []).append(content.reshape(-1, content.shape[-1]))
        return real(w, c, name, content, rotary)

    monkeypatch.setattr(network, "keys_of", keys_of)
    with h5py.File(dataset) as file, torch.no_grad():
        for i in range(CLIPS):
            clip = torch.from_numpy(file["latents"][i]).view(torch.bfloat16).double()[None]
            begin, end = file["text/offsets"][i : i + 2]
            text = torch.from_numpy(file["text/embeddings"][begin:end]).double()[None]
            network.chunk_causal(weights, config, clip, torch.zeros(1, clip.shape[1], dtype=torch.double), text)
    return [torch.cat(found[f"blocks.{layer}.self_attn"]).numpy() for layer in range(config.num_layers)]


def test_latents_are_those_of_the_reference_network(watched_run, dataset, tmp_path, monkeypatch):
    log = log_of(watched_run / "rank.h5")
    assert log["steps"].tolist() == list(range(7))
    config, weights = weights_of(watched_run, tmp_path / "export")
    for layer, latents in enumerate(latents_of(config, weights, dataset, monkeypatch)):
        up = weights[f"blocks.{layer}.self_attn.kv_b_proj.weight"].numpy()
        for name, rows in (("latent", latents), ("content", latents @ up.T)):
            spread = np.linalg.svd((rows - rows.mean(0)) / len(rows) ** 0.5, compute_uv=False)[:24]
            # The program's network computes in fp32: its latents agree to 1e-4 of their size.
            np.testing.assert_allclose(log[f"{name}_spectrum"][6, layer], spread, atol=2e-4 * spread[0])
            assert log[f"{name}_entropy_rank"][6, layer] == pytest.approx(entropy_rank(spread), rel=1e-3)
            assert abs(log[f"{name}_r99"][6, layer] - r99(spread)) <= 1


def rows_of(weights, layer, rank=24):
    return weights[f"blocks.{layer}.self_attn.kv_a_proj_with_mqa.weight"].double().numpy()[:rank]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.svd(np.linalg.qr(a.T)[0].T @ np.linalg.qr(b.T)[0], compute_uv=False)


def test_angles_to_the_start(watched_run, tmp_path):
    log = log_of(watched_run / "rank.h5")
    np.testing.assert_allclose(log["subspace_cosines"][0], 1, atol=1e-6)
    overlap = log["subspace_overlap"].mean(1)
    # Training turns it, and a few steps leave it far from a random subspace's share, R / D.
    assert (np.diff(overlap) < 0).all() and overlap[6] > 2 * log["isotropic_overlap"][0] == 2 * 24 / 64
    _, early = weights_of(watched_run / "checkpoints" / "step_3", tmp_path / "early")
    _, late = weights_of(watched_run / "checkpoints" / "step_6", tmp_path / "late")
    vmla("analyze", "rank", "--checkpoint", watched_run / "checkpoints" / "step_6", "--start",
         watched_run / "checkpoints" / "step_3", "--out", tmp_path / "rank")  # fmt: skip
    found = log_of(tmp_path / "rank" / "rank.h5")
    for layer in range(3):
        expected = cosines(rows_of(late, layer), rows_of(early, layer))
        # The Gram route errs by 1e-8 / cosine; angles near 0 are cosines near 1.
        np.testing.assert_allclose(found["subspace_cosines"][0, layer], expected, atol=1e-7)


def test_nulls_in_the_log_and_in_what_shows_it(watched_run):
    log = log_of(watched_run / "rank.h5")
    # An SVD start is a truncated SVD: its null has more entropy than the random product's.
    assert (log["truncated_entropy_rank"] > log["null_entropy_rank"] + 1).all()
    assert log["shuffled_step"].tolist() == [0] and log["shuffled_spectrum"].shape == (3, 24)
    summary = json.loads((watched_run / "summary.json").read_text())["rank"]
    for name in ("truncated_entropy_rank", "shuffled_r99_fractional", "latent_entropy_rank", "content_entropy_rank"):
        assert len(summary[name]) == 3
    assert summary["subspace_overlap"] == pytest.approx(log["subspace_overlap"][6].tolist())
    report = (watched_run / "report.html").read_text(encoding="utf-8")
    assert report.index("Entropy rank") < report.index("99 %-energy rank<")
    for words in ("truncated SVD of noise", "random product", "latents of real clips", "random subspace"):
        assert words in report


def test_a_run_that_goes_on_knows_where_it_began(watched_run, dataset, dense_run, tmp_path):
    again = tmp_path / "run"
    train("teacher_forcing", again, dataset, dense_run, **(WATCHED | {"train__steps": 3}))
    train("teacher_forcing", again, dataset, dense_run, **WATCHED)
    whole, parts = log_of(watched_run / "rank.h5"), log_of(again / "rank.h5")
    assert set(whole) == set(parts)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)
    # Without the file of the start nothing is said of the steps that follow, and the rest is measured.
    (again / "rank_start.safetensors").unlink()
    train("teacher_forcing", again, dataset, dense_run, **(WATCHED | {"train__steps": 8}))
    log = log_of(again / "rank.h5")
    assert np.isnan(log["subspace_overlap"][7:]).all() and not np.isnan(log["subspace_overlap"][:7]).any()
    assert (log["latent_r99"] > 0).all()


@pytest.mark.parametrize("every, measured", [(0, [0, 5, 6]), (2, [0, 2, 4, 6])])
def test_latents_are_looked_at_more_rarely_than_weights(every, measured, watched_run, dataset, dense_run, tmp_path):
    settings = WATCHED | {"rank__activation_every": every}
    log = log_of(train("teacher_forcing", tmp_path / "run", dataset, dense_run, **settings) / "rank.h5")
    whole = log_of(watched_run / "rank.h5")
    assert np.flatnonzero(log["latent_r99"][:, 0] > 0).tolist() == measured
    np.testing.assert_array_equal(log["content_spectrum"][measured], whole["content_spectrum"][measured])
    np.testing.assert_array_equal(log["spectrum"], whole["spectrum"])


def test_latents_are_measured_when_weights_are(watched_run, dataset, dense_run, tmp_path):
    settings = WATCHED | {"rank__every": 2, "rank__activation_every": 3}
    done = run(*train_arguments("teacher_forcing", tmp_path / "run", dataset, dense_run, **settings), "--dry-run")
    assert done.returncode == 2 and "rank.activation_every: 3 is no multiple" in done.stderr, done.stderr


def test_measuring_does_not_disturb(watched_run, dataset, dense_run, tmp_path):
    changed = WATCHED | {"rank__every": 0, "rank__activation_clips": 0}
    alone = train("teacher_forcing", tmp_path / "run", dataset, dense_run, **changed)
    for file in last_checkpoint(alone).glob("*.safetensors"):
        assert file.read_bytes() == (last_checkpoint(watched_run) / file.name).read_bytes()


def test_checkpoints_of_a_run_measured_later(watched_run, dataset, tmp_path):
    """`vmla analyze rank --data` says what the run said; older logs without all this are drawn as before."""
    steps = [watched_run / "checkpoints" / f"step_{step}" for step in (3, 6)]
    vmla("analyze", "rank", "--checkpoint", *steps, "--data", dataset, "--clips", CLIPS, "--out", tmp_path / "rank")
    found, own = log_of(tmp_path / "rank" / "rank.h5"), log_of(watched_run / "rank.h5")
    np.testing.assert_allclose(found["latent_spectrum"], own["latent_spectrum"][[3, 6]], rtol=1e-5, atol=1e-6)
    assert np.isnan(found["subspace_overlap"][0]).all() and (found["subspace_overlap"][1] < 1).all()
    assert found["shuffled_step"].tolist() == [6]
    with open(tmp_path / "rank" / "rank.csv", encoding="utf-8") as text:
        row = list(csv.DictReader(text))[-1]
    assert float(row["latent_entropy_rank"]) == pytest.approx(found["latent_entropy_rank"][1, 2], rel=1e-8)
    assert float(row["subspace_overlap"]) == pytest.approx(found["subspace_overlap"][1, 2], rel=1e-8)
    page = (tmp_path / "rank" / "rank.html").read_text(encoding="utf-8")
    assert page.index("Entropy rank of the budget") < page.index("99 %-energy rank of the budget")

    with h5py.File(watched_run / "rank.h5") as new, h5py.File(tmp_path / "old.h5", "w") as old:
        for name in ("steps", "rank", "r99", "r99_fractional", "stable_rank", "entropy_rank", "spectrum"):
            old[name] = new[name][:]
        old["null_spectrum"] = new["null_spectrum"][:]
        for key in new.attrs:
            old.attrs[key] = new.attrs[key]
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.yaml", "metrics.jsonl", "summary.json"):
        (folder / name).write_bytes((watched_run / name).read_bytes())
    (folder / "rank.h5").write_bytes((tmp_path / "old.h5").read_bytes())
    vmla("compare", watched_run, folder, "--out", tmp_path / "comparison")
    assert "rank" in (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--start", "DENSE"], "has no latent attention"),
        (["--data", "NONE"], "NONE"),
        (["--clips", 0], "--clips"),
    ],
)
def test_what_does_not_fit(arguments, says, watched_run, dense_run, tmp_path):
    arguments = [dense_run if word == "DENSE" else word for word in arguments]
    done = run("analyze", "rank", "--checkpoint", watched_run, *arguments, "--out", tmp_path / "rank")
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "rank").exists()


def test_held_out_clips_are_asked_for(dataset, dense_run, tmp_path):
    done = run("train", "--config", "configs/tiny/teacher_forcing.yaml", "--run-dir", tmp_path / "run", "--dry-run",
               "--set", "rank.activation_clips=2", "--set", 'data.validation_path=""', "--set", "validation.every=0",
               "--set", "data.make_validation={}", "--set", f"init_from.generator={dense_run}",
               "--set", f"data.path={dataset}")  # fmt: skip
    assert done.returncode == 2 and "rank.activation_clips" in done.stderr, done.stderr
