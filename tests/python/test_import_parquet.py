"""launch/import_parquet.py: files in FastVideo's t2v schema, written by pyarrow, become a dataset that vmla reads."""

from __future__ import annotations

import csv
import subprocess
import sys

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import torch
from program import REPOSITORY, run
from test_data_import import DEVIATION, MEAN

SHAPE, WIDTH = (16, 3, 4, 6), 32  # C, F, H, W
SCALE = np.array(DEVIATION, np.float32).reshape(16, 1, 1, 1), np.array(MEAN, np.float32).reshape(16, 1, 1, 1)
SCHEMA = arrow.schema([
    ("id", arrow.string()), ("vae_latent_bytes", arrow.binary()), ("vae_latent_shape", arrow.list_(arrow.int64())),
    ("vae_latent_dtype", arrow.string()), ("text_embedding_bytes", arrow.binary()),
    ("text_embedding_shape", arrow.list_(arrow.int64())), ("text_embedding_dtype", arrow.string()),
    ("file_name", arrow.string()), ("caption", arrow.string()), ("media_type", arrow.string()),
    ("width", arrow.int64()), ("height", arrow.int64()), ("num_frames", arrow.int64()),
    ("duration_sec", arrow.float64()), ("fps", arrow.float64())])


def row(number, normal, text):
    raw = normal * SCALE[0] + SCALE[1]
    padded = np.zeros((512, WIDTH), np.float32)
    padded[: len(text)] = text
    return {"id": str(number), "vae_latent_bytes": raw.tobytes(), "vae_latent_shape": list(SHAPE),
            "vae_latent_dtype": "torch.bfloat16", "text_embedding_bytes": padded.tobytes(),
            "text_embedding_shape": [512, WIDTH], "text_embedding_dtype": "x", "file_name": f"{number}.mp4",
            "caption": f"clip {number} é", "media_type": "video", "width": 48, "height": 32, "num_frames": 9,
            "duration_sec": 0.5, "fps": 16.0}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd", row_group_size=4)


def convert(*arguments):
    return subprocess.run([sys.executable, REPOSITORY / "launch/import_parquet.py", *map(str, arguments)],
                          capture_output=True, text=True, timeout=60)


def samples(count):
    draw = np.random.default_rng(0)
    return ([draw.standard_normal(SHAPE).astype(np.float32) for _ in range(count)],
            [draw.standard_normal((3 + i % 4, WIDTH)).astype(np.float32) for i in range(count)])


def test_raw_latents_are_normalised_and_texts_cut(tmp_path):
    clips, texts = samples(13)
    rows = [row(i, clip, text) for i, (clip, text) in enumerate(zip(clips, texts))]
    rows[5]["vae_latent_bytes"] = rows[5]["vae_latent_bytes"][:-4]
    rows[9]["caption"] = None
    write(tmp_path / "in/worker_0/a.parquet", rows[:10])
    write(tmp_path / "in/worker_1/b.parquet", rows[10:])
    out = tmp_path / "out.h5"
    done = convert("--in", tmp_path / "in", "--out", out, "--zero-empty")
    assert done.returncode == 0, done.stderr
    kept = [i for i in range(13) if i not in (5, 9)]
    with h5py.File(out) as file:
        stored = torch.from_numpy(file["latents"][:]).view(torch.bfloat16)
        wanted = torch.stack([torch.from_numpy(clips[i]).transpose(0, 1) for i in kept])
        # To raw and back in fp32, and then to the nearest bf16: half of 2^-7 of a value.
        assert ((stored.float() - wanted).abs() <= 2**-8 * wanted.abs() + 1e-5).all()
        cuts = file["text/offsets"][:]
        for place, i in enumerate(kept):
            assert np.array_equal(file["text/embeddings"][cuts[place] : cuts[place + 1]], texts[i])
        assert [c.decode() for c in file["captions"]] == [f"clip {i} é" for i in kept]
    with open(tmp_path / "out.skipped.csv") as listed:
        assert [entry["file"] for entry in csv.DictReader(listed)] == [f"worker_0/a.parquet row {i}" for i in (5, 9)]
    # Its pictures need the codec's weights, which an import does not have.
    assert "read: 11 of 11 clips" in run("data", "inspect", out).stdout


def test_what_cannot_be_used_is_one_line(tmp_path):
    def refused(mention, *extra):
        done = convert("--in", tmp_path / "in", "--out", tmp_path / "no.h5", *extra)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and mention in done.stderr, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["in"]

    (tmp_path / "in").mkdir()
    refused("no .parquet")
    clips, texts = samples(2)
    rows = [row(i, clip, text) for i, (clip, text) in enumerate(zip(clips, texts))]
    write(tmp_path / "in/a.parquet", rows)
    refused("raw", "--as-they-are")
    for entry, clip in zip(rows, clips):
        entry["vae_latent_bytes"] = clip.tobytes()
    write(tmp_path / "in/a.parquet", rows)
    refused("--as-they-are")
    parquet.write_table(arrow.table({"caption": ["x"]}), tmp_path / "in/a.parquet")
    refused("has no column")
    (tmp_path / "in/a.parquet").write_bytes(b"PAR1 but nothing else")
    refused("cannot be read")
