#!/usr/bin/env python3
"""Turns FastVideo's parquet files of latents into a latent dataset of vmla (docs/formats.md).

    launch/import_parquet.py --in FOLDER --out FILE.h5 [--fps 16] [--zero-empty] [--as-they-are]

FOLDER is searched for *.parquet. Needed are the columns vae_latent_bytes, vae_latent_shape, text_embedding_bytes,
text_embedding_shape and caption, as FastVideo's preprocessing writes them: float32 whatever their dtype columns say,
latents [C, F, H, W] as the VAE computes them, text [L, width] padded with zeros. Here latents are normalised, and the
padding is cut off. Rows that cannot be used are left out and listed in FILE.skipped.csv.

    --zero-empty    store a row of zeros as the empty prompt, which is what FastVideo trains with when it drops a
                    caption; Wan's empty prompt is another (vmla text encode). Without it, data.caption_dropout is refused.
    --as-they-are   the latents are normalised already

Needs pyarrow, h5py and numpy. Status 0: done; 2: something is wrong with the input, in one line.
"""

import argparse
import csv
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

# Means and deviations by channel of Wan 2.1's latents.
MEAN = np.array([-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
                 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921], np.float32)
DEVIATION = np.array([2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                      3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160], np.float32)
TEXT_COLUMNS = ["text_embedding_bytes", "text_embedding_shape", "caption"]
LATENT_COLUMNS = ["vae_latent_bytes", "vae_latent_shape"]
CLIPS_FOR_SCALE = 16


class UserError(Exception):
    """What is wrong with the input, in one line."""


def as_array(content, shape, dimensions, what):
    """float32 numbers of a row's two columns; ValueError says why they are none."""
    if content is None or shape is None:
        raise ValueError(f"has no {what}")
    if len(shape) != dimensions or min(shape) < 1:
        raise ValueError(f"its {what} has the shape {shape}, not {dimensions} sizes")
    if len(content) != 4 * int(np.prod([int(size) for size in shape], dtype=object)):
        raise ValueError(f"its {what} has {len(content)} bytes, which are not float32 {shape}")
    numbers = np.frombuffer(content, np.float32).reshape(shape)
    if not np.isfinite(numbers).all():
        raise ValueError(f"its {what} holds NaN or infinity")
    return numbers


def text_of(row):
    """The rows of an embedding without the zeros behind them; the first is kept even if it is zero."""
    numbers = as_array(row["text_embedding_bytes"], row["text_embedding_shape"], 2, "text embedding")
    used = np.flatnonzero(numbers.any(axis=1))
    return numbers[: used[-1] + 1 if used.size else 1]


def latents_of(row):
    """[F, C, H, W] as stored."""
    numbers = as_array(row["vae_latent_bytes"], row["vae_latent_shape"], 4, "latent")
    if numbers.shape[0] != len(MEAN):
        raise ValueError(f"its latent has {numbers.shape[0]} channels, not {len(MEAN)}")
    return numbers.transpose(1, 0, 2, 3)


def normalised(latents):
    return (latents - MEAN[:, None, None]) / DEVIATION[:, None, None]


def bf16_bits(numbers):
    """Bit patterns of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def distance_from_normal(clips):
    """How far the channels are from mean 0 and deviation 1: mean squares of means and of logarithms of deviations."""
    channels = np.concatenate([clip.transpose(1, 0, 2, 3).reshape(len(MEAN), -1) for clip in clips], axis=1)
    return float(np.mean(channels.mean(1) ** 2 + np.log(np.maximum(channels.std(1), 1e-6)) ** 2))


def check_scale(clips, as_they_are, folder):
    stored, after = distance_from_normal(clips), distance_from_normal([normalised(clip) for clip in clips])
    if min(stored, after) > 1:
        print(f"import_parquet: {folder}: by their means and deviations the latents are no Wan 2.1 latents", file=sys.stderr)
    elif as_they_are and after < stored:
        raise UserError(f"{folder}: the latents are raw, by their means and deviations; leave out --as-they-are")
    elif not as_they_are and stored < after:
        raise UserError(f"{folder}: the latents are normalised already, by their means and deviations; give --as-they-are")


def rows_of(files, columns):
    """(file, number of the row in it, row) of all files, a few rows in memory at a time."""
    for path in files:
        try:
            table = parquet.ParquetFile(path)
            missing = sorted(set(columns) - set(table.schema_arrow.names))
            if missing:
                raise UserError(f"{path}: has no column {missing[0]}; these are not latents of FastVideo with text")
            number = 0
            for batch in table.iter_batches(batch_size=8, columns=columns):
                for row in batch.to_pylist():
                    yield path, number, row
                    number += 1
        except (arrow.ArrowException, OSError) as error:
            raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from error


def look_through(files, options):
    """First pass: which rows are good, their captions and numbers of text rows, and the shapes they share."""
    good, skipped, clips = [], [], []
    shape = width = None
    for path, number, row in rows_of(files, TEXT_COLUMNS + LATENT_COLUMNS):
        name = str(path.relative_to(options.folder))
        try:
            text, latents = text_of(row), latents_of(row)
            if row["caption"] is None:
                raise ValueError("has no caption")
            if shape is None:
                shape, width = latents.shape, text.shape[1]
            if latents.shape != shape or text.shape[1] != width:
                raise ValueError(f"has the shapes {latents.shape} and {text.shape}, the first row {shape} and width {width}")
        except ValueError as error:
            skipped.append((f"{name} row {number}", str(error)))
            continue
        if len(clips) < CLIPS_FOR_SCALE:
            clips.append(latents.copy())
        good.append((name, number, row["caption"], len(text)))
    if not good:
        first = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise UserError(f"{options.folder}: none of {len(skipped)} rows can be used{first}")
    check_scale(clips, options.as_they_are, options.folder)
    return good, skipped, shape, width


def write(path, files, good, shape, width, options):
    """Second pass: the dataset at `path`."""
    text = h5py.string_dtype("utf-8")
    offsets = np.concatenate([[0], np.cumsum([rows for *_, rows in good])]).astype(np.int64)
    frames, _, height, columns = shape
    with h5py.File(path, "w") as out:
        latents = out.create_dataset("latents", (len(good), *shape), np.uint16, chunks=(1, *shape))
        latents.attrs["dtype"] = "bfloat16"
        out["captions"] = np.array([caption for _, _, caption, _ in good], dtype=text)
        out["source"] = np.array([(name, number) for name, number, *_ in good],
                                 dtype=np.dtype([("file", text), ("first_frame", np.int64)]))
        out["text/offsets"] = offsets
        embeddings = out.create_dataset("text/embeddings", (int(offsets[-1]), width), np.float32)
        if options.zero_empty:
            out["text/empty"] = np.zeros((1, width), np.float32)
        # The encoders' weights are not known, so neither are their hashes.
        out.attrs.update(format_version=1, codec="wan-vae", codec_hash="", text_encoder="umt5", text_encoder_hash="",
                         fps=float(options.fps), pixel_size=np.array([8 * height, 8 * columns], np.int64),
                         pixel_frames=np.int64(1 + 4 * (frames - 1)), origin=f"imported from {options.folder.name}")
        place = 0
        for file, number, row in rows_of(files, TEXT_COLUMNS + LATENT_COLUMNS):
            if place == len(good) or (str(file.relative_to(options.folder)), number) != good[place][:2]:
                continue
            clip = latents_of(row)
            latents[place] = bf16_bits(clip if options.as_they_are else normalised(clip))
            embeddings[offsets[place] : offsets[place + 1]] = text_of(row)
            place += 1


def run(options):
    files = sorted(options.folder.rglob("*.parquet")) if options.folder.is_dir() else []
    if not files:
        raise UserError(f"{options.folder}: holds no .parquet file")
    if options.out.exists():
        raise UserError(f"{options.out}: is there already; remove it, or give another --out")
    good, skipped, shape, width = look_through(files, options)
    unfinished = options.out.with_name(f".{options.out.name}.{os.getpid()}")
    try:
        write(unfinished, files, good, shape, width, options)
        with open(unfinished, "rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, options.out)
    finally:
        unfinished.unlink(missing_ok=True)
    if skipped:
        with open(options.out.with_suffix(".skipped.csv"), "w", newline="") as listed:
            csv.writer(listed).writerows([("file", "reason"), *skipped])
    print(f"{options.out}: {len(good)} clips, {len(skipped)} rows left out")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in", dest="folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fps", type=float, default=16.0)
    parser.add_argument("--zero-empty", action="store_true")
    parser.add_argument("--as-they-are", action="store_true")
    try:
        run(parser.parse_args())
    except UserError as error:
        print(f"import_parquet: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
