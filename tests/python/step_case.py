"""Cases of `vmla step` for the distillation stages: roles, draws, the command, and the comparison with plain PyTorch.

fp64 runs show that both sides compute the same thing, to rounding; fp32 runs that the program's usual precision keeps
it within the project's contract.
"""

from dataclasses import dataclass

import torch
from safetensors.torch import load_file

from parity import deviation
from program import model_section, vmla, write_tensors, write_yaml
from reference import objectives
from reference.model_config import ModelConfig, latent_config
from reference.roles import Role
from reference.schedule import warped_steps
from reference.weights import random_weights, to_double, write_export_folder, write_wan_folder

SHIFT = 5.0
DENSE = ModelConfig(dim=48, ffn_dim=64, num_heads=2, freq_dim=16, text_len=8, text_dim=12)
LATENT = latent_config(DENSE, kv_rank=16, q_rank=28, nope=12, rope=8, value=20)
BARE = LATENT.replace(bias=False)
# A score may be wider and deeper than the student; only latents and text are common.
WIDE = DENSE.replace(dim=64, ffn_dim=80, num_heads=4, freq_dim=32, num_layers=3)

# (num_frame_per_block, local_attn_size, sink_size, frames)
WINDOWS = {
    "frame-wise": (1, -1, 0, 4),
    "frame-wise, evicting, with a sink": (1, 3, 1, 6),
    "chunk-wise": (2, -1, 0, 6),
    "chunk-wise, evicting, with a sink": (2, 4, 1, 10),
    "evicting without a sink": (2, 3, 0, 8),
}


def case_name(value):
    return {id(DENSE): "dense", id(LATENT): "mla", id(BARE): "mla bare"}.get(id(value), getattr(value, "name", None))


@dataclass(frozen=True)
class Precision:
    name: str
    dtype: torch.dtype
    relative: float  # of a tensor's rms, of a loss, of a gradient's norm
    of_total: float  # a gradient that is small beside the whole carries the whole's rounding


FP64 = Precision("fp64", torch.float64, 1e-9, 1e-12)
FP32 = Precision("fp32", torch.float32, 1e-4, 1e-6)


def windowed(config, name):
    block, attended, sink, frames = WINDOWS[name]
    return config.replace(num_frame_per_block=block, local_attn_size=attended, sink_size=sink), frames


def role(config, seed, precision=FP64):
    """Weights that fp32 cannot hold when the precision is fp64."""
    weights = random_weights(config, seed, precision.dtype)
    return Role({n: w * (1 + 1e-9) for n, w in weights.items()} if precision is FP64 else weights, config)


def exact(r: Role) -> Role:
    return Role(to_double(r.weights), r.config)


class Draws:
    """Tensors from one stream, in the precision of the file."""

    def __init__(self, seed, frames, precision=FP64, batch=2, channels=DENSE.in_dim):
        self.generator = torch.Generator().manual_seed(seed)
        self.frames, self.dtype, self.batch, self.channels = frames, precision.dtype, batch, channels

    def normal(self, *shape):
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def video(self):
        return self.normal(self.batch, self.frames, self.channels, 4, 6)

    def words(self):
        return self.normal(self.batch, 5, DENSE.text_dim)

    def numbers(self, values):
        return torch.tensor(values, dtype=torch.float64).to(self.dtype)


def step_arguments(folder, precision, objective, roles, settings, inputs, *flags):
    """`vmla step` with these roles' weights and inputs, all written under `folder`."""
    init_from = {}
    for name, r in roles.items():
        write = write_export_folder if r.config.attention == "mla" else write_wan_folder
        init_from[name] = {"path": str(write(folder / name, r.config, r.weights))}
    file = write_yaml(
        folder / "step.yaml",
        {
            "stage": "step",
            "seed": 0,
            "init_from": init_from,
            "model": model_section(roles["generator"].config),
            "objective": {"name": objective, objective: {"timestep_shift": SHIFT, **settings}},
            "train": {"precision": precision.name},
            # decodes and encodes what stands before a scored window
            "data": {"make": {"codec": "space_to_depth:2"}},
        },
    )
    source = write_tensors(folder / "in.safetensors", inputs)
    return ["step", "--config", file, "--inputs", source, "--output", folder / "out.safetensors", *flags]


def step(folder, *case):
    vmla(*step_arguments(folder, *case))
    return load_file(folder / "out.safetensors")


def check(written, expected, trained, precision):
    """Every expected tensor, and the gradient's norm of every trained tensor."""
    assert all(t.dtype == precision.dtype for t in written.values())
    for name, tensor in expected.items():
        if tensor.dim() == 0:
            assert abs(float(written[name]) - float(tensor)) <= precision.relative * abs(float(tensor)), name
        else:
            assert written[name].shape == tensor.shape, name
            assert deviation(written[name], tensor) <= precision.relative, name
    check_gradients(written, trained.gradients(), precision)


def check_gradients(written, grads, precision):
    total = objectives.total_norm(grads)
    assert total > 0
    assert abs(float(written["grad_norm"]) - total) <= precision.relative * total
    names = {name.removeprefix("grad_norm.") for name in written if name.startswith("grad_norm.")}
    assert names == set(grads), f"missing {set(grads) - names}, unknown {names - set(grads)}"
    wrong = {}
    for name, gradient in grads.items():
        expected, actual = float(gradient.norm()), float(written[f"grad_norm.{name}"])
        if abs(actual - expected) > precision.relative * expected + precision.of_total * total:
            wrong[name] = (actual, expected)
    assert not wrong


def cd_inputs(draws, index):
    return {
        "clean_latents": draws.video(),
        "noise": draws.video(),
        "index": torch.tensor(index),
        "text": draws.words(),
        "negative_text": draws.words(),
    }


STEP_LISTS = {1: [1000], 2: [1000, 500], 4: [1000, 750, 500, 250]}
SCORES = ("generator", "real_score", "fake_score")


def dmd_roles(config, precision=FP64):
    return dict(zip(SCORES, (role(config, 12, precision), role(WIDE, 13, precision), role(DENSE, 14, precision))))


def dmd_inputs(draws, steps, exit_index):
    return {
        "rollout_noise": draws.video(),
        "renoise": torch.stack([draws.video() for _ in range(3)])[: max(steps - 1, 1)],
        "denoising_steps": draws.numbers(warped_steps(STEP_LISTS[steps], SHIFT).tolist()),
        "exit_index": torch.tensor(exit_index),
        "tau": torch.tensor([130, 700]),
        "noise": draws.video(),
        "text": draws.words(),
        "negative_text": draws.words(),
    }
