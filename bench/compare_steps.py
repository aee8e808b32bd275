"""Training steps of the tiny pipeline: the program beside the same model in Python, interleaved in one run.

    .venv/bin/python bench/compare_steps.py [--pairs 5] [--width 64 128] [--threads 1 2] [--compiled]
        [--peers compiled] [--json steps.json]

First both sides compute a step's loss on the same weights and draws, which must agree. Then every pair runs `vmla
train` on configs/tiny and the peers of bench/peers, each as its own process with the same number of threads; a ratio
is taken within a pair, so that a machine whose speed drifts slows both sides alike. Ratios above 1 mean that the
program is faster.

Wall time is the median of the steps, as each side times them itself, without the first 10. Processor time is the mean
of the same steps: of the program's by its process's clock, read when the 10th and when the last step are in its
metrics.jsonl, so that reading clips and writing metrics count.
`--width`: the model widened, in the proportions of configs/tiny. `exact cuts`: the peer with the clean tokens left out
that no noisy token sees, which the program does too; public trainers do not. `--compiled`: the peers through
torch.compile too, which is given fixed shapes and may compile nothing after the warm-up; `graphs` is how many it made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from measure import ROOT, Report, run, run_watched
from widened_stages import TINY, Stage, Workplace, check_losses, fewer, weights_of

STAGES = {0: "pretrain", 1: "teacher_forcing"}
WARM_UP = 10


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50, help="measured at width 64; fewer at larger ones, at least 10")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stages", type=int, nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--width", type=int, nargs="+", default=[TINY], help="model.dim")
    parser.add_argument("--compiled", action="store_true", help="also the peers through torch.compile")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these of them: eager, compiled, ...")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


def peers_of(exact_cuts: bool, compiled: bool, only: list[str] | None = None) -> dict[str, list[str]]:
    """Flags of the peers, by name; of `only` these where it is given."""
    peers = {"eager": []}
    if exact_cuts:
        peers["eager, exact cuts"] = ["--exact-cuts"]
    if compiled:
        peers |= {name.replace("eager", "compiled"): [*flags, "--compile"] for name, flags in list(peers.items())}
    unknown = set(only or []) - set(peers)
    if unknown:
        sys.exit(f"no peer {', '.join(sorted(unknown))}; there are: {', '.join(peers)}")
    return {name: flags for name, flags in peers.items() if only is None or name in only}


class Bench:
    """One stage at one width: its weights, and both sides of the comparison."""

    def __init__(self, number: int, width: int, place: Workplace, args: argparse.Namespace):
        self.number, self.width, self.place = number, width, place
        self.stage = Stage(STAGES[number], width)
        self.steps = fewer(args.steps, width, least=10)
        self.peers = peers_of(number == 1, args.compiled, args.peers)
        self.spec = place.folder / f"{self.stage.name}_{width}.json"
        config = self.stage.config
        spec = {
            "objective": config["objective"]["name"],
            "shape": self.stage.peer_shape(),
            "weights": str(weights_of(place.made(self.stage.name, width))),
            "batch": config["train"]["batch_size"],
            "shift": self.stage.objective["timestep_shift"],
            "lr": config["optimizer"]["lr"],
            "betas": config["optimizer"]["betas"],
            "ema": config["ema"]["decay"],
            "caption_dropout": config["data"]["caption_dropout"],
        }
        self.spec.write_text(json.dumps(spec))

    def check(self) -> None:
        """Both sides' losses of one step."""
        spec = json.loads(self.spec.read_text())
        shape, batch, shift = spec["shape"], spec["batch"], spec["shift"]
        generator = torch.Generator().manual_seed(1)
        clips = (batch, shape["frames"], shape["in_dim"], shape["height"], shape["width"])
        block = shape["num_frame_per_block"] if self.number == 1 else shape["frames"]
        u = torch.randint(1, 1001, (batch, shape["frames"] // block), generator=generator) / 1000
        inputs = {
            "clean_latents": torch.randn(clips, generator=generator),
            "noise": torch.randn(clips, generator=generator),
            "timesteps": (1000 * shift * u / (1 + (shift - 1) * u)).repeat_interleave(block, 1),
            "text": torch.randn(batch, shape["text_len"], shape["text_dim"], generator=generator),
        }
        if self.number == 0:  # one time a clip
            inputs["timesteps"] = inputs["timesteps"][:, 0]
        start = {"init_from.generator": self.place.made(self.stage.name, self.width)}
        if self.number == 1:  # from latent attention, not from the dense model
            start["init.method"] = '""'
        commands = {name: self.peer_command(1, *flags) for name, flags in self.peers.items()}
        check_losses(self.stage, start, inputs, self.place.folder, commands)

    def ours(self, threads: int, run_dir: Path) -> dict[str, float]:
        changes = self.place.quiet | {"train.threads": threads, "train.steps": WARM_UP + self.steps}
        if self.number == 1:
            changes["init_from.generator"] = self.place.made("pretrain", self.width)
        command = self.stage.command("train", changes, "--run-dir", run_dir, "--resume", "never")
        metrics = run_dir / "metrics.jsonl"

        def steps() -> list[str]:
            return metrics.read_text().splitlines() if metrics.exists() else []

        window = WARM_UP, WARM_UP + self.steps
        processor = run_watched(command, f"vmla train, {self.stage.name}", threads, lambda: len(steps()), *window)
        times = [1000 * json.loads(line)["time_step"] for line in steps()[WARM_UP:]]
        return {"wall_ms": statistics.median(times), "cpu_ms": processor}

    def peer_command(self, threads: int, *flags: str) -> list:
        program = ROOT / "bench" / "peers" / "training_step.py"
        counts = ["--threads", threads, "--units", self.steps, "--warmup", WARM_UP]
        return [sys.executable, program, self.spec, *counts, *flags]

    def theirs(self, name: str, threads: int) -> dict[str, float]:
        printed = json.loads(run(self.peer_command(threads, *self.peers[name]), f"the {name} peer"))
        return {"wall_ms": printed["median_ms"], "cpu_ms": printed["cpu_ms"], "graphs": printed["graphs"]}


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        place = Workplace(Path(temporary))
        benches = [Bench(number, width, place, args) for width in args.width for number in args.stages]
        for bench in benches:
            bench.check()
        report = Report("a step", args.threads, args.json)
        for pair in range(args.pairs):
            for bench in benches:
                for threads in args.threads:
                    case = {"stage": bench.stage.name, "width": bench.width, "threads": threads, "pair": pair}
                    run_dir = place.folder / "_".join(map(str, case.values()))
                    sides = {"vmla": bench.ours(threads, run_dir)}
                    sides |= {name: bench.theirs(name, threads) for name in bench.peers}
                    report.add(case | {"sides": sides})
        report.finish()


if __name__ == "__main__":
    main()
