"""`vmla data encode --sizes`: videos of any shape become one dataset of several sizes, each video at the nearest."""

from __future__ import annotations

import csv
import os
import signal
import time

import h5py
import pytest
from program import listing, one_line_error, run, start, vmla
from tiny_stage import metrics, train

SIZES = "16x24,24x16"


def write_y4m(path, height, width, frames=9, aspect="1:1"):
    picture = bytes((7 * i) % 256 for i in range(height * width + 2 * (-(-height // 2)) * (-(-width // 2))))
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F8:1 Ip A{aspect} C420\n".encode() + frames * (b"FRAME\n" + picture))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes") / "videos"
    folder.mkdir()
    write_y4m(folder / "wide0.y4m", 33, 47)  # no codec takes such a size as it is
    write_y4m(folder / "tall0.y4m", 80, 45)
    write_y4m(folder / "wide1.y4m", 36, 64, frames=18)
    write_y4m(folder / "square.y4m", 40, 40)  # as near to the one as to the other
    write_y4m(folder / "squeezed.y4m", 40, 40, aspect="1:2")  # shown half as wide
    (folder / "captions.csv").write_text("file,caption\nwide0.y4m,a\ntall0.y4m,b\nwide1.y4m,c\nsquare.y4m,d\n")
    return folder


def sources(file):
    with h5py.File(file) as data:
        return [row["file"].decode() for row in data["source"][:]], tuple(data["latents"].shape[1:])


def reasons(file):
    return {name: reason for name, reason in list(csv.reader(file.open()))[1:]}


def test_every_video_goes_to_the_nearest_size(videos, tmp_path):
    out = tmp_path / "clips"
    vmla("data", "encode", "--videos", videos, "--out", f"{out}/", "--sizes", SIZES)
    assert sorted(p.name for p in out.iterdir()) == ["16x24.h5", "24x16.h5", "24x16.skipped.csv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clips"], "nothing is left beside it"
    wide = ["square.y4m", "wide0.y4m", "wide1.y4m", "wide1.y4m"]
    assert sources(out / "16x24.h5") == (wide, (9, 12, 8, 12))
    assert sources(out / "24x16.h5") == (["squeezed.y4m", "tall0.y4m"], (9, 12, 12, 8))
    assert "no caption" in reasons(out / "24x16.skipped.csv")["squeezed.y4m"]


def test_the_folder_is_one_dataset_to_train_on(videos, tmp_path):
    out = tmp_path / "clips"
    vmla("data", "encode", "--videos", videos, "--out", out, "--sizes", "16x24,32x16")
    three = {"train__steps": 3, "optimizer__schedule_steps": 3, "train__batch_size": 2, "train__micro_batch_size": 2}
    run_dir = train("pretrain", tmp_path / "run", out, data__validation_path=str(out / "16x24.h5"), **three)
    # Latent frames times patches of a clip; four clips are wide, two tall.
    tokens = [round(line["tokens_per_second"] * line["time_step"] / 2) for line in metrics(run_dir)]
    assert sorted(tokens) == [9 * 4 * 6, 9 * 4 * 6, 9 * 8 * 4]


def test_a_pass_is_what_one_size_alone_makes_of_its_videos(videos, tmp_path):
    out = tmp_path / "clips"
    vmla("data", "encode", "--videos", videos, "--out", out, "--sizes", SIZES, "--threads", 3)
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("squeezed.y4m", "tall0.y4m", "captions.csv"):
        (alone / name).write_bytes((videos / name).read_bytes())
    (alone / "captions.csv").write_text("file,caption\ntall0.y4m,b\n")
    vmla("data", "encode", "--videos", alone, "--out", tmp_path / "one.h5", "--height", 24, "--width", 16)
    assert (tmp_path / "one.h5").read_bytes() == (out / "24x16.h5").read_bytes()


def test_sizes_without_videos_and_videos_without_size(videos, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_y4m(folder / "tall.y4m", 80, 45)
    (folder / "torn.y4m").write_bytes(b"YUV4MPEG2 W64")
    out = tmp_path / "clips"
    told = vmla("data", "encode", "--videos", folder, "--out", out, "--sizes", SIZES)
    assert "16x24: no video is nearest" in told.stdout + told.stderr
    assert sorted(p.name for p in out.iterdir()) == ["24x16.h5", "24x16.skipped.csv"]
    assert set(reasons(out / "24x16.skipped.csv")) == {"tall.y4m", "torn.y4m"}
    (folder / "tall.y4m").unlink()
    none = run("data", "encode", "--videos", folder, "--out", tmp_path / "none", "--sizes", SIZES)
    one_line_error(none, "no clip could be made of 1 videos", "torn.y4m")
    assert not (tmp_path / "none").exists() and not (tmp_path / "none.parts").exists()


def test_a_killed_job_goes_on_and_ends_with_the_same_files(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(4):
        write_y4m(folder / f"wide{i}.y4m", 36, 64, frames=27)
    write_y4m(folder / "tall.y4m", 360, 204, frames=900)
    job = ("data", "encode", "--videos", folder, "--sizes", SIZES, "--threads", 1)
    vmla(*job, "--out", tmp_path / "whole")
    out, parts = tmp_path / "killed", tmp_path / "killed.parts"
    process = start(*job, "--out", out)
    while not (parts / "clips" / "16x24.h5").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate()
    assert process.returncode == 75 and not out.exists()
    other = run(*job, "--out", out, "--fps", 4)
    one_line_error(other, "killed.parts", "other inputs or settings")
    told = vmla(*job, "--out", out)
    assert "16x24.h5: done by an earlier run" in told.stdout + told.stderr
    assert listing(out) == listing(tmp_path / "whole") and not parts.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sizes", "16x24,"], '"" is no size'),
        (["--sizes", "16"], '"16" is no size'),
        (["--sizes", "16x-24"], '"16x-24" is no size'),
        (["--sizes", "16x24x3"], '"16x24x3" is no size'),
        (["--sizes", "16x24,16x24"], "16x24 is there twice"),
        (["--sizes", "16x24,17x24"], "17x24 is no multiple of 2"),
        (["--sizes", SIZES, "--height", 16], "leave out --height and --width"),
    ],
)
def test_sizes_that_cannot_be_are_refused(flags, words, videos, tmp_path):
    done = run("data", "encode", "--videos", videos, "--out", tmp_path / "clips", *flags)
    one_line_error(done, words)
    assert not list(tmp_path.iterdir())


def test_what_stands_there_is_replaced_only_when_told_and_only_datasets(videos, tmp_path):
    out = tmp_path / "clips"
    job = ("data", "encode", "--videos", videos, "--out", out, "--sizes", SIZES)
    out.mkdir()  # an empty folder is no loss
    vmla(*job)
    one_line_error(run(*job), "clips: exists")
    (out / "old.h5").write_bytes(b"")
    vmla(*job, "--overwrite")
    assert not (out / "old.h5").exists()
    (out / "thesis.tex").write_text("years")
    one_line_error(run(*job, "--overwrite"), "thesis.tex", "not overwritten")
    one_line_error(run(*job[:5], videos / "captions.csv", *job[6:]), "no folder")
