"""Makes `reference` and `program` importable and keeps the tests on one thread each."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402  (after the thread count is set)

torch.set_num_threads(1)
