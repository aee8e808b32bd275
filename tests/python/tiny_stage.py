"""The tiny stages of configs/tiny, cut down to seconds: a small dataset of moving shapes and a few steps."""

from __future__ import annotations

import json
from pathlib import Path

from program import REPOSITORY, overrides, start, vmla

CONFIGS = REPOSITORY / "configs" / "tiny"

# Everything that a test of a few steps does not need is off; the tests switch on what they look at.
SHORT = {
    "train.steps": 6,
    "train.batch_size": 4,
    "train.micro_batch_size": 4,
    "train.threads": 1,
    "train.log_every": 1,
    "checkpoint.every": 3,
    "validation.every": 0,
    "validation.clips": 2,
    "sample.every": 0,
    "sample.steps": 2,
    "sample.frames": 9,
    "sample.measure_clips": 0,
    "sample.long_frames": 0,
    "rank.every": 0,
}


def make_dataset(folder: Path, count: int, *flags) -> Path:
    """Renders and encodes clips as a user does; returns the dataset's file."""
    videos, file = folder / "videos", folder / "clips.h5"
    vmla("data", "synth", "--out", videos, "--count", count, *flags)
    vmla("data", "encode", "--videos", videos, "--out", file)
    return file


def train_arguments(stage: str, run_dir: Path, data: Path, weights: Path | None = None, **settings) -> list:
    """`vmla train` for a tiny stage; settings are keys with `__` for the dot."""
    changed = {"data.path": str(data), "data.validation_path": str(data)}
    if weights is not None:
        changed["init_from.generator"] = str(weights)
    changed |= SHORT | {key.replace("__", "."): value for key, value in settings.items()}
    return ["train", "--config", CONFIGS / f"{stage}.yaml", "--run-dir", run_dir, *overrides(changed)]


def train(stage: str, run_dir: Path, data: Path, weights: Path | None = None, **settings) -> Path:
    vmla(*train_arguments(stage, run_dir, data, weights, **settings))
    return run_dir


def start_training(stage: str, run_dir: Path, data: Path, weights: Path | None = None, **settings):
    return start(*train_arguments(stage, run_dir, data, weights, **settings))


def metrics(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def last_checkpoint(run_dir: Path) -> Path:
    return (run_dir / "checkpoints" / "latest").resolve()


def saved_steps(run_dir: Path) -> list[int]:
    return sorted(int(folder.name.removeprefix("step_")) for folder in (run_dir / "checkpoints").glob("step_*"))
