"""Prompt sets and ODE sets (docs/formats.md), written by the program or by h5py alone, read by the other."""

import h5py
import numpy as np
import pytest

from foreign_dataset import write_dataset
from program import run, vmla

PROMPTS = ["a red circle moves left", "", "a blue square moves up", "едет 移動 🐄"]
TIMES = [1000.0, 937.5, 2500 / 3, 625.0, 0.0]


def text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


@pytest.fixture
def prompts_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\n".join(PROMPTS).encode() + b"\n")
    return path


def complaint(*arguments):
    """What a command that must be refused says: one line, status 2."""
    done = run(*arguments)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_prompt_set_layout(prompts_file, tmp_path):
    out = tmp_path / "prompts.h5"
    vmla("data", "prompts", "--prompts", prompts_file, "--out", out)
    with h5py.File(out) as file:
        assert sorted(file) == ["captions", "text"] and sorted(file["text"]) == ["embeddings", "empty", "offsets"]
        assert [text(c) for c in file["captions"]] == PROMPTS
        offsets, rows, empty = file["text/offsets"][:], file["text/embeddings"][:], file["text/empty"][:]
        assert offsets[0] == 0 and offsets[-1] == len(rows) and (np.diff(offsets) > 0).all()
        assert rows.dtype == np.float32 and rows.shape[1] == 32
        assert np.array_equal(rows[offsets[1] : offsets[2]], empty), "an empty line is the empty prompt"
        assert sorted(file.attrs) == ["format_version", "text_encoder", "text_encoder_hash"]
    assert list(tmp_path.glob("*.parts")) == [] and list(tmp_path.glob("*.lock")) == []
    assert "4 prompts" in vmla("data", "inspect", out).stdout


def test_prompts_and_captions_have_equal_embeddings(dataset, tmp_path):
    with h5py.File(dataset) as file:
        captions, offsets, rows = [text(c) for c in file["captions"]], file["text/offsets"][:], file["text/embeddings"][:]
    (tmp_path / "p.txt").write_text("\r\n".join(captions), encoding="utf-8")
    vmla("data", "prompts", "--prompts", tmp_path / "p.txt", "--out", tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5") as file:
        assert [text(c) for c in file["captions"]] == captions
        assert np.array_equal(file["text/offsets"][:], offsets) and np.array_equal(file["text/embeddings"][:], rows)


def test_prompts_like_a_dataset(dataset, prompts_file, tmp_path):
    out = tmp_path / "prompts.h5"
    vmla("data", "prompts", "--prompts", prompts_file, "--out", out, "--like", dataset)
    with h5py.File(out) as made, h5py.File(dataset) as like:
        assert "latents" not in made
        for name in ("codec", "codec_hash", "fps", "pixel_frames", "text_encoder_hash"):
            assert made.attrs[name] == like.attrs[name]
        assert list(made.attrs["pixel_size"]) == list(like.attrs["pixel_size"])
        assert list(made.attrs["clip_shape"]) == [9, 12, 8, 8]


def test_bad_prompts_files_are_refused(prompts_file, tmp_path):
    out, bad = tmp_path / "out.h5", tmp_path / "bad.txt"
    bad.write_bytes("first\nüb\n".encode() + "naïve\n".encode("latin-1"))
    said = complaint("data", "prompts", "--prompts", bad, "--out", out)
    assert f"{bad}: line 3, column 3 (byte 3 of the line)" in said and "UTF-8" in said
    bad.write_bytes(b"")
    assert str(bad) in complaint("data", "prompts", "--prompts", bad, "--out", out)
    assert "missing.txt" in complaint("data", "prompts", "--prompts", tmp_path / "missing.txt", "--out", out)
    assert set(tmp_path.iterdir()) == {bad, prompts_file}, "nothing is written"
    out.write_bytes(b"mine")
    assert "exists" in complaint("data", "prompts", "--prompts", prompts_file, "--out", out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize("fp32", [False, True])
def test_an_ode_set_by_h5py_is_understood(fp32, tmp_path):
    file = write_dataset(tmp_path / "ode.h5", ode_times=TIMES, ode_fp32=fp32)
    said = run("data", "inspect", file).stdout  # the contact sheet is refused: the codec hash is made up
    assert "[12, 5, 9, 12, 8, 8], " + ("float32" if fp32 else "bfloat16") in said
    assert "1000 937.5 833.3 625 0" in said


def test_bad_ode_sets_are_refused(tmp_path):
    def broken(edit):
        path = write_dataset(tmp_path / "bad.h5", ode_times=TIMES)
        with h5py.File(path, "r+") as file:
            edit(file)
        said = complaint("data", "inspect", path)
        assert str(path) in said
        path.unlink()
        return said

    def times(values):
        def edit(file):
            del file["ode_times"]
            file["ode_times"] = np.array(values)

        return edit

    def states(shape, dtype=np.uint16, **how):
        def edit(file):
            del file["ode"]
            file.create_dataset("ode", shape, dtype, chunks=(1, *shape[1:]), data=np.zeros(shape, dtype), **how).attrs[
                "dtype"
            ] = "bfloat16"

        return edit

    def no_latents(file):
        del file["latents"]

    assert "/ode_times: missing" in broken(lambda file: file.__delitem__("ode_times"))
    assert "/ode_times: has 4 entries, /ode has 5 states" in broken(times([1000.0, 900.0, 800.0, 0.0]))
    assert "entry 2 is 950" in broken(times([1000.0, 900.0, 950.0, 700.0, 0.0]))
    assert "end with 0" in broken(times([1000.0, 900.0, 800.0, 700.0, 1.0]))
    assert "64-bit floats" in broken(times(np.array([1000, 900, 800, 700, 0], np.float32)))
    assert "/ode: holds 11 clips, /captions 12" in broken(states((11, 5, 9, 12, 8, 8)))
    assert "/ode: has 5 dimensions, must have 6" in broken(states((12, 5, 9, 12, 64)))
    assert "its states are [9, 12, 8, 4], the clips of /latents [9, 12, 8, 8]" in broken(states((12, 5, 9, 12, 8, 4)))
    assert "bfloat16" in broken(states((12, 5, 9, 12, 8, 8), np.int32))
    assert "32-bit floats" in broken(states((12, 5, 9, 12, 8, 8), np.float64))
    assert "compressed" in broken(states((12, 5, 9, 12, 8, 8), compression="gzip"))
    assert "there is no /latents" in broken(no_latents)
    cut = write_dataset(tmp_path / "cut.h5", ode_times=TIMES)
    cut.write_bytes(cut.read_bytes()[:-10000])
    assert str(cut) in complaint("data", "inspect", cut)
