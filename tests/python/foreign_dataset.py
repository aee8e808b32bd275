"""A latent dataset written with h5py alone, from docs/formats.md."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch


def write_dataset(
    path: Path, *, clips=12, frames=9, channels=12, side=8, text_dim=32, seed=0, ode_times=None, ode_fp32=False
) -> Path:
    """Random latents and texts of 3 to 6 tokens in the shape of the tiny pipeline, and random ODE states."""
    g = torch.Generator().manual_seed(seed)
    latents = (0.5 * torch.randn((clips, frames, channels, side, side), generator=g)).bfloat16()
    lengths = [3 + i % 4 for i in range(clips)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(
            "latents",
            data=latents.view(torch.int16).numpy().view(np.uint16),
            chunks=(1, frames, channels, side, side),
        )
        stored.attrs["dtype"] = "bfloat16"
        if ode_times is not None:
            shape = (len(ode_times), frames, channels, side, side)
            states = torch.randn((clips, *shape), generator=g)
            if ode_fp32:
                file.create_dataset("ode", data=states.numpy(), chunks=(1, *shape))
            else:
                bits = states.bfloat16().view(torch.int16).numpy().view(np.uint16)
                file.create_dataset("ode", data=bits, chunks=(1, *shape)).attrs["dtype"] = "bfloat16"
            file["ode_times"] = np.array(ode_times, dtype=np.float64)
        file["text/embeddings"] = torch.randn((int(offsets[-1]), text_dim), generator=g).numpy()
        file["text/offsets"] = offsets
        file["text/empty"] = torch.randn((1, text_dim), generator=g).numpy()
        file.create_dataset("captions", data=[f"clip {i}" for i in range(clips)], dtype=h5py.string_dtype("utf-8"))
        source = np.dtype([("file", h5py.string_dtype("utf-8")), ("first_frame", np.int64)])
        file["source"] = np.array([(f"{i}.mp4", 0) for i in range(clips)], dtype=source)
        file.attrs.update(
            format_version=1,
            codec="space_to_depth:2",
            codec_hash="0" * 64,
            text_encoder="hashing:32x8",
            text_encoder_hash="0" * 64,
            fps=8.0,
            pixel_size=np.array([2 * side, 2 * side], dtype=np.int64),
            pixel_frames=np.int64(frames),
        )
    return path
