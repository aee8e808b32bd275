"""The seal behind a latent dataset, from docs/formats.md."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import h5py
import numpy as np


def clip_ranges(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """[n, 2] bytes of each clip of /latents, and of its rows of /text/embeddings."""
    with h5py.File(path) as file:
        latents, text = file["latents"], file["text/embeddings"]
        places = []
        latents.id.chunk_iter(lambda chunk: places.append((chunk.chunk_offset[0], chunk.byte_offset)))
        begin = np.array([offset for _, offset in sorted(places)], np.uint64)
        rows = file["text/offsets"][:].astype(np.uint64) * np.uint64(text.shape[1] * 4) + np.uint64(text.id.get_offset())
        return np.stack([begin, begin + np.uint64(latents[0].nbytes)], 1), np.stack([rows[:-1], rows[1:]], 1)


def joined(ranges: np.ndarray) -> np.ndarray:
    """Sorted, and those that touch as one."""
    ranges = ranges[np.argsort(ranges[:, 0])]
    first = np.concatenate([[True], ranges[1:, 0] != ranges[:-1, 1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([ranges[first, 0], ranges[last, 1]], 1)


def seal_of(path: Path, sealed: int) -> bytes:
    """The seal of a dataset without ODE states whose HDF5 data ends at byte `sealed`."""
    latents, text = clip_ranges(path)
    data = np.memmap(path, np.uint8, "r")
    digests = b"".join(
        hashlib.sha256(data[begin:end]).digest() for ranges in (latents, text) for begin, end in ranges.tolist()
    )
    digests += struct.pack("<QQ8s", len(latents), 0b101, b"vmladgst")
    ranges = joined(np.concatenate([latents, text]))
    hashed, at = hashlib.sha256(), 0
    for begin, end in ranges.tolist():
        hashed.update(data[at:begin])
        at = end
    hashed.update(data[at:sealed])
    hashed.update(digests)
    size = sealed + len(digests)
    hashed.update(struct.pack("<Q", size) + ranges.astype("<u8").tobytes())
    footer = struct.pack("<QQ", size, len(ranges)) + hashed.hexdigest().encode() + b"vmlaseal"
    return digests + ranges.astype("<u8").tobytes() + footer
