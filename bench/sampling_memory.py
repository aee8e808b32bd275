"""Memory and speed over one long sampled video: both must stay where they are after the first chunks.

    .venv/bin/python bench/sampling_memory.py [--minutes 10] [--json bench/sampling_memory.json]

A tiny student (two training steps: neither memory nor speed depends on the weights) samples at 8 frames a second of
video in four steps a chunk, with `--save-latents`. The resident memory of the program, and of the process that writes
the video, is read every 50 ms. Status 1 if the program's grows by more than 2 % between a tenth of the time and the
end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ENVIRONMENT, VMLA
from widened_stages import Workplace

FPS = 8
MIB = 1 << 20


def resident(pid: int) -> int:
    """Bytes; 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="write every reading here")
    args = parser.parse_args()
    frames = round(args.minutes * 60 * FPS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student = Workplace(folder).made("teacher_forcing")
        command = [VMLA, "sample", "--checkpoint", student, "--prompt", "a red circle moves left"]
        command += ["--frames", frames, "--out", folder / "out", "--save-latents"]
        command += ["--sampler", "few_step", "--denoising-steps", "1000,750,500,250"]
        environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, env=environment)
        readings, begin = [], time.monotonic()
        while process.poll() is None:
            rss, writer = resident(process.pid), sum(resident(c) for c in children(process.pid))
            if rss and list(folder.glob("out/.tmp-*")):  # sampling has begun
                readings.append((time.monotonic() - begin, rss, writer))
            time.sleep(0.05)
        if process.returncode != 0:
            sys.exit(f"sampling_memory: vmla sample ended with status {process.returncode}")
        (record,) = json.loads((folder / "out" / "samples.json").read_text())

    start, end = readings[0][0], readings[-1][0]

    def at(share: float) -> tuple[float, int, int]:
        return max(r for r in readings if r[0] <= start + share * (end - start) + 1e-9)

    chunks = record["seconds_per_chunk"]
    print(f"{record['frames']} frames ({record['frames'] / FPS / 60:.1f} min of video) in {end - start:.1f} s, "
          f"{record['frames_per_second']:.0f} frames/s, cache {record['cache_bytes']} bytes")  # fmt: skip
    print(f"{'part':6}{'RSS MiB':>10}{'writer MiB':>12}")
    for share in (0.1, 0.5, 1.0):
        _, rss, writer = at(share)
        print(f"{share:<6.0%}{rss / MIB:10.2f}{writer / MIB:12.2f}")
    for name, part in (("chunks 3 to 52", chunks[2:52]), ("last 50 chunks", chunks[-50:])):
        print(f"{name}: {1000 * statistics.median(part):.2f} ms a chunk (median)")
    if args.json:
        rows = [{"seconds": t, "rss": rss, "writer": writer} for t, rss, writer in readings]
        args.json.write_text(json.dumps({"frames": frames, "readings": rows, "seconds_per_chunk": chunks}) + "\n")
    growth = at(1.0)[1] / at(0.1)[1] - 1
    if growth > 0.02:
        sys.exit(f"sampling_memory: resident memory grew by {growth:.1%}")


if __name__ == "__main__":
    main()
