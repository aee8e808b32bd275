"""Encodes and decodes a clip with `vmla vae` and with diffusers' AutoencoderKLWan on the CPU: time and peak memory.

    .venv/bin/python bench/vae.py [--threads 2] [--rounds 3] [--only full] [--json FILE]

Random weights: the true widths at 96 x 160 and 17 frames, and a quarter of them at 480 x 832 and 33 frames. diffusers
as it comes: eager, no tiles. Each measurement is a process of its own, ours and theirs in turn, round after round.

Time: what a clip takes less what its first frame alone takes, by the frames in between, so that starting and reading
weights do not count. As wall-clock time, and as the processor's time of all threads, on which other programs of the
machine have less influence. The median of the rounds, and of the rounds' ratios with the least and the largest.

Memory: the most anonymous memory (RssAnon, looked at every 4 ms): activations, and what a program copies of the
weights, whose file both map. Also less what each program has before it does anything, its libraries: 0.4 GB of Python
modules count for us otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

REPOSITORY = Path(__file__).resolve().parents[1]
VMLA = Path(os.environ.get("VMLA", REPOSITORY / "build" / "vmla"))
CASES = {"full width, 96x160, 17 frames": (96, 96, 160, 17), "quarter width, 480x832, 33 frames": (24, 480, 832, 33)}

PEER = """
import sys, torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
if sys.argv[1] == "nothing": sys.exit()
torch.set_num_threads(int(sys.argv[4])); torch.set_grad_enabled(False)
vae = AutoencoderKLWan.from_pretrained(sys.argv[2]).eval()
given = next(iter(load_file(sys.argv[3]).values()))
if sys.argv[1] == "encode":
    vae.encode(given).latent_dist.mode()
else:
    vae.decode(given.transpose(1, 2)).sample
"""


class Measured(NamedTuple):
    wall: float  # seconds
    cpu: float  # seconds of all threads
    peak: int  # bytes of anonymous memory


def anonymous_bytes(pid: int) -> int:
    """Now; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def measured(command: list, threads: int, expected_status: int = 0) -> Measured:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    begin = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([str(c) for c in command], stdout=quiet, stderr=quiet, env=environment)
    peak, ended = 0, 0
    while not ended:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(0.004)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if os.waitstatus_to_exitcode(status) != expected_status:
        sys.exit(f"failed: {command}")
    return Measured(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, peak)


def make_inputs(folder: Path, width: int, height: int, columns: int, frames: int) -> None:
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    AutoencoderKLWan(base_dim=width).save_pretrained(folder / "vae")
    for count in (1, frames):
        pixels = torch.rand(1, 3, count, height, columns) * 2 - 1
        save_file({"pixels": pixels}, folder / f"encode_{count}.safetensors")
        latents = torch.randn(1, 1 + count // 4, 16, height // 8, columns // 8)
        save_file({"latents": latents}, folder / f"decode_{count}.safetensors")


def commands(folder: Path, way: str, count: int, threads: int) -> dict[str, list]:
    source = folder / f"{way}_{count}.safetensors"
    weights = ["--weights", folder / "vae"]
    return {
        "vmla": [VMLA, "vae", way, *weights, "--input", source, "--output", folder / "out.safetensors"],
        "diffusers": [sys.executable, "-c", PEER, way, folder / "vae", source, threads],
    }


def idle_peaks(folder: Path) -> dict[str, int]:
    """The anonymous memory of programs that only load their libraries."""
    (folder / "empty").mkdir()
    ours = commands(folder, "decode", 1, 1)["vmla"]
    ours[ours.index(folder / "vae")] = folder / "empty"  # is refused once everything is loaded
    theirs = commands(folder, "nothing", 1, 1)["diffusers"]
    return {"vmla": measured(ours, 1, expected_status=2).peak, "diffusers": measured(theirs, 1).peak}


def compare(folder: Path, way: str, frames: int, threads: int, rounds: int) -> dict:
    """Of each program the rounds' milliseconds a frame, and the largest peak."""
    result = {name: {"ms_per_frame": [], "cpu_ms_per_frame": [], "peak_bytes": 0} for name in ("vmla", "diffusers")}
    for _ in range(rounds):
        for name, row in result.items():
            first, clip = (measured(commands(folder, way, count, threads)[name], threads) for count in (1, frames))
            row["ms_per_frame"].append(1e3 * (clip.wall - first.wall) / (frames - 1))
            row["cpu_ms_per_frame"].append(1e3 * (clip.cpu - first.cpu) / (frames - 1))
            row["peak_bytes"] = max(row["peak_bytes"], clip.peak)
    return result


def ratio(row: dict, key: str) -> str:
    """Ours by theirs: the rounds' median, least and largest."""
    ratios = [ours / theirs for ours, theirs in zip(row["vmla"][key], row["diffusers"][key])]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def report(case: str, row: dict, frames: int) -> None:
    ours, theirs, idle = row["vmla"], row["diffusers"], row["idle_bytes"]

    def pair(key: str, scale=lambda x: x, digits: int = 0) -> str:
        return " : ".join(f"{scale(statistics.median(side[key])):.{digits}f}" for side in (ours, theirs))

    busy = [side["peak_bytes"] - idle[name] for name, side in (("vmla", ours), ("diffusers", theirs))]
    print(
        f"{case}, vmla : diffusers\n"
        f"  ms/frame    {pair('ms_per_frame')} = {ratio(row, 'ms_per_frame')}; "
        f"of processors {pair('cpu_ms_per_frame')} = {ratio(row, 'cpu_ms_per_frame')}\n"
        f"  clips/s     {pair('ms_per_frame', lambda ms: 1e3 / (ms * frames), 4)}\n"
        f"  peak MB     {ours['peak_bytes'] / 1e6:.0f} : {theirs['peak_bytes'] / 1e6:.0f} = "
        f"{ours['peak_bytes'] / theirs['peak_bytes']:.2f}; "
        f"above libraries {busy[0] / 1e6:.0f} : {busy[1] / 1e6:.0f} = {busy[0] / busy[1]:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases that begin so")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = {}
    for case, sizes in CASES.items():
        if not case.startswith(args.only):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_inputs(folder, *sizes)
            idle = idle_peaks(folder)
            for way in ("decode", "encode"):
                row = compare(folder, way, sizes[-1], args.threads, args.rounds)
                row["idle_bytes"] = idle
                results[f"{case}, {way}"] = row
                report(f"{case}, {way}", row, sizes[-1])
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
