"""Dataset files of other programs: what may differ, and what must not harm."""

from __future__ import annotations

import base64
import gzip
import os
import re
import time

import h5py
import numpy as np
import pytest
from foreign_dataset import write_dataset
from program import run, vmla
from sealed_dataset import seal_of

# A dataset with a few damaged bytes in its structure: libhdf5 1.10 never comes back from it.
HANGS = """
H4sICF3wCmsCA2hhbmdzXzEwODUuaDUA7ZvPU9NAFMd3k7aEtmhhHKle7FFHZRAYB7lYR9AeHOmgB2+lthvamf7INJEpXuSIN/4Ej/wp/Dn+B5
hkd/NjS39gnQHs9zPDvO7L7tvN27fZJLz8LG2/W0g/TBMPwyAJkiNRLgTlw3hZHt8Xkgp5IuSZJvVp/1he6HPCfkHnZUvU+7y3s+PVvlCQ/fxK
yfZgFintvCl78osorwp5rsXrtaoO6zg2cVjf8cq1quU0ux1bHre733o1Fsbr4zH9LoqIU+M6SzZFfN91fxvE7PbaVadyyHq2250bp4a7nPwaxd
j6kDJLSqK8QO65Nb3xVlin1q2znqd/QKnfcy5oYyjtA5Wvy5Ky+L00YK/SqNoN0W6c3WLErubbleNP+XY9g7UJ7OQidvTY+WZCO5GBXWVciZj/
E7490+JTvFh4Hfh9I0M2LvS43zmFYuivjGsrT6xmn7UqdvM7E+NX54/SwCdRmVNkOK4FPy64XbNXbTP7Urui3XwQH0muo7LMI54maeDLqMwKaS
hy8no5v6tccE78TJJuDU+v6Rrl9flK0bWUvJbTYGq5OSPiloG4qTtHFptgno3I4JLu36ePu9veHMv9o7w5er3K8zpNjq4n1/3+q9H15LzuP1H2
OVE+e3q7r6vv3+5+oJETpUq8eCu02TnYWl/rb0bjvihkf0p0xc+2Va2xitOt1JnlNLbWEkp/R1OSVOLkq9nqVp0XL1PKuq6tcTk3pX8PV9rWhi
vTJIzpqD4zRC9p3MHeDwAAAAAAAABgerz37pTog+/dl/7OXlk+qC/F3ydM3H4v3l67avt6vDzpezANoQAAAAAAAAAAAEzMYP4Kz7SgPI2EyP+z
F4RUyzrJ+00XC49IQhxZNsjyD3E8yEvRZF4KzwzRaXlVedQX9K/ZHzSW/xjkkyn5I+PyHwvPuMwjxGYSNf9R5i+dK/lHrP2V1evNzoHIeOyaps
0c29VbzlG4LIP8yXHw/Cs9eE9WHpMwKddxf2V0PRnHjeezel3kHpB5hTLPKRFcxERenpIvOOL6tx6fAcnpwFgSt2CfoEo80X+2T1jCT8fkJu0T
AID/B0251qZu0rjEZm4o5TmlnCIiL1WU5yN2ovr0EH3muk4yvG0GANyg+1z1//HyPm7YdyHhfRxR7uN+r1/+JHNyy/1x7Fe9r/FnJLPZYpP0c5
n/zGbPdvi3R75m3LeT0WeN4X4viM8TSkOe/AAAAAAAAACzBN6+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA3mz/ry7uAUHYAAA==
"""


def refused(path, *arguments):
    done = run("data", "inspect", path, *arguments, timeout=30)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stdout + done.stderr
    assert str(path) in done.stderr and "sound" not in done.stdout.splitlines()
    return done.stderr


def mean_of_latents(path, sheet):
    said = vmla("data", "inspect", path, "--full", "--sheet", sheet).stdout
    assert said.splitlines()[-1] == "sound"
    return re.search(r"^latents: (.*)$", said, re.M).group(1)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoded")
    vmla("data", "synth", "--out", folder / "v", "--count", 4)
    vmla("data", "encode", "--videos", folder / "v", "--out", folder / "a.h5")
    return folder / "a.h5"


def without_seal(path, out):
    """Written anew by h5py, as another program would."""
    with h5py.File(path) as file, h5py.File(out, "w") as copy:
        for name in file:
            file.copy(name, copy)
        copy.attrs.update(file.attrs)
    return out


def test_a_user_block_is_skipped(encoded, tmp_path):
    bare = without_seal(encoded, tmp_path / "bare.h5")
    with h5py.File(bare) as file, h5py.File(tmp_path / "block.h5", "w", userblock_size=1024) as copy:
        for name in file:
            file.copy(name, copy)
        copy.attrs.update(file.attrs)
    wanted = mean_of_latents(encoded, tmp_path / "a.png")
    assert mean_of_latents(bare, tmp_path / "b.png") == wanted
    assert mean_of_latents(tmp_path / "block.h5", tmp_path / "c.png") == wanted
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_the_newest_layout_is_read(encoded, tmp_path):
    with h5py.File(encoded) as file, h5py.File(tmp_path / "new.h5", "w", libver=("v110", "v110")) as copy:
        for name in file:
            file.copy(name, copy)
        copy.attrs.update(file.attrs)
    assert mean_of_latents(tmp_path / "new.h5", tmp_path / "n.png") == mean_of_latents(encoded, tmp_path / "a.png")


def test_the_seal_is_what_the_page_says(encoded):
    whole = encoded.read_bytes()
    sealed = int.from_bytes(whole[-88:-80], "little") - (2 * 32 * 4 + 24)
    assert whole[sealed:] == seal_of(encoded, sealed)


def test_a_flipped_bit_of_a_clip_is_named(encoded, tmp_path):
    with h5py.File(encoded) as file:
        bits = file["latents"][2].tobytes()
    whole = bytearray(encoded.read_bytes())
    whole[whole.find(bits) + 11] ^= 4
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(whole)
    done = run("data", "inspect", damaged)
    assert done.returncode == 2 and "/latents: clip 2 is damaged" in done.stdout


def test_damage_without_end_is_refused_in_a_second(tmp_path):
    path = tmp_path / "hangs.h5"
    path.write_bytes(gzip.decompress(base64.b64decode(HANGS)))
    begin = time.monotonic()
    assert "damaged" in refused(path)
    assert time.monotonic() - begin < 10, "seconds of a busy machine, for half a second of processor time"


def test_many_attributes_in_place_of_one(tmp_path):
    path = write_dataset(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["codec"] = ["space_to_depth:2"] * 4000
    assert "codec: attribute must be a single string" in refused(path)


def test_numbers_without_meaning(tmp_path):
    for name, value, words in (
        ("fps", np.nan, "fps: attribute is nan"),
        ("fps", -8.0, "fps: attribute is -8"),
        ("pixel_size", np.array([-16, 16]), "pixel_size: attribute is [-16, 16]"),
        ("pixel_frames", np.int64(-9), "pixel_frames: attribute is [-9]"),
    ):
        path = write_dataset(tmp_path / "a.h5")
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value
        assert words in refused(path)


def test_sizes_that_are_not_the_codecs(encoded, tmp_path):
    path = without_seal(encoded, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["pixel_size"] = np.array([100000, 100000])
    assert "are not what space_to_depth" in refused(path)


def test_what_lies_in_other_files_is_not_read(tmp_path):
    other = write_dataset(tmp_path / "other.h5")
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 100000)
    for name, make in (
        ("captions", lambda file: file.__setitem__("captions", h5py.ExternalLink(str(other), "/captions"))),
        ("latents", lambda file: file.__setitem__("latents", h5py.ExternalLink(str(other), "/latents"))),
        (
            "text/embeddings",
            lambda file: file.create_dataset("text/embeddings", (54, 32), np.float32, external=[(str(secret), 0, 54 * 128)]),
        ),
    ):
        path = write_dataset(tmp_path / "a.h5")
        with h5py.File(path, "r+") as file:
            del file[name]
            make(file)
        assert "another file" in refused(path)


def test_fixed_texts_that_ask_for_gigabytes(tmp_path):
    path = write_dataset(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["captions"]
        file.create_dataset("captions", (220000,), "S100000", chunks=(1000,))
    assert "/captions: is larger than the whole file" in refused(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    assert "must be a file, is a pipe" in refused(tmp_path / "a.h5")


def test_where_nothing_can_be_written(encoded, tmp_path):
    """The folder of the file behind a descriptor takes no new file, whoever asks."""
    with encoded.open("rb") as file:
        command = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        done = run("data", "inspect", command)
        assert done.returncode == 0 and done.stdout.splitlines()[-1] == "sound", done.stderr
        assert "no contact sheet beside the dataset" in done.stderr and "--sheet" in done.stderr
        assert run("data", "inspect", command, "--sheet", "/proc/self/fd/x.png").returncode == 1


def test_sound_is_said_after_the_last_check(tmp_path):
    path = write_dataset(tmp_path / "a.h5")  # its codec's hash is made up
    assert "space_to_depth" in refused(path)
