"""Streaming with latent and with dense attention, side by side: at equal windows, and over ranks at one window.

    .venv/bin/python bench/throughput.py [--pairs 3] [--layers 1] [--size 80] [--frames 21] [--json bench/throughput.json]

Blocks of Wan-1.3B's widths with random weights (speed does not depend on them) sample one video in four steps a chunk
of three frames. A video of 80 x 80 pixels has 400 tokens a frame, Wan at 480 x 832 has 1560: the attention's share
grows with it. Each round runs `vmla sample` once for every row, one process with one thread, and ratios are taken
within a round; above 1 latent attention is faster. Frames a second are latent frames of the last chunk, when the window
is full (or with every frame kept at its longest), passes of the network alone: no start-up, no decoding. The cache is
what a token and layer keep, in numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from measure import ENVIRONMENT, ROOT, VMLA, run, spread
from widened_stages import QUIET

CHUNK = 3
SINK = 1
WINDOW = 7  # attended frames, sink and own chunk included
WINDOW_FULL = 12  # frames after which the last chunk's window is full
WAN = {
    "model.dim": 1536, "model.ffn_dim": 8960, "model.num_heads": 12, "model.freq_dim": 256, "model.q_lora_rank": 768,
    "model.qk_nope_head_dim": 96, "model.qk_rope_head_dim": 32, "model.v_head_dim": 128,
}  # fmt: skip
RANKS = [64, 128, 192, 256, 512]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="rounds")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--size", type=int, default=80, help="pixels a side; a token is 4 x 4 of them")
    parser.add_argument("--frames", type=int, default=21)
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


class Students:
    """Checkpoints of one training step, by name: `dense`, and `192` for a rank."""

    def __init__(self, folder: Path, layers: int, size: int):
        self.folder = folder
        data = folder / "clips.h5"
        run([VMLA, "data", "synth", "--out", folder / "videos", "--count", 2, "--size", max(size, 128)], "data synth")
        shape = ["--height", size, "--width", size]
        run([VMLA, "data", "encode", "--videos", folder / "videos", "--out", data, *shape], "data encode")
        self.settings = QUIET | WAN | {
            "data.path": data, "data.validation_path": data, "model.num_layers": layers, "train.steps": 1,
            "train.batch_size": 1, "train.micro_batch_size": 1, "train.threads": 1, "init_from": "{}",
            "model.local_attn_size": WINDOW, "model.sink_size": SINK,
        }  # fmt: skip

    def make(self, name: str) -> None:
        own = {"model.attention": "dense", "init.method": "\"\""} if name == "dense" else {"model.kv_lora_rank": name, "init.method": "random"}
        command = [VMLA, "train", "--config", ROOT / "configs" / "tiny" / "teacher_forcing.yaml", "--run-dir", self.folder / name]
        for key, value in (self.settings | own).items():
            command += ["--set", f"{key}={value}"]
        run(command, "vmla train")

    def seconds(self, name: str, window: int, frames: int) -> float:
        """Of a latent frame of the last chunk."""
        out = self.folder / "out"
        command = [VMLA, "sample", "--checkpoint", self.folder / name, "--prompt", "a red circle moves left", "--out", out]
        command += ["--frames", frames, "--sampler", "few_step", "--steps", 4, "--local-attn-size", window]
        command += ["--sink-size", SINK if window > 0 else 0]
        run(command, "vmla sample")
        (record,) = json.loads((out / "samples.json").read_text())
        return record["seconds_per_chunk"][-1] / CHUNK


def main() -> None:
    args = arguments()
    ENVIRONMENT["OMP_NUM_THREADS"] = "1"
    rows = [("dense", WINDOW), ("192", WINDOW), ("dense", -1), ("192", -1)]
    rows += [(str(rank), WINDOW) for rank in RANKS if rank != 192]
    measured: dict[tuple[str, int], list[float]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory() as temporary:
        students = Students(Path(temporary), args.layers, args.size)
        for name in dict.fromkeys(name for name, _ in rows):
            students.make(name)
        for _ in range(args.pairs):
            for row in rows:
                frames = args.frames if row[1] < 0 else min(args.frames, WINDOW_FULL)
                measured[row].append(students.seconds(*row, frames))
                print(json.dumps({"row": row, "seconds": measured[row][-1]}), flush=True)
    print(f"{args.layers} layers, {(args.size // 4) ** 2} tokens a frame, {args.frames} frames, one thread of {os.cpu_count()}")
    print(f"{'attention':>9}  {'window':>6}  {'cache':>6}  {'frames/s':>8}  dense / this, same window [range over rounds]")
    for name, window in rows:
        kept = 2 * WAN["model.dim"] if name == "dense" else int(name) + WAN["model.qk_rope_head_dim"]
        ratios = [dense / own for dense, own in zip(measured["dense", window], measured[name, window], strict=True)]
        rate = 1 / statistics.median(measured[name, window])
        print(f"{name:>9}  {'all' if window < 0 else window:>6}  {kept:>6}  {rate:8.2f}  {spread(ratios)}")
    print(f"dense, all frames / 192, window {WINDOW}: "
          f"{spread([a / b for a, b in zip(measured['dense', -1], measured['192', WINDOW], strict=True)])}")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps([{"attention": n, "window": w, "seconds": s} for (n, w), s in measured.items()], indent=1) + "\n")


if __name__ == "__main__":
    main()
