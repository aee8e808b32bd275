#!/usr/bin/env python3
"""How long pages take to write and runs to compare, by the length of the run.

    python3 bench/report_scale.py [--megabytes 25 50 100 200] [--checkpoints 500] [--vmla build/vmla]

Makes run folders with so many megabytes of metrics.jsonl, and so many folders of checkpoints and samples. Takes the
processor's seconds of `bench_report RUN` (the run's report.html; build it with `ninja -C build bench_report`) and
`vmla compare RUN RUN --out`. Near linear means that a megabyte costs the same in the longest run as in the shortest;
the last lines say the ratio of the two.

Measured on a shared core of an Intel Xeon with 500 checkpoints, 25 and 200 MB (473,432 steps): report 1.45 and 8.80 s,
compare of the run with itself 1.45 and 9.96 s, at most 0.63 GB of memory.
"""

import argparse
import json
import math
import random
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """stage: tf
model: {attention: mla, kv_lora_rank: 24}
objective: {name: teacher_forcing}
train: {steps: 1000000}
"""


def write_run(folder: Path, megabytes: float, checkpoints: int) -> int:
    """A run of one stage; returns its steps."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    draw = random.Random(1)
    step, size = 0, 0
    with open(folder / "metrics.jsonl", "w") as file:
        while size < megabytes * 1e6:
            step += 1
            loss = 1 / math.sqrt(step) + 0.01 * draw.random()
            values = {"step": step, "stage": "tf", "loss": loss, "grad_norm": 1 + 0.1 * draw.random(), "lr": 1e-3}
            for phase in ("data", "forward", "backward", "update", "step"):
                values[f"time_{phase}"] = 0.01 * (1 + draw.random())
            if step % 50 == 0:
                values["validation_loss"] = loss
            values |= {"tokens_per_second": 3000 + draw.random(), "tflops": 0.1, "mfu": 0.25}
            values |= {"memory_peak_bytes": 200000000, "tensor_peak_bytes": 14000000}
            size += file.write(json.dumps(values) + "\n")
    for i in range(checkpoints):
        number = (i + 1) * max(1, step // checkpoints)
        (folder / "checkpoints" / f"step_{number}").mkdir(parents=True)
        (folder / "checkpoints" / f"step_{number}" / "manifest.json").write_text("{}")
        samples = folder / "samples" / f"step_{number}"
        samples.mkdir(parents=True)
        (samples / "samples.json").write_text("[]")
    summary = {"adherence": {"clips": 96, "colour": 1, "shape": 0.5, "direction": 1, "present": 1}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return step


def seconds_of(command: list) -> float:
    """Of processor, the command's and its children's: other programs beside it do not count."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = used()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr[-500:]}"
    return used() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--checkpoints", type=int, default=500)
    parser.add_argument("--vmla", type=Path, default=ROOT / "build" / "vmla")
    parser.add_argument("--bench-report", type=Path, default=ROOT / "build" / "bench_report")
    args = parser.parse_args()
    rates = {"report": [], "compare": []}
    print(f"{'MB':>6} {'steps':>9} {'report s':>9} {'compare s':>10}   ({args.checkpoints} checkpoints)")
    for megabytes in args.megabytes:
        folder = Path(tempfile.mkdtemp(prefix="report_scale_"))
        try:
            steps = write_run(folder / "run", megabytes, args.checkpoints)
            report = seconds_of([args.bench_report, folder / "run"])
            compare = seconds_of([args.vmla, "compare", folder / "run", folder / "run", "--out", folder / "out"])
        finally:
            shutil.rmtree(folder)
        rates["report"].append(report / megabytes)
        rates["compare"].append(compare / megabytes)
        print(f"{megabytes:6g} {steps:9d} {report:9.2f} {compare:10.2f}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    for name, rate in rates.items():
        print(f"{name}: {1e3 * rate[-1]:.1f} ms a megabyte in the longest, {rate[-1] / rate[0]:.2f} times the shortest's")
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
