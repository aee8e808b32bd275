"""The student's own rollout: chunk after chunk against a cache of its own latents (docs/algorithms.md 10.2).

The cache is a Python list with one entry a chunk; a chunk's window is gathered from it by frame number. What it keeps
of a token is the latent after its norm and the unrotated rotary key (dense: values and keys); later chunks expand the
latent with the weights of the moment, so only what is kept is cut off from the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import network, schedule, windows
from .roles import Role

Tensor = torch.Tensor
Kept = list[tuple[Tensor, Tensor]]  # per layer: content and rotary key of one chunk's frames


def frames_from(past: list[Kept], layer: int, frames: list[int]) -> tuple[Tensor, Tensor]:
    content, rotary = (torch.cat([kept[layer][part] for kept in past], dim=1) for part in (0, 1))
    return content[:, frames], rotary[:, frames]


def chunk_flow(role: Role, past: list[Kept], chunk: list[int], latents: Tensor, t: float | Tensor, text: Tensor):
    """The flow of one chunk whose frames are all at time t, and what a cache would keep of it."""
    w, config, grid = role.weights, role.config, network.grid_of(latents)
    attended = windows.attended_frames(config, chunk[-1] + 1)
    earlier = [f for f in attended if f < chunk[0]]
    position = windows.positions_of(config, attended)
    times = torch.full(latents.shape[:2], float(t), dtype=latents.dtype)
    x = network.embed_patches(w, latents)
    e, e0 = network.embed_time(w, config, times)
    context = network.embed_text(w, config, text)
    kept: Kept = []
    for layer in range(config.num_layers):

        def attention(q, k):
            kept.append((k.content, k.rotary))
            if earlier:
                before = network.keys_of(w, config, f"blocks.{layer}.self_attn", *frames_from(past, layer, earlier))
                k = network.Keys.join([before, k])
            return network.attend(config, grid, q, [position[f] for f in chunk], k, list(position.values()))

        x = network.block(w, config, layer, x, e0, context, attention)
    return network.read_out(w, config, x, e, grid), kept


def detached(kept: Kept) -> Kept:
    return [(content.detach(), rotary.detach()) for content, rotary in kept]


def straight_through(values: Kept, graph: Kept) -> Kept:
    """The context pass's values with the exit step's gradient path, as the published in-place cache has it."""

    def joined(value: Tensor, path: Tensor) -> Tensor:
        return value.detach() + (path - path.detach())

    return [(joined(v[0], g[0]), joined(v[1], g[1])) for v, g in zip(values, graph)]


@dataclass
class Schedule:
    """The steps of a rollout as the network sees them, and the step each chunk leaves at."""

    steps: list[float]
    exit_index: int
    first_steps: list[float] | None = None  # other steps of the first chunk
    first_exit_index: int = 0
    context_time: float = 0.0
    gradient_from: int = 0  # chunks that begin before this frame run without gradient
    table: Tensor | None = None  # sigma table, where sigma is looked up

    def of_chunk(self, number: int) -> list[float]:
        if number == 0 and self.first_steps is not None:
            return self.first_steps[: self.first_exit_index + 1]
        return self.steps[: self.exit_index + 1]


@dataclass
class ExitStep:
    """All that one chunk's exit step depends on: enough to compute it again."""

    chunk: list[int]
    latents: Tensor
    time: float
    past: list[Kept]

    def run(self, role: Role, text: Tensor, table: Tensor | None) -> tuple[Tensor, Kept]:
        flow, kept = chunk_flow(role, self.past, self.chunk, self.latents, self.time, text)
        return schedule.clean_from_flow(self.latents, flow, self.latents.new_tensor([self.time]), table), kept


def roll_out(
    role: Role, noise: Tensor, renoise: Tensor, plan: Schedule, text: Tensor, *, kv_grad="detached", context_noise=None
) -> tuple[Tensor, list[ExitStep]]:
    """[B, F, C, H, W] predictions of every chunk's exit step (with gradient, if the weights ask for it), and the steps.

    renoise[k] re-noises after step k. The context pass sees the chunk noised to `context_time` by `context_noise`; where
    sigma is looked up, that is never none.
    """
    past: list[Kept] = []
    video, exits = [], []
    for number, chunk in enumerate(windows.chunks(role.config, noise.shape[1])):
        times = plan.of_chunk(number)
        x = noise[:, chunk]
        with torch.no_grad():
            for k in range(len(times) - 1):
                clean, _ = ExitStep(chunk, x, times[k], past).run(role, text, plan.table)
                x = schedule.add_noise(clean, renoise[k][:, chunk], x.new_tensor([times[k + 1]]), plan.table)
        step = ExitStep(chunk, x, times[-1], list(past))
        with torch.set_grad_enabled(torch.is_grad_enabled() and chunk[0] >= plan.gradient_from):
            clean, graph = step.run(role, text, plan.table)
        with torch.no_grad():
            seen = clean
            if context_noise is not None:
                seen = schedule.add_noise(clean, context_noise[:, chunk], x.new_tensor([plan.context_time]), plan.table)
            _, kept = chunk_flow(role, past, chunk, seen, plan.context_time, text)
        past.append(detached(kept) if kv_grad == "detached" else straight_through(kept, graph))
        video.append(clean)
        exits.append(step)
    return torch.cat(video, dim=1), exits
