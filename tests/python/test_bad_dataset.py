"""Bad videos and datasets: an unreadable video is skipped and listed; the rest is one line on stderr that says what."""

import shutil

import h5py
import numpy as np
import pytest

from program import one_line_error, run, vmla
from tiny_stage import train_arguments


@pytest.fixture()
def videos(tmp_path):
    folder = tmp_path / "videos"
    vmla("data", "synth", "--out", folder, "--count", 4)
    return folder


def encoded(folder, target, *flags):
    done = run("data", "encode", "--videos", folder, "--out", target, *flags)
    return done


def video_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".mp4", ".avi", ".webm", ".mkv", ".y4m"))


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "missing"])
def test_unreadable_video_is_skipped_and_listed(damage, videos, tmp_path):
    """The job goes on; the count and the name are said, and stay in a list beside the dataset."""
    victim = video_files(videos)[1]
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes({"empty": b"", "truncated": data[: len(data) // 3], "text": b"not a video " * 99}[damage])
    done = encoded(videos, tmp_path / "x.h5")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert victim.name in said and "1" in said
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["latents"].shape[0] == 3
    listed = (tmp_path / "x.skipped.csv").read_text()
    assert victim.name in listed and not any(p.name in listed for p in video_files(videos) if p != victim)


def test_video_shorter_than_the_clip(videos, tmp_path):
    """Nothing is encoded, so nothing is written."""
    done = encoded(videos, tmp_path / "x.h5", "--frames", 90)
    assert done.returncode == 2 and "90" in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.h5").exists()


def test_folder_without_videos(tmp_path):
    (tmp_path / "videos").mkdir()
    one_line_error(encoded(tmp_path / "videos", tmp_path / "x.h5"), "videos")
    assert not (tmp_path / "x.h5").exists()


def test_unknown_codec(videos, tmp_path):
    one_line_error(encoded(videos, tmp_path / "x.h5", "--codec", "h266"), "h266")
    one_line_error(encoded(videos, tmp_path / "x.h5", "--text", "bert"), "bert")
    assert not (tmp_path / "x.h5").exists()


def damaged_dataset(source, target, change):
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        change(file)
    return target


def drop(name):
    def change(file):
        del file[name]

    return change


def bad_offsets(file):
    values = file["text/offsets"][:]
    values[3] = values[-1] + 50
    file["text/offsets"][:] = values


def nan_latents(file):
    values = file["latents"][:]
    values[:] = np.uint16(0x7FC0)
    file["latents"][:] = values


DATASETS = {
    "no text": (drop("text/embeddings"), ["text/embeddings"]),
    "no offsets": (drop("text/offsets"), ["text/offsets"]),
    "no latents": (drop("latents"), ["latents"]),
    "offsets beyond the rows": (bad_offsets, ["text/offsets"]),
}


@pytest.mark.parametrize("case", DATASETS)
def test_damaged_dataset(case, dataset, tmp_path):
    change, mentions = DATASETS[case]
    file = damaged_dataset(dataset, tmp_path / "damaged.h5", change)
    done = run(*train_arguments("pretrain", tmp_path / "run", file))
    one_line_error(done, "damaged.h5", *mentions)


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all" * 100, None], ids=["empty", "text", "truncated"])
def test_dataset_that_is_no_hdf5(content, dataset, tmp_path):
    file = tmp_path / "damaged.h5"
    data = dataset.read_bytes()
    file.write_bytes(data[: len(data) // 2] if content is None else content)
    one_line_error(run(*train_arguments("pretrain", tmp_path / "run", file)), "damaged.h5")


def test_dataset_of_another_shape(dataset, tmp_path):
    """The model's channels and the data's must agree before anything starts."""
    done = run(*train_arguments("pretrain", tmp_path / "run", dataset, model__in_dim=16, model__out_dim=16))
    one_line_error(done, "16", "12")


def test_nan_in_the_loss(dataset, tmp_path):
    """A fault, not a wrong setting: status 1, the step is named, no checkpoint of broken weights."""
    file = damaged_dataset(dataset, tmp_path / "nan.h5", nan_latents)
    done = run(*train_arguments("pretrain", tmp_path / "run", file))
    assert done.returncode in (1, 2) and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "step" in done.stderr or "nan.h5" in done.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    assert not checkpoints.exists() or not list(checkpoints.glob("step_*"))
