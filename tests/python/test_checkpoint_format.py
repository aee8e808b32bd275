"""Checkpoints and run folders, read by code that is not ours: json, safetensors, h5py, yaml (docs/formats.md)."""

import hashlib
import json
import re
import shutil

import h5py
import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from parity import TOLERANCE, deviation, double, random_inputs
from program import REPOSITORY, forward, run, vmla
from reference import network, rank
from reference.model_config import config_from_json, highest_frequency_pairs
from reference.weights import to_double, weight_shapes
from tiny_stage import last_checkpoint, metrics, train

SIZES = {"F32": 4, "BF16": 2, "F64": 8, "I64": 8, "F16": 2, "U8": 1}
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F64": torch.float64, "I64": torch.int64}


def read_manifest(checkpoint):
    return json.loads((checkpoint / "manifest.json").read_text())


def model_of(manifest):
    model = manifest["model"]
    config = config_from_json(json.loads(model) if isinstance(model, str) else model)
    if config.attention == "mla" and not config.rope_pair_indices:
        config = config.replace(rope_pair_indices=highest_frequency_pairs(config.head_dim, config.qk_rope_head_dim))
    return config


def tensors_of(role):
    """The entries of a role; written as a list or as an object by name."""
    entries = role["tensors"]
    return [{"name": n, **e} for n, e in entries.items()] if isinstance(entries, dict) else entries


def assemble(checkpoint, entry):
    """A tensor from its pieces, by reading bytes at the stated offsets."""
    kind = DTYPES[entry["dtype"].upper()]
    flat = torch.full((int(np.prod(entry["shape"], dtype=int)),), float("nan")).to(kind)
    covered = 0
    for piece in sorted(entry["pieces"], key=lambda p: p["first"]):
        assert piece["first"] == covered, f"{entry['name']} has a gap or an overlap"
        with open(checkpoint / piece["file"], "rb") as file:
            file.seek(piece["offset"])
            raw = file.read(piece["count"] * SIZES[entry["dtype"].upper()])
        flat[covered : covered + piece["count"]] = torch.frombuffer(bytearray(raw), dtype=kind)
        covered += piece["count"]
    assert covered == flat.numel()
    return flat.view(entry["shape"])


@pytest.fixture(scope="module", params=["dense_run", "latent_run"])
def checkpoint(request):
    return last_checkpoint(request.getfixturevalue(request.param))


def test_manifest_fields(checkpoint):
    manifest = read_manifest(checkpoint)
    assert manifest["format"] == "vmla checkpoint" and manifest["format_version"] == 1
    assert manifest["step"] == 6 and manifest["stage"] in ("pretrain", "teacher_forcing")
    assert {"counters", "data_position", "config", "files", "roles"} <= set(manifest)
    assert isinstance(yaml.safe_load(manifest["config"]), dict)
    assert checkpoint.name == "step_6"
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["latest", "step_3", "step_6"]
    assert "generator" in manifest["roles"]


def expect_hashes(checkpoint):
    text = (checkpoint / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["hash_algorithm"] == "sha256"
    files = {p.name for p in checkpoint.iterdir()} - {"manifest.json"}
    assert files == set(manifest["files"])
    for name, entry in manifest["files"].items():
        data = (checkpoint / name).read_bytes()
        assert len(data) == entry["bytes"] and hashlib.sha256(data).hexdigest() == entry["sha256"]
    own = manifest["manifest_sha256"]
    assert re.fullmatch("[0-9a-f]{64}", own) and text.count(own) == 1
    assert hashlib.sha256(text.replace(own, "0" * 64).encode()).hexdigest() == own


def test_hashes(checkpoint):
    expect_hashes(checkpoint)


def test_tensors_and_pieces(checkpoint):
    """Names, shapes and dtypes of the model; each tensor assembled from its pieces = what safetensors reads."""
    manifest = read_manifest(checkpoint)
    shapes = weight_shapes(model_of(manifest))
    entries = {e["name"]: e for e in tensors_of(manifest["roles"]["generator"])}
    assert set(shapes) <= set(entries)
    by_file = {name: load_file(checkpoint / name) for name in manifest["files"] if name.endswith(".safetensors")}
    for name, shape in shapes.items():
        entry = entries[name]
        assert tuple(entry["shape"]) == shape and entry["dtype"].upper() == "F32"
        (piece,) = entry["pieces"]  # one process: whole tensors
        stored = by_file[piece["file"]][name]
        assert torch.isfinite(stored).all() and torch.equal(assemble(checkpoint, entry), stored)


# --- several writers --------------------------------------------------------------------------------------------------


def test_what_three_writers_wrote_is_readable():
    """The fixture of the program's own tests: whole tensors keep their shape, pieces are one-dimensional."""
    folder = REPOSITORY / "tests" / "trainer" / "checkpoint" / "checkpoint_v1_ranks"
    expect_hashes(folder)
    manifest = read_manifest(folder)
    assert all(re.fullmatch(r"generator(\.optimizer)?\.0000[012]-of-00003\.safetensors", f) for f in manifest["files"])
    ramp = torch.arange(24.0).view(1, 6, 4) / 8
    expected = {
        ("generator", "blocks.0.modulation"): ramp,
        ("generator", "head.head.bias"): torch.tensor([-1.0, 0.0, 1.0], dtype=torch.bfloat16),
        ("generator.optimizer", "exp_avg_sq/blocks.0.modulation"): ramp**2,
    }
    seen = set()
    for role_name, role in manifest["roles"].items():
        for entry in tensors_of(role):
            key = (role_name, entry["name"])
            seen.add(key)
            assert torch.equal(assemble(folder, entry), expected[key])
            for piece in entry["pieces"]:
                stored = load_file(folder / piece["file"])[entry["name"]]
                whole = piece["count"] == expected[key].numel()
                assert stored.shape == (expected[key].shape if whole else (piece["count"],))
                first = piece["first"]
                assert torch.equal(stored.flatten(), expected[key].flatten()[first : first + piece["count"]])
    assert seen == set(expected)


def cut_checkpoint(checkpoint, ranks):
    """Writes the checkpoint again as `ranks` writers would, by docs/formats.md alone: every role's tensors, one after
    another, are cut into equal runs of elements."""
    manifest = read_manifest(checkpoint)
    whole = {name: {e["name"]: assemble(checkpoint, e) for e in tensors_of(r)} for name, r in manifest["roles"].items()}
    for file in manifest["files"]:
        (checkpoint / file).unlink()
    manifest["files"] = {}
    for role_name, tensors in whole.items():
        total = sum(t.numel() for t in tensors.values())
        each = -(-total // ranks)
        entries = {n: {"dtype": "F32", "shape": list(t.shape), "pieces": []} for n, t in tensors.items()}
        for rank in range(ranks):
            file, parts, offset = f"{role_name}.{rank:05d}-of-{ranks:05d}.safetensors", {}, 0
            for name, tensor in tensors.items():
                first = max(0, rank * each - offset)
                last = min(tensor.numel(), (rank + 1) * each - offset)
                if first < last:
                    part = tensor.flatten()[first:last]
                    parts[name] = (tensor if last - first == tensor.numel() else part).clone()
                    entries[name]["pieces"].append({"file": file, "first": first, "count": last - first})
                offset += tensor.numel()
            save_file(parts, checkpoint / file)
            data = (checkpoint / file).read_bytes()
            manifest["files"][file] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            start = 8 + int.from_bytes(data[:8], "little")
            for name in parts:
                entries[name]["pieces"][-1]["offset"] = start + header[name]["data_offsets"][0]
        manifest["roles"][role_name]["tensors"] = entries
    manifest["manifest_sha256"] = "0" * 64
    text = json.dumps(manifest, indent=1)
    own = hashlib.sha256(text.encode()).hexdigest()
    (checkpoint / "manifest.json").write_text(text.replace("0" * 64, own))


@pytest.mark.parametrize("ranks", [2, 5])
def test_a_checkpoint_of_other_writers_is_the_same_network(latent_run, ranks, tmp_path):
    checkpoint = tmp_path / "step_6"
    shutil.copytree(last_checkpoint(latent_run), checkpoint)
    inputs = forward_inputs(model_of(read_manifest(checkpoint)), "teacher_forcing")
    before = forward(checkpoint, inputs, "teacher_forcing", tmp_path)
    cut_checkpoint(checkpoint, ranks)
    expect_hashes(checkpoint)
    assert torch.equal(forward(checkpoint, inputs, "teacher_forcing", tmp_path), before)
    (checkpoint / f"generator_ema.00001-of-{ranks:05d}.safetensors").unlink()
    done = run("sample", "--checkpoint", checkpoint, "--prompt", "", "--frames", 9, "--out", tmp_path / "videos")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert f"generator_ema.00001-of-{ranks:05d}.safetensors" in line and "manifest lists it" in line


def test_training_goes_on_from_other_writers(latent_run, dataset, dense_run, tmp_path):
    """Three writers' checkpoint of step 3 continues to the bits of step 6."""
    run_dir = tmp_path / "run"
    shutil.copytree(latent_run, run_dir, symlinks=True)
    shutil.rmtree(run_dir / "checkpoints" / "step_6")
    (run_dir / "checkpoints" / "latest").unlink()
    (run_dir / "checkpoints" / "latest").symlink_to("step_3")
    cut_checkpoint(run_dir / "checkpoints" / "step_3", 3)
    train("teacher_forcing", run_dir, dataset, dense_run, rank__every=2, validation__every=3, sample__every=3,
          ema__decay=0.5)  # fmt: skip
    ours, theirs = last_checkpoint(run_dir), last_checkpoint(latent_run)
    assert ours.name == theirs.name == "step_6"
    for file in theirs.glob("*.safetensors"):
        assert (ours / file.name).read_bytes() == file.read_bytes()


def test_every_role_is_readable(checkpoint):
    manifest = read_manifest(checkpoint)
    for role in manifest["roles"].values():
        for entry in tensors_of(role):
            assemble(checkpoint, entry)


def test_no_padding(checkpoint):
    """A safetensors file ends with the last byte of its last tensor, and tensors touch."""
    for file in checkpoint.glob("*.safetensors"):
        header_bytes = int.from_bytes(file.read_bytes()[:8], "little")
        header = json.loads(file.read_bytes()[8 : 8 + header_bytes])
        spans = sorted(entry["data_offsets"] for name, entry in header.items() if name != "__metadata__")
        assert spans[0][0] == 0 and all(a[1] == b[0] for a, b in zip(spans, spans[1:]))
        assert 8 + header_bytes + spans[-1][1] == file.stat().st_size


def generator_weights(checkpoint, role):
    manifest = read_manifest(checkpoint)
    names = weight_shapes(model_of(manifest))
    entries = {e["name"]: e for e in tensors_of(manifest["roles"][role])}
    return {name: assemble(checkpoint, entries[name]) for name in names}


def forward_inputs(config, mode):
    inputs = random_inputs(config, batch=1, frames=9, height=8, width=8, text_rows=5, seed=81)
    if mode in ("bidirectional", "chunk_causal"):
        del inputs["clean_latents"]
    return inputs


@pytest.mark.parametrize("role", ["ema", "raw"])
def test_forward_of_a_checkpoint(checkpoint, role, tmp_path):
    """The program runs from the checkpoint what the reference computes from the tensors read with foreign code."""
    manifest = read_manifest(checkpoint)
    config = model_of(manifest)
    averaged = role == "ema" and "generator_ema" in manifest["roles"]
    weights = generator_weights(checkpoint, "generator_ema" if averaged else "generator")
    mode = "cached" if config.attention == "mla" else "bidirectional"
    inputs = forward_inputs(config, mode)
    actual = forward(checkpoint, inputs, mode, tmp_path, "--weights-role", role)
    assert deviation(actual, network.forward(mode, to_double(weights), config, double(inputs))) <= TOLERANCE


def test_moving_any_tensor_moves_the_output(latent_run, tmp_path):
    """Each tensor of the trained model in turn, in a copy exported as plain safetensors."""
    checkpoint = last_checkpoint(latent_run)
    config = model_of(read_manifest(checkpoint))
    inputs = forward_inputs(config, "teacher_forcing")
    folder = tmp_path / "export"
    vmla("export", "--checkpoint", checkpoint, "--format", "videomla", "--out", folder, "--dtype", "fp32")
    (file,) = folder.glob("*.safetensors")
    original = load_file(file)
    assert set(original) == set(weight_shapes(config))
    before = forward(folder, inputs, "teacher_forcing", tmp_path)
    dead = []
    # one block stands for all; every tensor outside the blocks
    for name in (n for n in original if not n.startswith("blocks.") or n.startswith("blocks.1.")):
        noise = torch.randn(original[name].shape, generator=torch.Generator().manual_seed(82))
        moved = original[name] + 0.5 * noise
        save_file({**original, name: moved}, file)
        if torch.equal(forward(folder, inputs, "teacher_forcing", tmp_path), before):
            dead.append(name)
    assert not dead


@pytest.mark.parametrize("damage", ["cut", "flipped bit", "missing file", "manifest cut", "newer version"])
def test_damage_is_refused(latent_run, damage, tmp_path):
    """A reader refuses anything incomplete or altered and says which file."""
    checkpoint = tmp_path / "step_6"
    shutil.copytree(last_checkpoint(latent_run), checkpoint)
    file = max(checkpoint.glob("*.safetensors"), key=lambda p: p.stat().st_size)
    manifest = checkpoint / "manifest.json"
    culprit = file
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "flipped bit":
        data = bytearray(file.read_bytes())
        data[-100] ^= 4
        file.write_bytes(data)
    elif damage == "missing file":
        file.unlink()
    else:
        culprit = manifest
        text = manifest.read_text()
        manifest.write_text(text[: len(text) // 2] if damage == "manifest cut" else text.replace(
            '"format_version": 1', '"format_version": 99').replace('"format_version":1', '"format_version":99'))  # fmt: skip
    done = run("sample", "--checkpoint", checkpoint, "--prompt", "", "--frames", 9, "--out", tmp_path / "videos")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert culprit.name in line
    assert not (tmp_path / "videos").exists() or not list((tmp_path / "videos").iterdir())


# --- the run folder ---------------------------------------------------------------------------------------------------


def test_metrics(latent_run):
    lines = metrics(latent_run)
    assert [m["step"] for m in lines] == list(range(1, 7))
    for m in lines:
        assert m["stage"] == "teacher_forcing"
        for key in ("loss", "grad_norm", "lr", "time_step"):
            assert np.isfinite(m[key]), key
        for part in ("tokens", "tflop", "mfu", "mem"):
            assert any(part in key.lower() for key in m), f"no {part} in {sorted(m)}"
    # step 3 was saved: what the step after it waited for is in its line
    assert [m["step"] for m in lines if "time_save" in m] == [4]
    rates = [m["lr"] for m in lines]
    assert rates == sorted(rates, reverse=True) and rates[0] <= 4e-3, "linear decay"


def test_rank_log(latent_run):
    """Every measure equals numpy's full SVD of the tensors in the checkpoint of that step."""
    run_checkpoints = latent_run / "checkpoints"
    with h5py.File(latent_run / "rank.h5") as file:
        steps = file["steps"][:].tolist()
        data = {name: file[name][:] for name in ("r99", "stable_rank", "entropy_rank", "spectrum", "rank")}
        attributes = dict(file.attrs)
    assert data["rank"].tolist() == [24, 24, 24] and int(attributes["rank_budget"]) == 24
    init = attributes["init"]
    assert (init.decode() if isinstance(init, bytes) else init) == "svd_weight"
    assert data["spectrum"].shape == (len(steps), 3, 24)
    assert {2, 4, 6} <= set(steps)
    row = steps.index(6)
    checkpoint = run_checkpoints / "step_6"
    config = model_of(read_manifest(checkpoint))
    weights = generator_weights(checkpoint, "generator")
    for layer in range(3):
        values = rank.spectrum(weights, config, layer)
        # fp64 by the Gram route: relative error of a squared condition number, far above it for these sizes
        assert np.allclose(data["spectrum"][row, layer], values, rtol=1e-6, atol=1e-8 * values[0])
        assert data["r99"][row, layer] == rank.r99(values)
        assert abs(data["stable_rank"][row, layer] - rank.stable_rank(values)) <= 1e-6 * rank.stable_rank(values)
        assert abs(data["entropy_rank"][row, layer] - rank.entropy_rank(values)) <= 1e-6 * rank.entropy_rank(values)


def test_run_folder_files(latent_run, dense_run):
    for folder in (latent_run, dense_run):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["train"]["steps"] == 6 and config["optimizer"]["lr"] in (3e-3, 4e-3)
        assert {"stage", "seed", "model", "objective", "data", "optimizer", "train", "ema", "checkpoint"} <= set(config)
        json.loads((folder / "summary.json").read_text())
        report = (folder / "report.html").read_text(encoding="utf-8")
        assert report.lstrip().lower().startswith("<!doctype html>")
        # self-contained: nothing is fetched
        assert not re.search(r'(?:src|href)\s*=\s*["\']?(?:https?:)?//', report)
        assert (folder / "log.txt").stat().st_size > 0
    assert sorted(p.name for p in (latent_run / "samples").iterdir())


def test_resolved_config_repeats_the_run(latent_run):
    """`config.yaml` is complete: a dry run of it is accepted as it stands."""
    vmla("train", "--config", latent_run / "config.yaml", "--run-dir", latent_run.parent / "again", "--dry-run")
    assert not (latent_run.parent / "again" / "checkpoints").exists()


def test_analyze_rank_writes_the_same_layout(latent_run, dataset, tmp_path):
    vmla("analyze", "rank", "--checkpoint", latent_run / "checkpoints" / "step_3", last_checkpoint(latent_run),
         "--data", dataset, "--out", tmp_path / "rank")  # fmt: skip
    with h5py.File(tmp_path / "rank" / "rank.h5") as a, h5py.File(latent_run / "rank.h5") as b:
        assert a["steps"][:].tolist() == [3, 6]
        row = b["steps"][:].tolist().index(6)
        assert np.allclose(a["spectrum"][1], b["spectrum"][row], rtol=1e-9)
        assert set(b) == set(a)


def test_safetensors_metadata_is_legal(checkpoint):
    """The library's own reader opens every file, lazily too."""
    for file in checkpoint.glob("*.safetensors"):
        with safe_open(file, "pt") as reader:
            for name in reader.keys():
                reader.get_slice(name).get_shape()
