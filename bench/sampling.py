"""Few-step streaming sampling: the program beside the same algorithm in eager Python, interleaved in one run.

    .venv/bin/python bench/sampling.py [--pairs 7] [--frames 240] [--threads 1 2] [--json bench/sampling.json]

A tiny student of configs/tiny (two training steps: speed does not depend on the weights) samples one video in four
steps a chunk, on both sides from the same noise; the latents are compared first. Every pair runs `vmla sample` and
then bench/peers/sampling.py, each as its own process with the same number of threads. What is compared is the time of
all network passes, cache fills included, as each side clocks it itself: no start-up, no decoding, no video file.
Ratios are taken within a pair; above 1 the program is faster. `best` gives each side the threads that suit it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

import h5py
import torch
import yaml
from safetensors.torch import load_file, save_file

from compare_steps import ENVIRONMENT, ROOT, VMLA, Workplace, peer_shape, run, spread

LINEAR_STEPS = [1000, 750, 500, 250]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


class Student:
    """A checkpoint of configs/tiny, and its weights, text and noise as the peer reads them."""

    def __init__(self, folder: Path, frames: int):
        self.folder = folder
        place = Workplace(folder)
        place.train(1, folder / "student", threads=1, steps=2)
        config = yaml.safe_load((folder / "student" / "config.yaml").read_text())
        shape = peer_shape(config)
        (folder / "shape.json").write_text(json.dumps(shape))
        shift = config["objective"]["teacher_forcing"]["timestep_shift"]
        sigmas = [t / 1000 for t in LINEAR_STEPS]
        self.steps = ",".join(repr(1000 * shift * s / (1 + (shift - 1) * s)) for s in sigmas)

        checkpoint = (folder / "student" / "checkpoints" / "latest").resolve()
        manifest = json.loads((checkpoint / "manifest.json").read_text())
        state = {}
        for name, entry in manifest["roles"]["generator"]["tensors"].items():
            (piece,) = entry["pieces"]  # one process wrote it: every tensor lies whole under its own name
            state[name] = load_file(checkpoint / piece["file"])[name]
        save_file(state, folder / "weights.safetensors")

        generator = torch.Generator().manual_seed(7)
        size = (frames, config["model"]["in_dim"], shape["height"], shape["width"])
        noise = {
            "noise": torch.randn(size, generator=generator),
            "renoise": torch.randn((len(LINEAR_STEPS) - 1, *size), generator=generator),
        }
        save_file(noise, folder / "noise.safetensors")
        with h5py.File(place.data) as file:
            captions = [c.decode() if isinstance(c, bytes) else c for c in file["captions"][:]]
            self.caption = captions[0]
            begin, end = file["text/offsets"][:2]
            text = torch.from_numpy(file["text/embeddings"][begin:end])
        save_file(noise | {"text": text.float()}, folder / "peer.safetensors")
        self.frames = frames

    def ours(self, threads: int) -> float:
        """Seconds of all network passes; leaves ours/000.safetensors."""
        out = self.folder / "ours"
        command = [VMLA, "sample", "--checkpoint", self.folder / "student", "--prompt", self.caption, "--out", out]
        command += ["--frames", self.frames, "--noise", self.folder / "noise.safetensors", "--save-latents"]
        command += ["--sampler", "few_step", "--denoising-steps", ",".join(map(str, LINEAR_STEPS))]
        ENVIRONMENT["OMP_NUM_THREADS"] = str(threads)
        run(command, "vmla sample")
        (record,) = json.loads((out / "samples.json").read_text())
        return sum(record["seconds_per_chunk"]) + record["cache_seconds"]

    def theirs(self, threads: int) -> float:
        """The same for the peer; leaves theirs.safetensors."""
        command = [sys.executable, ROOT / "bench" / "peers" / "sampling.py", "--threads", threads]
        for name in ("weights", "inputs", "output", "shape"):
            file = {"inputs": "peer.safetensors", "output": "theirs.safetensors", "shape": "shape.json"}
            command += [f"--{name}", self.folder / file.get(name, "weights.safetensors")]
        record = json.loads(run([*command, "--steps", self.steps], "the peer"))
        return sum(record["seconds_per_chunk"]) + record["cache_seconds"]

    def difference(self) -> float:
        """Largest difference of the latents, in units of their root mean square."""
        ours = load_file(self.folder / "ours" / "000.safetensors")["latents"]
        theirs = load_file(self.folder / "theirs.safetensors")["latents"]
        return float((ours - theirs).abs().max() / theirs.square().mean().sqrt())


def main() -> None:
    args = arguments()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        student = Student(Path(temporary), args.frames)
        for pair in range(args.pairs):
            for threads in args.threads:
                row = {"pair": pair, "threads": threads, "vmla": student.ours(threads), "eager": student.theirs(threads)}
                row["difference"] = student.difference()
                if not row["difference"] < 1e-3:
                    sys.exit(f"sampling: the latents differ by {row['difference']:.2e} of their rms: not the same video")
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)

    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}; {args.frames} latent frames")
    print(f"largest difference of the latents: {max(r['difference'] for r in rows):.1e} of their rms")
    print(f"{'threads':8}{'vmla f/s':>10}{'eager f/s':>11}  eager / vmla [range over pairs]")
    median = {}
    for threads in args.threads:
        pairs = [r for r in rows if r["threads"] == threads]
        median[threads] = tuple(statistics.median(r[k] for r in pairs) for k in ("vmla", "eager"))
        ours, theirs = (args.frames / s for s in median[threads])
        print(f"{threads:<8}{ours:10.0f}{theirs:11.0f}  {spread([r['eager'] / r['vmla'] for r in pairs])}")
    mine, yours = (min(args.threads, key=lambda t: median[t][side]) for side in (0, 1))
    by_pair = {(r["pair"], r["threads"]): r for r in rows}
    ratios = [by_pair[p, yours]["eager"] / by_pair[p, mine]["vmla"] for p in range(args.pairs)]
    print(f"{'best':8}{args.frames / median[mine][0]:10.0f}{args.frames / median[yours][1]:11.0f}  {spread(ratios)}")
    if args.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"machine": machine, "frames": args.frames, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
