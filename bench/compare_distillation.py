"""Consistency distillation and DMD of the tiny pipeline: the program beside the same algorithm in Python.

    .venv/bin/python bench/compare_distillation.py [--stage cd dmd] [--pairs 5] [--width 64 128] [--threads 1]
        [--compiled] [--runs DIR] [--json distillation.json]

A unit is one step of consistency distillation, or one cycle of DMD: one update of the generator and five of the fake
score, all with rollouts of a clip's length. First both sides compute the first step's losses on the same weights and
draws, which must agree. Then every pair runs `vmla train` on configs/tiny and the peers of bench/peers, each as its own
process with the same number of threads; a ratio is taken within a pair, so that a machine whose speed drifts slows both
sides alike. Ratios above 1 mean that the program is faster. The peers take the program's exit steps, on which a
rollout's cost depends.

Wall time is the median of the steps, or the mean of the cycles, as each side times them itself, without the first 10
steps. Processor time is the mean of the same: of the program's by its process's clock, read when the last step before
them and when the last one are in its metrics.jsonl, so that reading clips and writing metrics count.
`--width`: the model widened, in the proportions of configs/tiny. `--runs`: a run folder of the tiny pipeline (its
stages pretrain and tf_svd are started from); without it both are made in a few steps, whose losses mean nothing.
`exact cuts`: the peer without the tokens and cache fills that nobody reads, which the program leaves out too; public
trainers do not. `--compiled`: the peers through torch.compile too, which is given fixed shapes and may compile nothing
after the warm-up; `graphs` is how many it made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import h5py
import torch
from safetensors.torch import save_file

from compare_steps import peers_of
from measure import ROOT, Report, run, run_watched
from widened_stages import TINY, Stage, Workplace, check_losses, fewer, weights_of

CONFIGS = {"cd": "consistency", "dmd": "dmd"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--units", type=int, help="measured at width 64; default 50 steps, 10 cycles; fewer if wider")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--width", type=int, nargs="+", default=[TINY], help="model.dim")
    parser.add_argument("--compiled", action="store_true", help="also the peers through torch.compile")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these of them: eager, compiled, ...")
    parser.add_argument("--runs", type=Path, help="run folder of the tiny pipeline, of width 64")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    args = parser.parse_args()
    if args.runs and args.width != [TINY]:
        parser.error(f"--runs: the tiny pipeline is of width {TINY}; leave one of --runs and --width out")
    return args


class Bench:
    """One stage at one width: its configuration, weights, data, and both sides of the comparison."""

    def __init__(self, stage: str, width: int, place: Workplace, args: argparse.Namespace):
        self.name, self.width, self.place = stage, width, place
        self.stage = Stage(CONFIGS[stage], width)
        self.peers = peers_of(True, args.compiled, args.peers)
        self.ratio = self.stage.objective.get("dfake_gen_update_ratio", 1)  # steps of the program a unit
        count, least = (50, 10) if stage == "cd" else (10, 3)
        self.units, self.warmup = fewer(args.units or count, width, least), 10 // self.ratio
        if args.runs:
            self.runs = {"dense": args.runs.resolve() / "pretrain", "student": args.runs.resolve() / "tf_svd"}
        else:
            self.runs = {"dense": place.made("pretrain", width), "student": place.made("teacher_forcing", width)}
        self.changes = place.quiet | {
            "optimizer.lr_schedule": "constant",
            "init_from.generator": self.runs["student"],
        }
        if stage == "dmd":
            self.changes["init_from.real_score"] = self.runs["dense"]
            for key in ("min_rollout_frames", "max_rollout_frames"):
                self.changes[f"objective.dmd.{key}"] = 0
        self.spec = self.write_spec()

    def write_spec(self) -> Path:
        config, section, dense = self.stage.config, self.stage.objective, Stage("pretrain", self.width)
        weights = {name: str(weights_of(run_dir)) for name, run_dir in self.runs.items()}
        spec = {
            "objective": self.name,
            "data": str(self.place.folder / "data.safetensors"),
            "networks": {
                "generator": {"shape": self.stage.peer_shape(), "weights": weights["student"]},
                "real_score": {"shape": dense.peer_shape(), "weights": weights["dense"]},
            },
            "batch": config["train"]["batch_size"],
            "shift": section["timestep_shift"],
            "guidance": section["guidance_scale"],
            "lr": config["optimizer"]["lr"],
            "betas": config["optimizer"]["betas"],
        }
        if self.name == "cd":
            points = section["discrete_cd_n"]
            spec |= {"points": points, "choices": points if section["include_endpoint"] else points - 1}
            spec |= {"ema": section["target_ema_decay"]}
        else:
            shift = section["timestep_shift"]
            steps = [shift * t / (1 + (shift - 1) * t / 1000) for t in section["denoising_step_list"]]
            critic = section["fake_score_optimizer"]
            spec |= {"steps": steps, "ratio": self.ratio, "ema": config["ema"]["decay"]}
            spec |= {"lr_fake": critic["lr"], "betas_fake": critic["betas"]}
        path = self.place.folder / f"{self.name}_{self.width}.json"
        path.write_text(json.dumps(spec))
        return path

    def check(self, data: dict[str, torch.Tensor]) -> None:
        """Both sides' losses of the first step, on the same weights and draws."""
        spec = json.loads(self.spec.read_text())
        batch, clips = spec["batch"], data["latents"][: spec["batch"]]
        generator = torch.Generator().manual_seed(1)
        noise = {n: torch.randn(clips.shape, generator=generator) for n in ("noise", "rollout_noise")}
        inputs = {"text": data["text"][:batch], "negative_text": data["negative_text"]}
        if self.name == "cd":
            index = torch.randint(spec["choices"], (batch,), generator=generator)
            inputs |= {"clean_latents": clips, "noise": noise["noise"], "index": index}
        else:
            renoise = torch.randn(len(spec["steps"]) - 1, *clips.shape, generator=generator)
            tau = torch.randint(1000, (batch,), generator=generator)
            inputs |= noise | {"renoise": renoise, "tau": tau, "exit_index": torch.tensor(2)}
        commands = {name: self.peer_command(1, *flags) for name, flags in self.peers.items()}
        check_losses(self.stage, self.changes, inputs, self.place.folder, commands)

    def ours(self, threads: int, run_dir: Path) -> dict:
        """Milliseconds of a unit, and the mean losses."""
        first, last = self.warmup * self.ratio, (self.warmup + self.units) * self.ratio
        changes = self.changes | {"train.threads": threads, "train.steps": last}
        command = self.stage.command("train", changes, "--run-dir", run_dir, "--resume", "never")
        metrics = run_dir / "metrics.jsonl"

        def steps() -> list[str]:
            return metrics.read_text().splitlines() if metrics.exists() else []

        processor = run_watched(command, f"vmla train, {self.name}", threads, lambda: len(steps()), first, last)
        lines = [json.loads(line) for line in steps()]
        times = [1000 * line["time_step"] for line in lines[first:]]
        units = [sum(times[i : i + self.ratio]) for i in range(0, len(times), self.ratio)]
        losses = {"generator": [x["loss"] for x in lines if "loss" in x]}
        losses["fake_score"] = [x["loss_fake_score"] for x in lines if "loss_fake_score" in x]
        # Cycles differ by their exit steps, which are the same on both sides: their mean; steps are alike.
        wall = statistics.median(units) if self.name == "cd" else statistics.mean(units)
        means = {role: statistics.mean(values) for role, values in losses.items() if values}
        return {"wall_ms": wall, "cpu_ms": processor * self.ratio, "loss": means}

    def peer_command(self, threads: int, *flags: str) -> list:
        program = ROOT / "bench" / "peers" / "distillation_step.py"
        counts = ["--threads", threads, "--units", self.units, "--warmup", self.warmup]
        return [sys.executable, program, self.spec, *counts, *flags]

    def theirs(self, name: str, threads: int) -> dict:
        printed = json.loads(run(self.peer_command(threads, *self.peers[name]), f"the {name} peer"))
        wall = printed["median_ms" if self.name == "cd" else "mean_ms"]
        return {"wall_ms": wall} | {figure: printed[figure] for figure in ("cpu_ms", "graphs", "loss")}


def peer_data(place: Workplace) -> dict[str, torch.Tensor]:
    """The clips and texts of the program's dataset as tensors, which the peers read from data.safetensors."""
    rows = Stage("consistency", TINY).config["model"]["text_len"]
    with h5py.File(place.data) as file:
        latents = torch.from_numpy(file["latents"][:]).view(torch.bfloat16).float()
        words, offsets = torch.from_numpy(file["text/embeddings"][:]), file["text/offsets"][:]
        texts = [words[a:b] for a, b in zip(offsets, offsets[1:])] + [torch.from_numpy(file["text/empty"][:])]
    padded = torch.stack([torch.nn.functional.pad(t, (0, 0, 0, rows - len(t))) for t in texts])
    tensors = {"latents": latents, "text": padded[:-1].contiguous(), "negative_text": padded[-1:].contiguous()}
    save_file(tensors, place.folder / "data.safetensors")
    return tensors


def print_losses(rows: list[dict]) -> None:
    """Mean losses of both sides: runs that went the same way."""
    for stage, width in dict.fromkeys((r["stage"], r["width"]) for r in rows):
        sides: dict[str, dict[str, list[float]]] = {}
        for row in (r for r in rows if (r["stage"], r["width"]) == (stage, width)):
            for name, side in row["sides"].items():
                for role, loss in side["loss"].items():
                    sides.setdefault(role, {}).setdefault(name, []).append(loss)
        for role, losses in sides.items():
            means = ", ".join(f"{name} {statistics.mean(values):.4g}" for name, values in losses.items())
            print(f"mean losses, {stage}, width {width}, {role}: {means}")


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        place = Workplace(Path(temporary))
        data = peer_data(place)
        benches = [Bench(stage, width, place, args) for width in args.width for stage in args.stage]
        for bench in benches:
            bench.check(data)
        report = Report("a step (cd) or cycle (dmd)", args.threads, args.json)
        for pair in range(args.pairs):
            for bench in benches:
                for threads in args.threads:
                    case = {"stage": bench.name, "width": bench.width, "threads": threads, "pair": pair}
                    run_dir = place.folder / "_".join(map(str, case.values()))
                    sides = {"vmla": bench.ours(threads, run_dir)}
                    sides |= {name: bench.theirs(name, threads) for name in bench.peers}
                    report.add(case | {"sides": sides})
        report.finish()
    print_losses(report.rows)


if __name__ == "__main__":
    main()
