"""The distilled tiny stages, cut down to a few steps: what they start from and what they write."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from tiny_stage import train, train_arguments


def settings(stage: str, dense_run: Path, **changed) -> dict:
    """Every run starts from the same few steps of the stages before."""
    return ({"init_from__real_score": str(dense_run)} if stage == "dmd" else {}) | changed


def distil(stage: str, folder: Path, data: Path, student: Path, dense_run: Path, **changed) -> Path:
    return train(stage, folder, data, student, **settings(stage, dense_run, **changed))


def distil_arguments(stage: str, folder: Path, data: Path, student: Path, dense_run: Path, **changed) -> list:
    return train_arguments(stage, folder, data, student, **settings(stage, dense_run, **changed))


def role_tensors(run_dir: Path, step: int, role: str) -> dict:
    return load_file(run_dir / "checkpoints" / f"step_{step}" / f"{role}.safetensors")
