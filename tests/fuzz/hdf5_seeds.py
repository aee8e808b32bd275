#!/usr/bin/env python3
"""Writes small dataset files to start the target hdf5_index from: hdf5_seeds.py FOLDER. Needs tests/requirements.txt."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from foreign_dataset import write_dataset  # noqa: E402  (after its folder is known)

SMALL = {"clips": 2, "frames": 1, "channels": 2, "side": 2, "text_dim": 4}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write_dataset(folder / "clips.h5", **SMALL)
    write_dataset(folder / "ode.h5", **SMALL, ode_times=(1.0, 0.5))
