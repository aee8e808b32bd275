"""The stages of configs/tiny at any width, as both sides of a benchmark read them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from safetensors.torch import load_file, save_file

from measure import ROOT, VMLA, run

TINY = 64  # model.dim of configs/tiny
# What grows with the width. The width of a head and what a clip or a text is made of stay.
IN_PROPORTION = ("dim", "ffn_dim", "num_heads", "freq_dim", "kv_lora_rank", "q_lora_rank")
PEER_FIELDS = (
    *("attention", "dim", "ffn_dim", "freq_dim", "in_dim", "num_heads", "num_layers", "text_len", "text_dim"),
    *("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    *("num_frame_per_block", "local_attn_size", "sink_size"),
)
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
# fp32 on both sides, sums in another order; DMD divides a difference of two close clips by their distance to a third.
AGREEMENT = 1e-3


def fewer(count: int, width: int, least: int) -> int:
    """Of `count` units at the tiny width, how many to run at this one: a wider model's take longer."""
    return min(count, max(least, count * TINY // width))


def settings(values: dict) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


class Stage:
    """A stage of configs/tiny with the model widened: its configuration, and `changes`, the keys that make it so."""

    def __init__(self, name: str, width: int):
        self.name, self.width = name, width
        self.file = ROOT / "configs" / "tiny" / f"{name}.yaml"
        self.config = yaml.safe_load(self.file.read_text())
        self.objective = self.config["objective"][self.config["objective"]["name"]]
        self.changes = {}
        # So that a wide model keeps to finite numbers, at rates that were chosen for a narrow one.
        for optimizer, key in ((self.config["optimizer"], "optimizer"), *self._critic()):
            optimizer["lr"] = float(optimizer["lr"]) * TINY / width
            self.changes[f"{key}.lr"] = optimizer["lr"]
        model = self.config["model"]
        for size in IN_PROPORTION:
            if size not in model:
                continue
            if model[size] * width % TINY:
                sys.exit(f"--width {width}: {size} would not be whole; take a multiple of {TINY // 2}")
            self.changes[f"model.{size}"] = model[size] = model[size] * width // TINY

    def _critic(self) -> list[tuple[dict, str]]:
        section = f"objective.{self.config['objective']['name']}.fake_score_optimizer"
        return [(self.objective["fake_score_optimizer"], section)] if "fake_score_optimizer" in self.objective else []

    def command(self, verb: str, changes: dict, *flags) -> list:
        return [VMLA, verb, "--config", self.file, *settings(self.changes | changes), *flags]

    def peer_shape(self) -> dict:
        """Fields of the peers' PeerConfig; rotary pairs by the default rule."""
        model = self.config["model"]
        shape = {name: model[name] for name in PEER_FIELDS if name in model}
        made = self.config["data"]["make"]
        block = int(made["codec"].split(":")[1])
        shape["frames"] = made["frames"]
        shape |= {side: made[f"size_{side}"] // block for side in ("height", "width")}
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


class Workplace:
    """A small dataset, and run folders of two steps: their weights are as good as random, and speed does not care."""

    def __init__(self, folder: Path):
        self.folder, self.data = folder, folder / "clips.h5"
        run([VMLA, "data", "synth", "--out", folder / "videos", "--count", 64], "data synth")
        run([VMLA, "data", "encode", "--videos", folder / "videos", "--out", self.data], "data encode")
        self.quiet = QUIET | {"data.path": self.data, "data.validation_path": self.data}

    def made(self, name: str, width: int = TINY) -> Path:
        """The run folder of `pretrain`, or of `teacher_forcing` that starts from it."""
        target = self.folder / f"{name}_{width}"
        if not target.exists():
            changes = self.quiet | {"train.steps": 2, "train.threads": 1}
            if name == "teacher_forcing":
                changes["init_from.generator"] = self.made("pretrain", width)
            run(Stage(name, width).command("train", changes, "--run-dir", target), f"vmla train, {name}")
        return target


def weights_of(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "latest" / "generator.safetensors"


def check_losses(stage: Stage, changes: dict, inputs: dict, folder: Path, peers: dict[str, list]) -> None:
    """Ends the benchmark unless every peer, by the name of its command, has the program's losses on these draws."""
    source, target = folder / "draws.safetensors", folder / "step.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, source)
    ours: dict[str, float] = {}
    for name, command in peers.items():
        for player, theirs in json.loads(run([*command, "--check", source], f"the {name} peer")).items():
            if player not in ours:
                flags = ["--inputs", source, "--output", target, "--player", player]
                run(stage.command("step", changes, *flags), "vmla step")
                ours[player] = float(load_file(target)["loss"])
            said = f"{stage.name}, width {stage.width}, {player}: loss {ours[player]:.7g}, {name} {theirs:.7g}"
            print(said, file=sys.stderr)
            if not abs(ours[player] - theirs) <= AGREEMENT * abs(ours[player]):
                sys.exit(f"the sides compute different losses: {said}")
