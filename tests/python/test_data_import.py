"""`vmla data import`: what python-lmdb wrote in the layout of CausVid and its successors becomes a dataset."""

from __future__ import annotations

import csv

import h5py
import lmdb
import numpy as np
import pytest
import torch
from program import one_line_error, run, stopped_when_stored, vmla

# The normalisation of Wan 2.1's latents, as diffusers' AutoencoderKLWan has it.
MEAN = [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921]
DEVIATION = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
             3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160]
SHAPE = (3, 16, 4, 6)  # F, C, H, W


def latents(rows, states=None, seed=0):
    draw = np.random.default_rng(seed)
    shape = SHAPE if states is None else (states, *SHAPE)
    return draw.standard_normal((rows, *shape)).astype(np.float16)


def write_env(folder, rows, captions, shape=None, extra=()):
    """An environment as the references' writers make it."""
    folder.mkdir(parents=True, exist_ok=True)
    env = lmdb.open(str(folder), map_size=1 << 28)
    with env.begin(write=True) as transaction:
        for i, row in enumerate(rows):
            transaction.put(f"latents_{i}_data".encode(), row.tobytes())
            if captions[i] is not None:
                transaction.put(f"prompts_{i}_data".encode(), captions[i].encode())
        transaction.put(b"latents_shape", " ".join(map(str, shape or rows.shape)).encode())
        transaction.put(b"prompts_shape", str(len(rows)).encode())
        for key, value in extra:
            transaction.put(key, value)
    env.close()
    return folder


def imported(source, out, *extra):
    vmla("data", "import", "--from", "lmdb", "--in", source, "--out", out, "--text", "hashing:32x8", *extra)
    return h5py.File(out)


def as_bf16(values):
    return torch.from_numpy(values.astype(np.float32)).bfloat16().float().numpy()


def stored(dataset):
    return torch.from_numpy(dataset[:]).view(torch.bfloat16).float().numpy()


def test_clean_clips_are_counted_by_their_keys(tmp_path):
    rows = latents(23)
    captions = [f"a clip of number {i} é" for i in range(23)]
    # The shape says 20: the references write the last part's number.
    source = write_env(tmp_path / "env", rows, captions, shape=(20, *SHAPE))
    with imported(source, tmp_path / "out.h5") as file:
        assert np.array_equal(stored(file["latents"]), as_bf16(rows)), "in the order of numbers, not of keys"
        assert [c.decode() for c in file["captions"]] == captions
        assert file["source"]["first_frame"].tolist() == list(range(23))
        assert file.attrs["codec"] == "wan-vae" and file.attrs["fps"] == 16
        assert file.attrs["pixel_size"].tolist() == [32, 48] and file.attrs["pixel_frames"] == 9
    # Its pictures need the codec's weights, which an import does not have.
    assert "read: 23 of 23 clips" in run("data", "inspect", tmp_path / "out.h5").stdout
    # A leading axis of one state, and a folder of environments in the order of their names.
    for name, part in (("b", rows[:2]), ("a", rows[2:4])):
        write_env(tmp_path / "shards" / name, part[:, None], ["x", "y"])
    with imported(tmp_path / "shards", tmp_path / "shards.h5") as file:
        assert np.array_equal(stored(file["latents"]), as_bf16(np.concatenate([rows[2:4], rows[:2]])))
        assert file["source"]["file"][0].decode() == "a/data.mdb"


def test_small_values_lie_in_the_leaves(tmp_path):
    rows = np.random.default_rng(1).standard_normal((300, 1, 2, 2, 2)).astype(np.float16)
    with imported(write_env(tmp_path / "env", rows, ["x"] * 300), tmp_path / "out.h5") as file:
        assert np.array_equal(stored(file["latents"]), as_bf16(rows))


def test_ode_paths_get_their_timesteps(tmp_path):
    rows = latents(3, states=6)
    with imported(write_env(tmp_path / "six", rows, ["x", "y", "z"]), tmp_path / "six.h5", "--dtype", "fp32") as file:
        assert np.array_equal(file["ode"][:], rows[:, [0, 1, 2, 3, 5]].astype(np.float32))
        assert np.array_equal(stored(file["latents"]), as_bf16(rows[:, -1]))
        assert np.allclose(file["ode_times"][:], [1000, 937.5, 2500 / 3, 625, 0], atol=1e-9)
    rows = latents(2, states=4)
    with imported(write_env(tmp_path / "four", rows, ["x", "y"]), tmp_path / "four.h5") as file:
        assert np.array_equal(stored(file["ode"]), as_bf16(rows))
        assert file["ode_times"][:].round().tolist() == [1000, 757, 522, 0]
    rows = latents(2, states=3)
    three = write_env(tmp_path / "three", rows, ["x", "y"])
    command = ["data", "import", "--from", "lmdb", "--in", three, "--out", tmp_path / "three.h5",
               "--text", "hashing:32x8"]
    one_line_error(run(*command), "3 states", "--ode-times")
    one_line_error(run(*command, "--ode-times", "1000,500"), "2 numbers", "3 states")
    one_line_error(run(*command, "--ode-times", "500,1000,0"), "fall")
    with imported(three, tmp_path / "three.h5", "--states", "0,2", "--ode-times", "1000,0") as file:
        assert np.array_equal(stored(file["ode"]), as_bf16(rows[:, [0, 2]]))


def test_raw_latents_are_told_from_normalised_ones(tmp_path):
    normal = latents(4)
    raw = normal.astype(np.float32) * np.array(DEVIATION).reshape(16, 1, 1) + np.array(MEAN).reshape(16, 1, 1)
    raw_env = write_env(tmp_path / "raw", raw.astype(np.float16), ["x"] * 4)
    normal_env = write_env(tmp_path / "normal", normal, ["x"] * 4)

    def refused(source, mention, *extra):
        out = tmp_path / "no.h5"
        one_line_error(run("data", "import", "--from", "lmdb", "--in", source, "--out", out, "--text", "hashing:32x8",
                           *extra), mention)
        assert not out.exists()

    refused(raw_env, "--normalize")
    refused(normal_env, "normalised already", "--normalize")
    with imported(raw_env, tmp_path / "out.h5", "--normalize") as file:
        # fp16 of values up to 10 has a spacing of 2^-7, deviations are above 1; bf16 adds 2^-9 of the value.
        assert np.abs(stored(file["latents"]) - normal).max() < 2**-7 + 4 * 2**-8


def test_rows_that_are_no_good_are_listed(tmp_path):
    rows = latents(6)
    rows[2, 0, 0, 0, 0] = np.nan
    source = write_env(tmp_path / "env", rows, ["a", None, "c", "d", "e", "f"],
                       extra=[(b"latents_3_data", b"short"), (b"prompts_4_data", b"\xff\xfe"), (b"poses", b"x"),
                              (b"latents_x_data", b"y")])
    with imported(source, tmp_path / "out.h5") as file:
        assert [c.decode() for c in file["captions"]] == ["a", "f"]
        assert np.array_equal(stored(file["latents"]), as_bf16(rows[[0, 5]]))
    with open(tmp_path / "out.skipped.csv") as listed:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(listed)}
    assert list(reasons) == [f"data.mdb row {i}" for i in (1, 2, 3, 4)]
    for reason, words in zip(reasons.values(), ("no prompt", "NaN", "5 bytes", "UTF-8")):
        assert words in reason


def test_a_stopped_import_goes_on_to_the_same_file(tmp_path):
    """Stopped when the first clips are stored, of so many that most are still to come."""
    count = 12_000
    source = write_env(tmp_path / "env", latents(count), [f"clip {i}" for i in range(count)])
    imported(source, tmp_path / "whole.h5").close()
    arguments = ["data", "import", "--from", "lmdb", "--in", source, "--out", tmp_path / "cut.h5", "--text", "hashing:32x8"]
    parts = tmp_path / "cut.h5.parts"
    said = stopped_when_stored(*arguments, parts=parts)
    (line,) = said.splitlines()
    assert "rows are stored" in line and not (tmp_path / "cut.h5").exists()
    vmla(*arguments)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not parts.exists()


def test_what_is_no_lmdb_is_one_line(tmp_path):
    whole = write_env(tmp_path / "env", latents(3), ["x"] * 3)
    data = (whole / "data.mdb").read_bytes()

    def refused(content, *mentions):
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        (folder / "data.mdb").write_bytes(content)
        one_line_error(run("data", "import", "--from", "lmdb", "--in", folder, "--out", tmp_path / "no.h5",
                           "--text", "hashing:32x8"), "data.mdb", *mentions)

    refused(b"", "LMDB")
    refused(data[:4096])
    refused(data[: len(data) - 4096], "truncated")
    refused(b"\0" * 20000, "LMDB")
    pages = len(data) // 4096
    for page in range(2, pages):
        broken = bytearray(data)
        broken[page * 4096 : page * 4096 + 16] = b"\xff" * 16
        folder = tmp_path / "damaged"
        (folder / "data.mdb").write_bytes(broken)
        done = run("data", "import", "--from", "lmdb", "--in", folder, "--out", tmp_path / f"{page}.h5",
                   "--text", "hashing:32x8")
        # A page of the list of free pages, or within a value, changes nothing or one value.
        assert done.returncode in (0, 2) and len(done.stderr.splitlines()) <= 1
    write_env(tmp_path / "other", latents(0), [])
    refused((tmp_path / "other" / "data.mdb").read_bytes(), "no latents")
    one_line_error(run("data", "import", "--from", "lmdb", "--in", tmp_path / "nothing", "--out", tmp_path / "no.h5"),
                   "nothing")
