"""Training steps of the tiny pipeline: the program beside the same model in Python, interleaved in one run.

    .venv/bin/python bench/compare_steps.py [--pairs 5] [--threads 1 2] [--compiled] [--json bench/steps.json]

Every pair runs `vmla train` on configs/tiny and then the peers of bench/peers, each as its own process with the same
number of threads; a ratio is taken within a pair, so that a machine whose speed drifts slows both sides alike.
Ratios above 1 mean that the program is faster. The table gives the median of the ratios and their range.
The peer reads its shape from the same yaml. `exact cuts` is the Python peer with the clean tokens left out that no
noisy token sees, which the program does too; public trainers do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
VMLA = Path(os.environ.get("VMLA", ROOT / "build" / "vmla"))
STAGES = {0: "pretrain", 1: "teacher_forcing"}
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="of which the first 10 are left out")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--compiled", action="store_true", help="also the peer through torch.compile")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args()


WARM_UP = 10
# Nothing but steps: no observers, no checkpoints.
QUIET = {
    "validation.every": 0,
    "sample.every": 0,
    "sample.prompts": "[]",
    "sample.measure_clips": 0,
    "sample.long_frames": 0,
    "rank.every": 0,
    "checkpoint.every": 1000000,
    "train.log_every": 1,
}


def run(command: list, what: str) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"compare_steps: {what} ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


class Workplace:
    """A small dataset and the dense weights that stage 1 starts from."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / "clips.h5"
        run([VMLA, "data", "synth", "--out", folder / "videos", "--count", 64], "data synth")
        run([VMLA, "data", "encode", "--videos", folder / "videos", "--out", self.data], "data encode")
        self.dense = folder / "dense"
        self.train(0, self.dense, threads=1, steps=2)

    def train(self, stage: int, run_dir: Path, threads: int, steps: int) -> list[float]:
        """Step times in milliseconds, as the program logs them."""
        settings = QUIET | {
            "data.path": self.data,
            "data.validation_path": self.data,
            "train.threads": threads,
            "train.steps": steps,
        }
        if stage == 1:
            settings["init_from.generator"] = self.dense
        command = [VMLA, "train", "--config", ROOT / "configs" / "tiny" / f"{STAGES[stage]}.yaml"]
        command += ["--run-dir", run_dir, "--resume", "never"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        run(command, f"vmla train, stage {stage}")
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
        return [1000 * json.loads(line)["time_step"] for line in lines]


def peer_command(stage: int, threads: int, steps: int, shape: Path, config: dict, *flags: str) -> list:
    shift = config["objective"][config["objective"]["name"]]["timestep_shift"]
    return [
        *(sys.executable, ROOT / "bench" / "peers" / "training_step.py"),
        *("--stage", stage, "--threads", threads, "--steps", steps - WARM_UP, "--warmup", WARM_UP),
        *("--batch", config["train"]["batch_size"], "--timestep-shift", shift, "--shape", shape),
        *("--beta1", config["optimizer"]["betas"][0], "--ema", config.get("ema", {}).get("decay", 0)),
        *("--caption-dropout", config["data"].get("caption_dropout", 0)),
        *flags,
    ]


def peer_shape(config: dict) -> dict:
    """Fields of the peer's config from the stage's yaml; rotary pairs by the default rule."""
    model = config["model"]
    names = ("attention dim ffn_dim freq_dim in_dim num_heads num_layers text_len text_dim kv_lora_rank q_lora_rank "
             "qk_nope_head_dim qk_rope_head_dim v_head_dim num_frame_per_block local_attn_size sink_size").split()  # fmt: skip
    shape = {name: model[name] for name in names if name in model}
    made = config["data"]["make"]
    block = int(made["codec"].split(":")[1])
    shape |= {"frames": made["frames"], "height": made["size_height"] // block, "width": made["size_width"] // block}
    if model["attention"] == "mla":
        pairs, head_dim = model["qk_rope_head_dim"] // 2, model["dim"] // model["num_heads"]
        spatial, head_spatial = pairs // 3, head_dim // 6
        head_time = head_dim // 2 - 2 * head_spatial
        shape["rope_pair_indices"] = [
            *range(pairs - 2 * spatial),
            *(head_time + i for i in range(spatial)),
            *(head_time + head_spatial + i for i in range(spatial)),
        ]
    return shape


def peers_of(stage: int, compiled: bool) -> dict[str, list[str]]:
    peers = {"eager": []}
    if stage == 1:
        peers["eager, exact cuts"] = ["--exact-cuts"]
    if compiled:
        peers |= {f"{name.replace('eager', 'compiled')}": [*flags, "--compile"] for name, flags in list(peers.items())}
    return peers


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} [{min(values):.2f}, {max(values):.2f}]"


def main() -> None:
    args = arguments()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place = Workplace(folder)
        configs = {s: yaml.safe_load((ROOT / "configs" / "tiny" / f"{STAGES[s]}.yaml").read_text()) for s in args.stages}
        for stage, config in configs.items():
            (folder / f"shape{stage}.json").write_text(json.dumps(peer_shape(config)))
        for pair in range(args.pairs):
            for stage, config in configs.items():
                for threads in args.threads:
                    times = place.train(stage, folder / f"run_{stage}_{threads}_{pair}", threads, args.steps)[WARM_UP:]
                    row = {"pair": pair, "stage": stage, "threads": threads, "vmla": statistics.median(times)}
                    for name, flags in peers_of(stage, args.compiled).items():
                        shape = folder / f"shape{stage}.json"
                        command = peer_command(stage, threads, args.steps, shape, config, *flags)
                        row[name] = json.loads(run(command, f"the {name} peer"))["step_ms"]
                    rows.append(row)
                    print(json.dumps(row), file=sys.stderr, flush=True)

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; milliseconds a step, medians")
    print(f"{'stage':6}{'threads':8}{'vmla ms':>9}  {'peer':22}{'peer ms':>9}  peer / vmla [range over pairs]")
    for stage in configs:
        of_stage = [r for r in rows if r["stage"] == stage]
        for name in peers_of(stage, args.compiled):
            best = {}
            for threads in args.threads:
                pairs = [r for r in of_stage if r["threads"] == threads]
                ours, theirs = (statistics.median(r[k] for r in pairs) for k in ("vmla", name))
                best[threads] = (ours, theirs)
                ratios = spread([r[name] / r["vmla"] for r in pairs])
                print(f"{stage:<6}{threads:<8}{ours:9.2f}  {name:22}{theirs:9.2f}  {ratios}")
            if len(args.threads) > 1:  # each side with the number of threads that suits it
                mine, yours = (min(args.threads, key=lambda t: best[t][side]) for side in (0, 1))
                by_pair = {(r["pair"], r["threads"]): r for r in of_stage}
                ratios = [by_pair[p, yours][name] / by_pair[p, mine]["vmla"] for p in range(args.pairs)]
                print(f"{stage:<6}{'best':8}{best[mine][0]:9.2f}  {name:22}{best[yours][1]:9.2f}  {spread(ratios)}")
    if args.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"machine": machine, "steps": args.steps, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
