"""Datasets as docs/formats.md "Latent dataset" lays them out, read with h5py."""

import os

import h5py
import numpy as np
import pytest
import torch

from foreign_dataset import write_dataset
from program import run, vmla
from tiny_stage import make_dataset, metrics, train

COLOURS = ["red", "green", "blue", "yellow", "magenta", "white"]
SHAPES = ["circle", "square", "triangle"]
DIRECTIONS = ["left", "right", "up", "down"]


def captions(file):
    """Decoded strictly: anything but UTF-8 raises."""
    return [bytes(c).decode("utf-8") if isinstance(c, bytes) else str(c) for c in file["captions"][:]]


def as_float(dataset):
    """bf16 is stored as uint16 with an attribute that says so."""
    assert dataset.dtype == np.uint16
    kind = dataset.attrs["dtype"]
    assert (kind.decode() if isinstance(kind, bytes) else kind) == "bfloat16"
    return torch.from_numpy((dataset[:].astype(np.uint32) << 16).view(np.float32))


def combination(caption):
    words = caption.split()
    assert words[0] == "a" and words[3] == "moves" and len(words) == 5, caption
    return COLOURS.index(words[1]), SHAPES.index(words[2]), DIRECTIONS.index(words[4])


def held_out(colour, shape, direction):
    return (3 * colour + 5 * shape + 7 * direction) % 6 == 0


def test_layout(dataset):
    with h5py.File(dataset) as file:
        latents = file["latents"]
        assert latents.shape == (12, 9, 12, 8, 8)  # 9 frames of 16x16 RGB, space to depth by 2
        assert latents.chunks == (1, 9, 12, 8, 8), "one HDF5 chunk a clip"
        assert latents.compression is None and latents.shuffle is False and latents.fletcher32 is False
        # allocated and unfiltered, so a reader may pread each clip at its address
        assert latents.id.get_num_chunks() == 12
        assert {latents.id.get_chunk_info(i).filter_mask for i in range(12)} == {0}
        values = as_float(latents)
        assert torch.isfinite(values).all() and values.std() > 0.05

        offsets = file["text/offsets"][:]
        embeddings = file["text/embeddings"]
        assert offsets.shape == (13,) and offsets.dtype == np.int64
        assert offsets[0] == 0 and offsets[-1] == embeddings.shape[0] and (np.diff(offsets) > 0).all()
        assert embeddings.shape[1] == 32  # hashing:32x8
        assert (np.diff(offsets) <= 8).all()

        assert file["captions"].shape == (12,)
        source = file["source"]
        assert source.shape == (12,) and set(source.dtype.names) == {"file", "first_frame"}
        assert file["text/embeddings"].dtype == np.float32


def test_attributes(dataset):
    with h5py.File(dataset) as file:
        attributes = dict(file.attrs)
        empty = file["text/empty"]
        assert empty.ndim == 2 and empty.shape[1] == file["text/embeddings"].shape[1]
    for name in ("codec", "codec_hash", "text_encoder", "text_encoder_hash"):
        assert len(attributes[name]) > 0
    assert int(attributes["format_version"]) == 1
    assert float(attributes["fps"]) == 8 and int(attributes["pixel_frames"]) == 9
    assert list(attributes["pixel_size"]) == [16, 16]


def test_pread_at_the_chunk_address(dataset):
    """What the layout promises to readers that are not HDF5's."""
    with h5py.File(dataset) as file:
        latents = file["latents"]
        info = latents.id.get_chunk_info_by_coord((5, 0, 0, 0, 0))
        expected = latents[5].tobytes()
    with open(dataset, "rb") as raw:
        assert os.pread(raw.fileno(), info.size, info.byte_offset) == expected


def test_codec_is_an_orthogonal_space_to_depth(dataset):
    """The latents' energy is the pixels' energy: means of a dark scene with one bright shape, within [-1, 1]."""
    with h5py.File(dataset) as file:
        energy = as_float(file["latents"]).square().mean()
    assert 0.01 < energy <= 1.0  # an orthogonal transform of pixels in [-1, 1] cannot have more


def test_captions_and_split(dataset, tmp_path):
    with h5py.File(dataset) as file:
        for caption in captions(file):
            assert not held_out(*combination(caption)), caption
    with h5py.File(make_dataset(tmp_path, 12, "--held-out")) as file:
        kept = [combination(c) for c in captions(file)]
    assert all(held_out(*c) for c in kept)
    assert len(set(kept)) == 12, "12 clips show all 12 held-out combinations"


def test_synthesis_and_encoding_are_repeatable(dataset, tmp_path):
    """The same seed gives the same clips; another seed gives others."""
    with h5py.File(dataset) as a, h5py.File(make_dataset(tmp_path / "again", 12)) as b:
        assert np.array_equal(a["latents"][:], b["latents"][:])
        assert captions(a) == captions(b)
    with h5py.File(dataset) as a, h5py.File(make_dataset(tmp_path / "other", 12, "--seed", 9)) as b:
        assert not np.array_equal(a["latents"][:], b["latents"][:])


def test_two_clips_with_one_caption_are_two_clips(dataset, tmp_path):
    """61 clips of 60 training combinations: at least two share a caption, and none is merged."""
    with h5py.File(make_dataset(tmp_path, 61)) as file:
        assert file["latents"].shape[0] == 61
        assert len(set(captions(file))) < 61


def test_equal_captions_have_equal_embeddings(tmp_path):
    with h5py.File(make_dataset(tmp_path, 66)) as file:
        texts, offsets, rows = captions(file), file["text/offsets"][:], file["text/embeddings"][:]
    seen = {}
    for i, caption in enumerate(texts):
        part = rows[offsets[i] : offsets[i + 1]]
        assert np.array_equal(seen.setdefault(caption, part), part)
    different = list(seen.values())
    assert not all(np.array_equal(different[0], other) for other in different[1:])


@pytest.mark.parametrize("frames", [5, 9])
def test_clip_length_is_asked_for(frames, tmp_path):
    vmla("data", "synth", "--out", tmp_path / "v", "--count", 2)
    vmla("data", "encode", "--videos", tmp_path / "v", "--out", tmp_path / "x.h5", "--frames", frames)
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["latents"].shape[1] == frames


def test_captions_beyond_ascii(tmp_path):
    """A captions file with other scripts survives to the dataset byte for byte."""
    vmla("data", "synth", "--out", tmp_path / "v", "--count", 3)
    text_files = [f for f in (tmp_path / "v").iterdir() if f.suffix in (".csv", ".jsonl", ".txt")]
    assert text_files, "synth writes a captions file"
    for file in text_files:
        file.write_text(file.read_text().replace("moves", "едет 移動"), encoding="utf-8")
    vmla("data", "encode", "--videos", tmp_path / "v", "--out", tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert all("едет 移動" in caption for caption in captions(file))


def test_inspect_reads_it(dataset, tmp_path):
    done = vmla("data", "inspect", dataset, "--sheet", tmp_path / "sheet.png")
    assert "12" in done.stdout
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_refuses_a_cut_file(dataset, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(dataset.read_bytes()[: dataset.stat().st_size // 2])
    done = run("data", "inspect", cut)
    assert done.returncode == 2 and str(cut) in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_training_on_a_dataset_written_by_h5py(tmp_path):
    """The layout is a contract in both directions: a file that the program never touched trains."""
    file = write_dataset(tmp_path / "foreign.h5")
    lines = metrics(train("pretrain", tmp_path / "run", file))
    assert [m["step"] for m in lines] == list(range(1, 7)) and all(np.isfinite(m["loss"]) for m in lines)
