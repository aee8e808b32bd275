"""Seconds to open and to inspect datasets of many clips: both must grow with their number, not with its square.

    .venv/bin/python bench/open_dataset.py [--clips 10000 100000 1000000] [--sealed] [--json bench/open_dataset.json]

h5py writes the files: clips of [3, 12, 2, 2], one to three rows of text, different captions. With `--sealed` each gets
the seal that the program writes (docs/formats.md), so that every clip is compared with its digest when it is read.
`open` is reading the index in vmla-hdf5, `inspect` the whole command, `full` the same with every clip read. Status 1 if
opening or inspecting takes more than 2 s for each 100,000 clips, and 2 s at least.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "python"))

from program import ENVIRONMENT, VMLA  # noqa: E402
from sealed_dataset import seal_of  # noqa: E402

SHAPE = (3, 12, 2, 2)
TEXT_DIM = 8


def write(path: Path, clips: int) -> None:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(1 + np.arange(clips) % 3)]).astype(np.int64)
    with h5py.File(path, "w") as file:
        latents = file.create_dataset("latents", (clips, *SHAPE), np.uint16, chunks=(1, *SHAPE))
        latents.attrs["dtype"] = "bfloat16"
        for first in range(0, clips, 10000):
            numbers = rng.standard_normal((min(10000, clips - first), *SHAPE), np.float32)
            latents[first : first + len(numbers)] = (numbers.view(np.uint32) >> 16).astype(np.uint16)
        file["text/embeddings"] = rng.standard_normal((int(offsets[-1]), TEXT_DIM), np.float32)
        file["text/offsets"] = offsets
        file["text/empty"] = np.zeros((1, TEXT_DIM), np.float32)
        texts = h5py.string_dtype("utf-8")
        captions = np.array([f"the {i % 977}th shape moves to place {i}" for i in range(clips)], object)
        file.create_dataset("captions", data=captions, dtype=texts)
        sources = np.empty(clips, np.dtype([("file", texts), ("first_frame", np.int64)]))
        sources["file"] = [f"{i // 10:07}.mp4" for i in range(clips)]
        sources["first_frame"] = np.arange(clips) % 10
        file["source"] = sources
        # The true hash, or the last check of `inspect` refuses the contact sheet.
        file.attrs.update(
            format_version=1,
            codec="space_to_depth:2",
            codec_hash=codec_hash(),
            text_encoder="hashing:8x8",
            text_encoder_hash="0" * 64,
            fps=8.0,
            pixel_size=np.array([4, 4]),
            pixel_frames=np.int64(3),
        )


def codec_hash() -> str:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [VMLA, "data", "synth", "--out", f"{folder}/v", "--count", "1"], check=True, capture_output=True, env=ENVIRONMENT
        )
        subprocess.run(
            [VMLA, "data", "encode", "--videos", f"{folder}/v", "--out", f"{folder}/a.h5", "--codec", "space_to_depth:2"],
            check=True,
            capture_output=True,
            env=ENVIRONMENT,
        )
        with h5py.File(f"{folder}/a.h5") as file:
            return str(file.attrs["codec_hash"])


def seconds(command: list, path: Path) -> float:
    begin = time.monotonic()
    with path.open("rb") as file:
        done = subprocess.run([str(word) for word in command], stdin=file, capture_output=True, env=ENVIRONMENT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:].decode()}")
    return time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10000, 100000, 1000000])
    parser.add_argument("--sealed", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results, slow = [], False
    for clips in arguments.clips:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.h5"
            write(path, clips)
            if arguments.sealed:
                seal = seal_of(path, path.stat().st_size)
                with path.open("ab") as file:
                    file.write(seal)
            inspect = [VMLA, "data", "inspect", path, "--sheet", Path(folder) / "a.png"]
            state = "sealed" if arguments.sealed else "unsealed"
            found = {
                "clips": clips,
                "sealed": arguments.sealed,
                "file_bytes": path.stat().st_size,
                "open": seconds([VMLA.parent / "vmla-hdf5", path, "index", state], path),
                "inspect": seconds(inspect, path),
                "full": seconds([*inspect, "--full"], path),
            }
        results.append(found)
        limit = max(2.0, 2.0 * clips / 100000)
        slow = slow or found["open"] > limit or found["inspect"] > limit
        print(
            f"{clips:8} clips, {found['file_bytes'] / 1e6:7.1f} MB: open {found['open']:.2f} s, "
            f"inspect {found['inspect']:.2f} s, --full {found['full']:.2f} s",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
