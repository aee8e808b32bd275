"""Consistency distillation and DMD of the tiny pipeline: the program beside the same algorithm in eager Python.

    .venv/bin/python bench/compare_distillation.py [--stage cd dmd] [--pairs 5] [--runs DIR] [--clock cpu]

A unit is one step of consistency distillation, or one cycle of DMD: one update of the generator and five of the fake
score, all with rollouts of a clip's length. First both sides compute the first step's losses on the same weights and
draws, which must agree. Then every pair runs `vmla train` on configs/tiny and the peers of bench/peers, each as its own
process with one thread; a ratio is taken within a pair, so that a machine whose speed drifts slows both sides alike.
Ratios above 1 mean that the program is faster. The peers take the program's exit steps, on which a rollout's cost
depends.

--runs: a run folder of the tiny pipeline (its stages pretrain and tf_svd are started from); without it both are made in
a few steps, whose losses mean nothing. --clock cpu: processor time instead of wall time, for a machine that is busy.
`exact cuts` is the peer without the tokens and cache fills that nobody reads, which the program leaves out too; public
trainers do not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import torch
import yaml
from compare_steps import ENVIRONMENT, QUIET, ROOT, VMLA, peer_shape, spread
from safetensors.torch import save_file

CONFIGS = {"cd": "consistency", "dmd": "dmd"}
SECTIONS = {"cd": "consistency_distillation", "dmd": "dmd"}
PEERS = {"eager": [], "eager, exact cuts": ["--exact-cuts"]}
# fp32 on both sides, sums in another order; DMD divides a difference of two close clips by their distance to a third.
AGREEMENT = 1e-3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--units", type=int, help="measured in a run; default: 50 steps, or 10 cycles")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, help="run folder of the tiny pipeline")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


def run(command: list, what: str) -> tuple[str, float]:
    """Standard output and processor seconds of a command that must succeed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=err, env=ENVIRONMENT, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0), err.seek(0)
        if status != 0:
            sys.exit(f"compare_distillation: {what} ended with {status}: {err.read().decode().strip()[-800:]}")
        return out.read().decode(), usage.ru_utime + usage.ru_stime


def settings(values: dict) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


class Bench:
    """One stage: its configuration, weights, data, and both sides of the comparison."""

    def __init__(self, stage: str, folder: Path, runs: Path, args: argparse.Namespace):
        self.stage, self.folder, self.args = stage, folder, args
        self.file = ROOT / "configs" / "tiny" / f"{CONFIGS[stage]}.yaml"
        self.config = yaml.safe_load(self.file.read_text())
        self.section = self.config["objective"][SECTIONS[stage]]
        self.ratio = self.section.get("dfake_gen_update_ratio", 1)  # steps of the program a unit
        self.units, self.warmup = args.units or (50 if stage == "cd" else 10), 10 // self.ratio
        self.changes = QUIET | {
            "data.path": folder / "clips.h5",
            "data.validation_path": folder / "clips.h5",
            "optimizer.lr_schedule": "constant",
            "train.threads": args.threads,
            "init_from.generator": runs / "tf_svd",
        }
        if stage == "dmd":
            self.changes["init_from.real_score"] = runs / "pretrain"
            for key in ("min_rollout_frames", "max_rollout_frames"):
                self.changes[f"objective.dmd.{key}"] = 0
        self.spec = self.write_spec(runs)

    def write_spec(self, runs: Path) -> Path:
        config, section = self.config, self.section
        dense = yaml.safe_load((ROOT / "configs" / "tiny" / "pretrain.yaml").read_text())

        def network(stage: str, of: dict) -> dict:
            weights = runs / stage / "checkpoints" / "latest" / "generator.safetensors"
            return {"shape": peer_shape(of | {"data": dense["data"]}), "weights": str(weights)}

        spec = {
            "objective": self.stage,
            "data": str(self.folder / "data.safetensors"),
            "networks": {"generator": network("tf_svd", config), "real_score": network("pretrain", dense)},
            "batch": config["train"]["batch_size"],
            "shift": section["timestep_shift"],
            "guidance": section["guidance_scale"],
            "lr": float(config["optimizer"]["lr"]),
            "betas": config["optimizer"]["betas"],
        }
        if self.stage == "cd":
            points = section["discrete_cd_n"]
            spec |= {"points": points, "choices": points if section["include_endpoint"] else points - 1}
            spec |= {"ema": section["target_ema_decay"]}
        else:
            shift = section["timestep_shift"]
            steps = [shift * t / (1 + (shift - 1) * t / 1000) for t in section["denoising_step_list"]]
            critic = section["fake_score_optimizer"]
            spec |= {"steps": steps, "ratio": self.ratio, "ema": config["ema"]["decay"]}
            spec |= {"lr_fake": float(critic["lr"]), "betas_fake": critic["betas"]}
        path = self.folder / f"{self.stage}.json"
        path.write_text(json.dumps(spec))
        return path

    def check(self) -> None:
        """Both sides' losses of the first step, on the same weights and draws."""
        spec, data = json.loads(self.spec.read_text()), torch.load(self.folder / "data.pt")
        batch, clips = spec["batch"], data["latents"][: spec["batch"]]
        generator = torch.Generator().manual_seed(1)
        noise = {n: torch.randn(clips.shape, generator=generator) for n in ("noise", "rollout_noise")}
        inputs = {"text": data["text"][:batch], "negative_text": data["negative_text"]}
        if self.stage == "cd":
            index = torch.randint(spec["choices"], (batch,), generator=generator)
            inputs |= {"clean_latents": clips, "noise": noise["noise"], "index": index}
        else:
            renoise = torch.randn(len(spec["steps"]) - 1, *clips.shape, generator=generator)
            tau = torch.randint(1000, (batch,), generator=generator)
            inputs |= noise | {"renoise": renoise, "tau": tau, "exit_index": torch.tensor(2)}
        source = self.folder / "draws.safetensors"
        save_file({n: t.contiguous() for n, t in inputs.items()}, source)
        for name, flags in PEERS.items():
            theirs = json.loads(run(self.peer_command(*flags, "--check", source), name)[0])
            for player, loss in theirs.items():
                target = self.folder / "step.safetensors"
                command = [VMLA, "step", "--config", self.file, "--inputs", source, "--output", target]
                written, _ = run([*command, "--player", player, *settings(self.changes)], "vmla step")
                ours = float(written.rsplit("loss ", 1)[1].split(",")[0])
                print(f"first step, {player}: loss {ours:.6g}, {name} {loss:.6g}", file=sys.stderr)
                if abs(ours - loss) > AGREEMENT * abs(ours):
                    sys.exit(f"compare_distillation: the sides compute different losses: {ours} and {loss}")

    def ours(self, run_dir: Path) -> dict:
        """Milliseconds a unit, and the mean losses."""

        def train(units: int, to: Path) -> float:
            changes = self.changes | {"train.steps": units * self.ratio}
            command = [VMLA, "train", "--config", self.file, "--run-dir", to, "--resume", "never"]
            return run([*command, *settings(changes)], f"vmla train, {self.stage}")[1]

        processor = train(self.warmup + self.units, run_dir)
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        times = [1000 * line["time_step"] for line in lines]
        units = [sum(times[i : i + self.ratio]) for i in range(0, len(times), self.ratio)]
        losses = {"generator": [x["loss"] for x in lines if "loss" in x]}
        losses["fake_score"] = [x["loss_fake_score"] for x in lines if "loss_fake_score" in x]
        measured = self.middle(units[self.warmup :])
        if self.args.clock == "cpu":  # what is not steps is in both runs
            start = train(self.warmup, run_dir.with_name(run_dir.name + "_start"))
            measured = 1000 * (processor - start) / self.units
        return {"ms": measured, "loss": {role: statistics.mean(v) for role, v in losses.items() if v}}

    def theirs(self, *flags: str) -> dict:
        printed = json.loads(run(self.peer_command(*flags), "the peer")[0])
        wall = printed["unit_ms"] if self.stage == "cd" else printed["mean_ms"]
        return {"ms": printed["cpu_ms"] if self.args.clock == "cpu" else wall, "loss": printed["loss"]}

    def middle(self, times: list[float]) -> float:
        """Cycles differ by their exit steps, which are the same on both sides: their mean; steps are alike."""
        return statistics.median(times) if self.stage == "cd" else statistics.mean(times)

    def peer_command(self, *flags) -> list:
        program = ROOT / "bench" / "peers" / "distillation_step.py"
        counts = ["--threads", self.args.threads, "--units", self.units, "--warmup", self.warmup]
        return [sys.executable, program, self.spec, *counts, *flags]


def prepare_data(folder: Path) -> None:
    """Clips of the tiny pipeline for the program, and the same clips and texts as tensors for the peer."""
    clips = folder / "clips.h5"
    run([VMLA, "data", "synth", "--out", folder / "videos", "--count", 64], "data synth")
    run([VMLA, "data", "encode", "--videos", folder / "videos", "--out", clips], "data encode")
    rows = yaml.safe_load((ROOT / "configs" / "tiny" / "consistency.yaml").read_text())["model"]["text_len"]
    with h5py.File(clips) as file:
        latents = torch.from_numpy(file["latents"][:]).view(torch.bfloat16).float()
        words, offsets = torch.from_numpy(file["text/embeddings"][:]), file["text/offsets"][:]
        texts = [words[a:b] for a, b in zip(offsets, offsets[1:])] + [torch.from_numpy(file["text/empty"][:])]
    padded = torch.stack([torch.nn.functional.pad(t, (0, 0, 0, rows - len(t))) for t in texts])
    tensors = {"latents": latents, "text": padded[:-1].contiguous(), "negative_text": padded[-1:].contiguous()}
    save_file(tensors, folder / "data.safetensors")
    torch.save(tensors, folder / "data.pt")


def prepare_runs(folder: Path) -> Path:
    """The stages before, in a few steps."""
    for stage, config in (("pretrain", "pretrain"), ("tf_svd", "teacher_forcing")):
        changes = QUIET | {"data.path": folder / "clips.h5", "data.validation_path": folder / "clips.h5"}
        changes["train.steps"] = 2
        if stage == "tf_svd":
            changes["init_from.generator"] = folder / "runs" / "pretrain"
        file = ROOT / "configs" / "tiny" / f"{config}.yaml"
        run([VMLA, "train", "--config", file, "--run-dir", folder / "runs" / stage, *settings(changes)], stage)
    return folder / "runs"


def main() -> None:
    args = arguments()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare_data(folder)
        runs = args.runs.resolve() if args.runs else prepare_runs(folder)
        benches = [Bench(stage, folder, runs, args) for stage in args.stage]
        for bench in benches:
            bench.check()
        for pair in range(args.pairs):
            for bench in benches:
                row = {"pair": pair, "stage": bench.stage, "vmla": bench.ours(folder / f"{bench.stage}_{pair}")}
                row |= {name: bench.theirs(*flags) for name, flags in PEERS.items()}
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    print(f"{os.cpu_count()} cores, {args.threads} thread(s); ms of {args.clock} time a step (cd) or cycle (dmd)")
    heads = "peer / vmla [range over pairs]   mean losses: vmla, peer"
    print(f"{'stage':6}{'vmla ms':>9}  {'peer':20}{'peer ms':>9}  {heads}")
    for bench in benches:
        of_stage = [r for r in rows if r["stage"] == bench.stage]
        for name in PEERS:
            ours, theirs = (statistics.median(r[k]["ms"] for r in of_stage) for k in ("vmla", name))
            losses = "; ".join(
                f"{role} {statistics.mean(r['vmla']['loss'][role] for r in of_stage):.4g}, "
                f"{statistics.mean(r[name]['loss'][role] for r in of_stage):.4g}"
                for role in of_stage[0][name]["loss"]
            )
            ratios = spread([r[name]["ms"] / r["vmla"]["ms"] for r in of_stage])
            print(f"{bench.stage:6}{ours:9.2f}  {name:20}{theirs:9.2f}  {ratios}   {losses}")
    if args.json:
        args.json.write_text(json.dumps({"clock": args.clock, "threads": args.threads, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
