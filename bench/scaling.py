"""A model of how training scales from 8 to 1024 GPUs. Nothing that it prints was measured on a GPU.

    .venv/bin/python bench/scaling.py [--gpu h200 b200] [--gpus 8 64 1024] [--stages dmd] [--json bench/scaling.json]
    .venv/bin/python bench/scaling.py --plan memory.json [--step-seconds 2.2]

What a rank sends is counted, not modelled: `vmla analyze memory --json` runs the step of configs/wan1.3b without data
and counts the bytes that go through the communicator (tests hold the counts equal to arithmetic and to what real ranks
send). FLOPs are counted as well. Time is modelled: FLOPs over a rate of computing, bytes over the rate of a link. Both
rates are assumptions, printed above the table and set by options; where a step was measured, --step-seconds replaces
FLOPs over a rate.

Two figures bracket a machine. `exposed` assumes that nothing is sent while the GPU computes. `overlapped` assumes that
weights and gradients are, except the first and the last transfer of each update, and transfers that the program waits
for at once (tokens of sequence ranks, scattered gradients). Efficiency is computing time over the time of the step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VMLA = Path(os.environ.get("VMLA", ROOT / "build" / "vmla"))

# FLOP/s that a whole training step reaches with recomputation counted, at the rates of public kernels: teacher forcing
# is 1143 model TFLOP and 381 recomputed, 2.51 s on an H200 and 1.24 s on a B200 by arithmetic. Not measured.
RATES = {"h200": 1524e12 / 2.51, "b200": 1524e12 / 1.24}
STAGES = ("teacher_forcing", "consistency", "dmd")
SHARDINGS = ("replicate", "zero1", "zero2", "full", "hybrid")


@dataclass(frozen=True)
class Machine:
    """Assumed rates of one GPU."""

    flops: float  # FLOP/s
    nvlink: float = 370e9  # bytes/s to other GPUs of its node
    infiniband: float = 45e9  # bytes/s to other nodes
    gpus_per_node: int = 8
    hop: float = 5e-6  # latency of one hop of a collective, seconds
    hidden: float = 0.9  # share of the computing time under which transfers can hide
    node_rings: bool = False  # rings that enter and leave a node once, over all of its adapters

    def seconds(self, size: float, calls: float, members: int, stride: int) -> float:
        """Time of `calls` collectives among `members` ranks whose numbers lie `stride` apart.

        `size`: the bytes that each rank sends in all of them together.
        """
        if members == 1 or calls == 0:
            return 0.0
        inside = max(1, self.gpus_per_node // stride) if stride <= self.gpus_per_node else 1
        hops = calls * math.ceil(math.log2(members)) * self.hop
        if members <= inside:
            return size / self.nvlink + hops
        if self.node_rings and inside > 1:
            return max(size / self.nvlink, size / inside / self.infiniband) + hops
        return size / self.infiniband + hops


@dataclass(frozen=True)
class Estimate:
    """Seconds of one rank in a cycle of steps."""

    compute: float
    transfers: float  # all transfers, one after another
    overlapped: float  # the part of them that computing does not hide
    sent: float  # bytes

    @property
    def exposed_efficiency(self) -> float:
        return self.compute / (self.compute + self.transfers)

    @property
    def efficiency(self) -> float:
        return self.compute / (self.compute + self.overlapped)


def counted(plan: dict, collective: str, of: str) -> tuple[float, float]:
    """Bytes and calls of a collective in a cycle: one step that updates every player, and the steps until the next one.

    `of`: "collectives" for all of them, "tokens" for those among sequence-parallel ranks.
    """
    between = plan["cycle"]["steps"] - 1
    size = calls = 0.0
    for update in plan["updates"].values():
        for key, times in (("sent", 1), ("sent_between", between)):
            entry = update[key][of].get(collective, {"bytes": 0, "calls": 0})
            size += times * entry["bytes"]
            calls += times * entry["calls"]
    return size, calls


def cycle_flops(plan: dict) -> float:
    """FLOPs of one rank in a cycle, the blocks' second forward included where activations are recomputed (where
    attention is kept, `selective`, that is too much)."""
    trained = {name for name, role in plan["roles"].items() if role["training"] == "trained"}
    total = plan["flops"]["step"]
    if plan["recompute"] != "none":
        phases = plan["flops"]["phases"]
        total += sum(p["flops"] for p in phases if p["phase"] == "forward" and p["role"] in trained)
    return total * plan["cycle"]["steps"] / plan["gpus"]


def estimate(plan: dict, machine: Machine, step_seconds: float | None = None) -> Estimate:
    """Times of a cycle. `step_seconds`: measured computing time of one rank's step, in place of FLOPs over a rate."""
    steps = plan["cycle"]["steps"]
    compute = steps * step_seconds if step_seconds else cycle_flops(plan) / machine.flops
    shard, replicas = plan["shard_size"], plan["gpus"] // plan["shard_size"]

    def weights(collective: str) -> tuple[float, float]:
        (size, calls), (tokens, token_calls) = (counted(plan, collective, of) for of in ("collectives", "tokens"))
        return size - tokens, calls - token_calls

    gathers = machine.seconds(*weights("all_gather"), shard, 1)
    scatters = machine.seconds(*weights("reduce_scatter"), shard, 1)
    # All-reduces sum gradients among the replicas of a shard. Without replicas they sum reported figures of all ranks.
    holders = (replicas, shard) if replicas > 1 else (shard, 1)
    sums = machine.seconds(*weights("all_reduce"), *holders)
    tokens = sum(
        machine.seconds(*counted(plan, collective, "tokens"), plan["sequence_parallel_size"], 1)
        for collective in ("all_gather", "reduce_scatter", "all_to_all")
    )
    # The backward waits for a reduce-scatter if it adds up the result at once, or if an all-reduce follows it.
    waited_for = scatters if plan["gradient_accumulation"] == "scattered" or (shard > 1 and replicas > 1) else 0.0
    hideable = gathers + scatters + sums - waited_for
    calls = sum(weights(collective)[1] for collective in ("all_gather", "reduce_scatter", "all_reduce"))
    updates = len(plan["updates"]) + (steps - 1) * sum(
        1 for update in plan["updates"].values() if update["sent_between"]["bytes"] > 0
    )
    # The first and the last transfer of each update have no computing to hide under: two calls of mean length.
    ends = min(hideable, 2 * updates * hideable / calls) if calls else 0.0
    left = max(ends, hideable - machine.hidden * compute)
    return Estimate(
        compute=compute,
        transfers=gathers + scatters + sums + tokens,
        overlapped=waited_for + tokens + left,
        sent=plan["cycle"]["sent"],
    )


def plan_of(stage: str, gpus: int, sharding: str, sequence: int, micro_batches: int, per_node: int) -> dict:
    """What the program counts for a stage of configs/wan1.3b, a clip a micro-batch, scores of 1.3B."""
    settings = {
        "distributed.sharding": sharding,
        "distributed.sequence_parallel_size": sequence,
        "train.batch_size": gpus // sequence * micro_batches,
        "train.micro_batch_size": 1,
    }
    if sharding == "hybrid":
        settings["distributed.shard_size"] = min(per_node, gpus)
    if stage == "dmd":
        settings["init_from.real_score.preset"] = "wan1.3b"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "memory.json"
        command = [VMLA, "analyze", "memory", "--config", ROOT / "configs" / "wan1.3b" / f"{stage}.yaml"]
        command += ["--gpus", gpus, "--json", file]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"vmla analyze memory: {done.stderr.strip()}")
        return json.loads(file.read_text())


def assumptions(machines: dict[str, Machine], step_seconds: float | None) -> str:
    (any_machine, *_) = machines.values()
    lines = ["MODEL, not a measurement. Counted by the program: bytes, collectives, FLOPs. Assumed:"]
    for name, machine in machines.items():
        lines.append(f"  {name}: {machine.flops / 1e12:.0f} TFLOP/s over a whole step (--flops)")
    if step_seconds:
        lines.append(f"  but: a rank computes {step_seconds:g} s a step, as given (--step-seconds)")
    rings = "rings over all adapters of a node" if any_machine.node_rings else "each GPU through its own adapter"
    lines += [
        f"  {any_machine.nvlink / 1e9:g} GB/s within a node of {any_machine.gpus_per_node} (--nvlink, --gpus-per-node), "
        f"{any_machine.infiniband / 1e9:g} GB/s between nodes (--infiniband), {rings} (--node-rings)",
        f"  {any_machine.hop * 1e6:g} us a hop, log2(ranks) hops a collective (--hop-us)",
        f"  overlapped: transfers hide under {any_machine.hidden:.0%} of the computing time (--hidden) and slow nothing down",
        "  smaller slices compute at the same rate; no stragglers, no data or optimizer time",
        "  dmd: bytes are those of rollouts that run all their steps, FLOPs the mean over exits",
    ]
    return "\n".join(lines)


def row(plan: dict, name: str, guess: Estimate) -> dict:
    return {
        "stage": plan["objective"],
        "gpu": name,
        "gpus": plan["gpus"],
        "sharding": plan["sharding"],
        "sequence": plan["sequence_parallel_size"],
        "steps": plan["cycle"]["steps"],
        "sent_bytes": guess.sent,
        "model_compute_seconds": guess.compute,
        "model_transfer_seconds": guess.transfers,
        "model_overlapped_seconds": guess.overlapped,
        "model_efficiency_exposed": guess.exposed_efficiency,
        "model_efficiency": guess.efficiency,
    }


COLUMNS = ("stage", "GPU", "GPUs", "sharding", "seq", "GB sent", "compute s", "exposed s", "overlapped s", "eff. exposed", "eff.")


def table(rows: list[dict]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for r in rows:
        cells = (
            r["stage"] + (f", {r['steps']} steps" if r["steps"] > 1 else ""),
            r["gpu"],
            r["gpus"],
            r["sharding"],
            r["sequence"],
            f"{r['sent_bytes'] / 1e9:.3g}",
            f"{r['model_compute_seconds']:.3g}",
            f"{r['model_transfer_seconds']:.2g}",
            f"{r['model_overlapped_seconds']:.2g}",
            f"{r['model_efficiency_exposed']:.1%}",
            f"{r['model_efficiency']:.1%}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", nargs="+", choices=RATES, default=list(RATES))
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 256, 1024])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--sharding", nargs="+", choices=SHARDINGS, default=["zero1", "full", "hybrid"])
    parser.add_argument("--sequence", type=int, nargs="+", default=[1, 2, 4, 8], help="on the first of --gpus; else 1")
    parser.add_argument("--micro-batches", type=int, default=1, help="of one clip, a data rank and step")
    parser.add_argument("--plan", type=Path, nargs="+", help="take these files of `vmla analyze memory --json` instead")
    parser.add_argument("--step-seconds", type=float, help="measured computing time of a rank's step")
    parser.add_argument("--flops", type=float, help="TFLOP/s over a step, for every --gpu")
    parser.add_argument("--nvlink", type=float, default=Machine.nvlink / 1e9, help="GB/s")
    parser.add_argument("--infiniband", type=float, default=Machine.infiniband / 1e9, help="GB/s a GPU")
    parser.add_argument("--gpus-per-node", type=int, default=Machine.gpus_per_node)
    parser.add_argument("--hop-us", type=float, default=Machine.hop * 1e6)
    parser.add_argument("--hidden", type=float, default=Machine.hidden)
    parser.add_argument("--node-rings", action="store_true", help="rings share a node's adapters, as NCCL can lay them")
    parser.add_argument("--json", type=Path, help="write every row here")
    return parser.parse_args()


def planned(args: argparse.Namespace) -> list[dict]:
    if args.plan:
        return [json.loads(file.read_text()) for file in args.plan]
    ways = [(gpus, sharding, 1) for gpus in args.gpus for sharding in args.sharding]
    ways += [(args.gpus[0], args.sharding[0], sequence) for sequence in args.sequence if sequence > 1]
    return [
        plan_of(stage, gpus, sharding, sequence, args.micro_batches, args.gpus_per_node)
        for stage in args.stages
        for gpus, sharding, sequence in ways
    ]


def main() -> None:
    args = arguments()
    machines = {
        name: Machine(
            flops=args.flops * 1e12 if args.flops else RATES[name],
            nvlink=args.nvlink * 1e9,
            infiniband=args.infiniband * 1e9,
            gpus_per_node=args.gpus_per_node,
            hop=args.hop_us * 1e-6,
            hidden=args.hidden,
            node_rings=args.node_rings,
        )
        for name in args.gpu
    }
    plans = planned(args)
    rows = [row(p, name, estimate(p, m, args.step_seconds)) for name, m in machines.items() for p in plans]
    text = assumptions(machines, args.step_seconds)
    print(text, table(rows), sep="\n\n")
    if args.json:
        args.json.write_text(json.dumps({"assumptions": text.splitlines(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
