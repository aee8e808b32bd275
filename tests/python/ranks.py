"""Starts commands on several ranks, the way a user does: through vmla-launch."""

from __future__ import annotations

import subprocess
from pathlib import Path

from program import ENVIRONMENT, REPOSITORY, VMLA
from tiny_stage import train_arguments

LAUNCH = VMLA.with_name("vmla-launch")


def launch_command(ranks: int, arguments: list, *flags, program=(VMLA,)) -> list[str]:
    command = [LAUNCH, "--standalone", "--nproc-per-node", ranks, *flags, "--", *program, *arguments]
    return [str(part) for part in command]


def start_ranks(ranks: int, arguments: list, *flags, **options) -> subprocess.Popen:
    return subprocess.Popen(
        launch_command(ranks, arguments, *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=REPOSITORY,
        **options,
    )


def run_ranks(
    ranks: int, arguments: list, *flags, timeout: float = 120, program=(VMLA,)
) -> subprocess.CompletedProcess:
    """Runs to the end; any exit status is returned."""
    return subprocess.run(
        launch_command(ranks, arguments, *flags, program=program),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=ENVIRONMENT,
        cwd=REPOSITORY,
    )


def train_on_ranks(ranks: int, stage: str, run_dir: Path, data: Path, weights: Path | None = None, **settings) -> Path:
    """A tiny stage on that many ranks, which must succeed."""
    done = run_ranks(ranks, train_arguments(stage, run_dir, data, weights, **settings))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return run_dir
