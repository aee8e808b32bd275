"""Encodes and decodes a clip with `vmla vae` and with diffusers' AutoencoderKLWan on the CPU: time and peak memory.

    .venv/bin/python bench/vae.py [--threads 2] [--rounds 3] [--json FILE]

Random weights: the true widths at 96 x 160 and 17 frames, and a quarter of them at 480 x 832 and 33 frames. Each
measurement is a process of its own, ours and theirs in turn. Milliseconds a frame are those of the clip less those of
its first frame alone, by the frames in between, so that starting and reading weights do not count; of all rounds the
least is taken. The peak memory is the process's whole resident memory, weights and interpreter included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

REPOSITORY = Path(__file__).resolve().parents[1]
VMLA = Path(os.environ.get("VMLA", REPOSITORY / "build" / "vmla"))
CASES = {"full width, 96x160, 17 frames": (96, 96, 160, 17), "quarter width, 480x832, 33 frames": (24, 480, 832, 33)}

PEER = """
import sys, time, torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
torch.set_num_threads(int(sys.argv[4])); torch.set_grad_enabled(False)
vae = AutoencoderKLWan.from_pretrained(sys.argv[2]).eval()
given = next(iter(load_file(sys.argv[3]).values()))
if sys.argv[1] == "encode":
    vae.encode(given).latent_dist.mode()
else:
    vae.decode(given.transpose(1, 2)).sample
"""


def measured(command: list, threads: int) -> tuple[float, int]:
    """Seconds and peak resident bytes of a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    begin = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed: {command}")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def make_inputs(folder: Path, width: int, height: int, columns: int, frames: int) -> None:
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    AutoencoderKLWan(base_dim=width).save_pretrained(folder / "vae")
    for count in (1, frames):
        pixels = torch.rand(1, 3, count, height, columns) * 2 - 1
        save_file({"pixels": pixels}, folder / f"encode_{count}.safetensors")
        latents = torch.randn(1, 1 + count // 4, 16, height // 8, columns // 8)
        save_file({"latents": latents}, folder / f"decode_{count}.safetensors")


def compare(folder: Path, way: str, frames: int, threads: int, rounds: int) -> dict:
    """The least seconds of each, and the largest peak, over all rounds."""
    seconds: dict = {}
    peaks: dict = {}
    for _ in range(rounds):
        for count in (1, frames):
            source = folder / f"{way}_{count}.safetensors"
            ours = [VMLA, "vae", way, "--weights", folder / "vae", "--input", source, "--output", folder / "out.safetensors"]
            theirs = [sys.executable, "-c", PEER, way, folder / "vae", source, threads]
            for name, command in (("vmla", ours), ("diffusers", theirs)):
                took, peak = measured(command, threads)
                seconds[name, count] = min(took, seconds.get((name, count), took))
                peaks[name] = max(peak, peaks.get(name, 0))
    result = {}
    for name in ("vmla", "diffusers"):
        clip = seconds[name, frames] - seconds[name, 1]
        result[name] = {"ms_per_frame": 1e3 * clip / (frames - 1), "clips_per_second": 1 / clip, "peak_bytes": peaks[name]}
    return result


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
            make_inputs(Path(temporary), *sizes)
            for way in ("decode", "encode"):
                row = results[f"{case}, {way}"] = compare(Path(temporary), way, sizes[-1], args.threads, args.rounds)
                ours, theirs = row["vmla"], row["diffusers"]
                print(
                    f"{case}, {way}: {ours['ms_per_frame']:.1f} ms/frame, {ours['clips_per_second']:.4f} clips/s, "
                    f"{ours['peak_bytes'] / 1e9:.2f} GB; diffusers {theirs['ms_per_frame']:.1f}, "
                    f"{theirs['clips_per_second']:.4f}, {theirs['peak_bytes'] / 1e9:.2f} GB",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
