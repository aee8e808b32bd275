"""Few-step streaming sampling: the program beside the same algorithm in Python, interleaved in one run.

    .venv/bin/python bench/sampling.py [--pairs 7] [--frames 240] [--width 64 128] [--threads 1 2] [--compiled]
        [--json sampling.json]

A student of configs/tiny (two training steps: speed does not depend on the weights) samples one video in four steps a
chunk, on both sides from the same noise; the latents of every run are compared. Every pair runs `vmla sample` and then
bench/peers/sampling.py, each as its own process with the same number of threads. A unit is a chunk: its denoising
passes and the cache fill of the one before; the first four chunks, while the window fills, are left out.

Wall time is that of all network passes, as each side clocks it itself: no start-up, no decoding, no video file. (The
program gives one sum for its cache fills, of which the chunks measured get their share.) Processor time of the program
is its process's, from when the fourth chunk to when the last is in its file of latents: decoding a chunk and handing it
to the process that writes the video count. Ratios are taken within a pair; above 1 the program is faster. `best` gives
each side the threads that suit it. `--width`: the model widened, in the proportions of configs/tiny. `--compiled`: the
peer through torch.compile too, which may compile nothing after the fourth chunk; `graphs` is how many it made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import torch
from safetensors.torch import load_file, save_file

from compare_steps import peers_of
from measure import ROOT, VMLA, Report, run, run_watched
from widened_stages import TINY, Stage, Workplace, fewer, weights_of

LINEAR_STEPS = [1000, 750, 500, 250]
WARM_UP = 4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--frames", type=int, default=240, help="at width 64; fewer at larger ones, at least 60")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--width", type=int, nargs="+", default=[TINY], help="model.dim")
    parser.add_argument("--compiled", action="store_true", help="also the peer through torch.compile")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


class Student:
    """A checkpoint of configs/tiny, and its weights, text and noise as the peer reads them."""

    def __init__(self, place: Workplace, width: int, args: argparse.Namespace):
        self.width, self.peers = width, peers_of(False, args.compiled)
        self.folder = place.folder / f"sampling_{width}"
        self.folder.mkdir()
        self.run_dir = place.made("teacher_forcing", width)
        stage = Stage("teacher_forcing", width)
        shape, shift = stage.peer_shape(), stage.objective["timestep_shift"]
        block = shape["num_frame_per_block"]
        self.chunks = fewer(args.frames, width, least=60) // block
        frames = self.chunks * block

        generator = torch.Generator().manual_seed(7)
        size = (frames, shape["in_dim"], shape["height"], shape["width"])
        noise = {
            "noise": torch.randn(size, generator=generator),
            "renoise": torch.randn((len(LINEAR_STEPS) - 1, *size), generator=generator),
        }
        save_file(noise, self.folder / "noise.safetensors")
        self.chunk_bytes = 4 * noise["noise"][:block].numel()
        with h5py.File(place.data) as file:
            caption = file["captions"][0]
            begin, end = file["text/offsets"][:2]
            text = torch.from_numpy(file["text/embeddings"][begin:end])
        save_file(noise | {"text": text.float()}, self.folder / "inputs.safetensors")

        sigmas = [t / 1000 for t in LINEAR_STEPS]
        spec = {
            "shape": shape,
            "weights": str(weights_of(self.run_dir)),
            "inputs": str(self.folder / "inputs.safetensors"),
            "output": str(self.folder / "theirs.safetensors"),
            "steps": [1000 * shift * s / (1 + (shift - 1) * s) for s in sigmas],
        }
        (self.folder / "spec.json").write_text(json.dumps(spec))
        caption = caption.decode() if isinstance(caption, bytes) else caption
        self.command = [VMLA, "sample", "--checkpoint", self.run_dir, "--prompt", caption]
        self.command += ["--out", self.folder / "ours", "--frames", frames, "--noise", self.folder / "noise.safetensors", "--save-latents"]
        self.command += ["--sampler", "few_step", "--denoising-steps", ",".join(map(str, LINEAR_STEPS))]

    def ours(self, threads: int) -> dict[str, float]:
        """Milliseconds of a chunk; leaves ours/000.safetensors."""
        out, measured = self.folder / "ours", self.chunks - WARM_UP
        shutil.rmtree(out, ignore_errors=True)

        def chunks() -> int:
            """In the file of latents, finished or not. Its header is shorter than a chunk."""
            try:
                return sum(file.stat().st_size for file in out.glob("*.safetensors")) // self.chunk_bytes
            except FileNotFoundError:  # it got its name in between
                return 0

        processor = run_watched(self.command, "vmla sample", threads, chunks, WARM_UP, self.chunks)
        (record,) = json.loads((out / "samples.json").read_text())
        fills = record["cache_seconds"] * measured / (self.chunks - 1)  # the last chunk has none
        wall = 1000 * (sum(record["seconds_per_chunk"][WARM_UP:]) + fills) / measured
        return {"wall_ms": wall, "cpu_ms": processor}

    def theirs(self, name: str, threads: int) -> dict[str, float]:
        """The same for a peer; leaves theirs.safetensors."""
        command = [sys.executable, ROOT / "bench" / "peers" / "sampling.py", self.folder / "spec.json"]
        command += ["--threads", threads, "--units", self.chunks - WARM_UP, "--warmup", WARM_UP, *self.peers[name]]
        printed = json.loads(run(command, f"the {name} peer"))
        return {
            "wall_ms": printed["mean_ms"],
            "cpu_ms": printed["cpu_ms"],
            "graphs": printed["graphs"],
            "difference": self.difference(name),
        }

    def difference(self, name: str) -> float:
        """Largest difference of the latents, in units of their root mean square."""
        ours = load_file(self.folder / "ours" / "000.safetensors")["latents"]
        theirs = load_file(self.folder / "theirs.safetensors")["latents"]
        difference = float((ours - theirs).abs().max() / theirs.square().mean().sqrt())
        if not difference < 1e-3:
            sys.exit(f"sampling: the {name} peer's latents differ by {difference:.2e} of their rms: not the same video")
        return difference


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        place = Workplace(Path(temporary))
        students = [Student(place, width, args) for width in args.width]
        report = Report("a chunk of 3 latent frames", args.threads, args.json)
        for pair in range(args.pairs):
            for student in students:
                for threads in args.threads:
                    case = {"stage": "sampling", "width": student.width, "threads": threads, "pair": pair}
                    sides = {"vmla": student.ours(threads)}
                    sides |= {name: student.theirs(name, threads) for name in student.peers}
                    report.add(case | {"sides": sides})
        report.finish()
    differences = [side["difference"] for row in report.rows for name, side in row["sides"].items() if name != "vmla"]
    print(f"largest difference of the latents: {max(differences):.1e} of their rms")


if __name__ == "__main__":
    main()
