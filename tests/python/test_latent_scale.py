"""A dataset that says wan-vae and holds latents that are not normalised, or twice: its statistics tell, in one line."""

import h5py
import numpy as np
import pytest
import torch

from foreign_dataset import write_dataset
from program import run, vmla
from test_data_import import DEVIATION, MEAN, latents, write_env
from tiny_stage import train_arguments

ROW = (16, 1, 1)


def write(path, kind, seed=0):
    """A file of another program; its latents are drawn, and scaled as the mistake does."""
    write_dataset(path, clips=6, channels=16, seed=seed)
    with h5py.File(path, "r+") as file:
        x = torch.randn(file["latents"].shape, generator=torch.Generator().manual_seed(seed))
        mean, deviation = torch.tensor(MEAN).view(ROW), torch.tensor(DEVIATION).view(ROW)
        x = {"normalised": x, "raw": x * deviation + mean, "twice": (x - mean) / deviation}[kind]
        file["latents"][...] = x.bfloat16().view(torch.int16).numpy().view(np.uint16)
        file.attrs["codec"] = "wan-vae"
    return path


def warnings(done):
    return [line for line in (done.stdout + done.stderr).splitlines() if "its latents are" in line]


WORDS = {"normalised": None, "raw": "raw ones of Wan's VAE", "twice": "normalised twice"}


@pytest.mark.parametrize("kind", WORDS)
def test_inspect_says_what_the_statistics_are(kind, tmp_path):
    path = write(tmp_path / "x.h5", kind)
    done = vmla("data", "inspect", path)
    found = warnings(done)
    assert len(found) == (0 if kind == "normalised" else 1)
    if found:
        assert str(path) in found[0] and WORDS[kind] in found[0] and "about 0 and 1 are right" in found[0]
    # Of another codec nothing is known.
    with h5py.File(path, "r+") as file:
        file.attrs["codec"] = "some-vae"
    assert not warnings(run("data", "inspect", path))


def test_training_names_the_file_of_a_folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "a.h5", "normalised", seed=1)
    write(folder / "b.h5", "raw", seed=2)
    two = {"model__in_dim": 16, "model__out_dim": 16, "train__steps": 2, "optimizer__schedule_steps": 2,
           "data__make": {}, "data__make_validation": {}, "data__validation_path": str(folder / "a.h5")}  # fmt: skip
    done = run(*train_arguments("pretrain", tmp_path / "run", folder, **two))
    assert done.returncode == 0, done.stderr
    (found,) = warnings(done)
    assert "data.path" in found and str(folder / "b.h5") in found and "a.h5" not in found
    assert "--normalize" in found


def test_import_refuses_what_was_normalised_twice(tmp_path):
    mean, deviation = np.array(MEAN).reshape(ROW), np.array(DEVIATION).reshape(ROW)
    source = write_env(tmp_path / "env", ((latents(4) - mean) / deviation).astype(np.float16), ["x"] * 4)
    for extra in ([], ["--normalize"]):
        done = run("data", "import", "--from", "lmdb", "--in", source, "--out", tmp_path / "x.h5",
                   "--text", "hashing:32x8", *extra)  # fmt: skip
        assert done.returncode == 2 and "normalised twice" in done.stderr
