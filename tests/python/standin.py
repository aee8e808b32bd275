"""Training on the stand-in accelerator (tests/standin): the programs with `train.device: cuda`, on a GPU that the host plays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from program import ENVIRONMENT, REPOSITORY, VMLA
from tiny_stage import metrics, train_arguments

FOLDER = VMLA.with_name("standin")
PROGRAM = FOLDER / "vmla"


def environment(devices: int = 1, trace: Path | None = None, **extra) -> dict:
    found = {**ENVIRONMENT, "LD_LIBRARY_PATH": str(FOLDER / "driver"), "STANDIN_DEVICES": str(devices), **extra}
    return found if trace is None else {**found, "STANDIN_TRACE": str(trace)}


def run_standin(command: list, timeout: float = 120, **options) -> subprocess.CompletedProcess:
    """Runs a command of the stand-in's folder to its end; any exit status is returned."""
    words = [str(word) for word in command]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, env=environment(**options), cwd=REPOSITORY
    )


def succeeded(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def train_on_standin(stage: str, run_dir: Path, data: Path, weights: Path | None = None, trace=None, **settings) -> Path:
    """`vmla train` of a tiny stage on the stand-in, which must succeed."""
    settings = {"train__device": "cuda", **settings}
    succeeded(run_standin([PROGRAM, *train_arguments(stage, run_dir, data, weights, **settings)], trace=trace))
    return run_dir


def largest_difference(one: Path, other: Path, kind: str) -> float:
    """Of two runs, relative, over all figures whose names begin with `kind`."""
    first, second = metrics(one), metrics(other)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    found = [
        abs(a[key] - b[key]) / abs(a[key])
        for a, b in zip(first, second)
        for key in a
        if key.startswith(kind) and a[key] is not None
    ]
    assert found
    return max(found)


def memory_ratio(run: Path) -> float:
    """The plan's bytes over the most that any step had on the device."""
    return json.loads((run / "summary.json").read_text())["memory"]["ratio"]
