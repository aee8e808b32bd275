"""Stage 3: distribution matching over the student's own rollouts, on given draws (docs/algorithms.md 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import schedule
from .roles import Role
from .rollout import Schedule, roll_out

Tensors = dict[str, torch.Tensor]
# The published scores convert flow and clean video with a table of their own, whatever the training shift.
PUBLISHED_SCORE_SHIFT = 8.0


@dataclass
class DmdSettings:
    shift: float = 5.0
    guidance: float = 3.0
    time_range: tuple[float, float] = (20.0, 980.0)
    kv_grad: str = "detached"
    context_noise: float = 0.0
    quantized: bool = False
    every_window: bool = False  # of a rollout longer than a clip; else the last alone

    def table(self, shift: float) -> torch.Tensor | None:
        return schedule.sigma_table(shift) if self.quantized else None


@dataclass
class Window:
    """Frames [begin, end) of a rollout that the scores see as one clip; [trained_from, end) get its gradient."""

    begin: int
    end: int
    trained_from: int

    def clip(self, x: torch.Tensor) -> torch.Tensor:
        """In front of a later window stands the last frame before it, decoded and encoded as a picture.

        A codec without loss or compression in time, as here, gives that frame back.
        """
        return x[:, max(self.begin - 1, 0) : self.end]


def scored_windows(generator: Role, inputs: Tensors, settings: DmdSettings) -> list[Window]:
    """A later window takes clip - 1 frames and does not train its first chunk, whose past it lacks."""
    frames, clip = inputs["rollout_noise"].shape[1], inputs["noise"].shape[-4]
    config = generator.config
    new = clip - (1 if config.independent_first_frame else config.num_frame_per_block)
    if frames <= clip:
        return [Window(0, frames, 0)]
    if not settings.every_window:
        return [Window(frames - clip + 1, frames, frames - new)]
    ends = [clip, *range(clip + new, frames, new), frames]
    later = [Window(end - clip + 1, end, before) for before, end in zip(ends, ends[1:])]
    return [Window(0, clip, 0), *later]


def draws_of(inputs: Tensors, windows: list[Window]) -> list[Tensors]:
    """The scores' draws of each window; a leading axis separates them where there are several."""
    if len(windows) == 1:
        return [inputs]
    return [inputs | {"tau": tau, "noise": noise} for tau, noise in zip(inputs["tau"], inputs["noise"])]


def rollout_schedule(inputs: Tensors, settings: DmdSettings) -> Schedule:
    first = inputs.get("first_chunk_denoising_steps")
    return Schedule(
        steps=inputs["denoising_steps"].tolist(),
        exit_index=int(inputs["exit_index"]),
        first_steps=None if first is None else first.tolist(),
        first_exit_index=int(inputs.get("first_chunk_exit_index", 0)),
        context_time=settings.context_noise,
        gradient_from=0 if settings.every_window else inputs["rollout_noise"].shape[1] - inputs["noise"].shape[-4],
        table=settings.table(settings.shift),
    )


def rollout_of(generator: Role, inputs: Tensors, settings: DmdSettings):
    return roll_out(
        generator,
        inputs["rollout_noise"],
        inputs["renoise"],
        rollout_schedule(inputs, settings),
        inputs["text"],
        kv_grad=settings.kv_grad,
        context_noise=inputs.get("context_noise"),
    )


def score_time(tau: torch.Tensor, settings: DmdSettings) -> torch.Tensor:
    return (1000 * schedule.shifted(tau / 1000, settings.shift)).clamp(*settings.time_range)


def dmd_gradient(x: torch.Tensor, real: Role, fake: Role, inputs: Tensors, settings: DmdSettings) -> Tensors:
    """(D_fake - D_real) / mean_{F,C,H,W} |x - D_real|, one normaliser a sample."""
    t = score_time(inputs["tau"].to(x.dtype), settings)
    xt = schedule.add_noise(x, inputs["noise"], t, settings.table(settings.shift))

    def clean(score: Role, text: torch.Tensor) -> torch.Tensor:
        return schedule.clean_from_flow(xt, score.bidirectional(xt, t, text), t, settings.table(PUBLISHED_SCORE_SHIFT))

    d_fake = clean(fake, inputs["text"])
    conditional = clean(real, inputs["text"])
    d_real = conditional + settings.guidance * (conditional - clean(real, inputs["negative_text"]))
    scale = (x - d_real).abs().mean(dim=(1, 2, 3, 4), keepdim=True)
    gradient = (d_fake - d_real) / scale
    gradient = torch.where(gradient.isfinite(), gradient, torch.zeros_like(gradient))
    return {"d_fake": d_fake, "d_real": d_real, "dmd_gradient": gradient}


def generator_step(
    generator: Role, real: Role, fake: Role, inputs: Tensors, settings: DmdSettings = DmdSettings()
) -> tuple[Tensors, Role]:
    """0.5 mean (x - stopgrad(x - gradient))², back-propagated through all exit steps at once; a mean over windows.

    The scores' tensors are those of the last window.
    """
    role = generator.trained()
    x, _ = rollout_of(role, inputs, settings)
    x.retain_grad()
    windows = scored_windows(generator, inputs, settings)
    loss = 0
    for window, draws in zip(windows, draws_of(inputs, windows)):
        with torch.no_grad():
            parts = dmd_gradient(window.clip(x), real, fake, draws, settings)
        trained = x[:, window.trained_from : window.end]
        goal = trained.detach() - parts["dmd_gradient"][:, -trained.shape[1] :]
        loss = loss + 0.5 * (trained - goal).square().mean() / len(windows)
    loss.backward()
    return {"loss": loss.detach(), "rollout": x.detach(), "grad.rollout": x.grad, **parts}, role


def fake_score_step(
    generator: Role, fake: Role, inputs: Tensors, settings: DmdSettings = DmdSettings()
) -> tuple[Tensors, Role]:
    """mean (v - (eps - x))² of the fake score on a rollout without gradient, over all frames of its windows."""
    with torch.no_grad():
        x, _ = rollout_of(generator, inputs, settings)
    role = fake.trained()
    windows = scored_windows(generator, inputs, settings)
    loss = 0
    for window, draws in zip(windows, draws_of(inputs, windows)):
        clip, eps = window.clip(x), draws["noise"]
        t = score_time(draws["tau"].to(x.dtype), settings)
        flow = role.bidirectional(
            schedule.add_noise(clip, eps, t, settings.table(settings.shift)), t, inputs["text"]
        )
        if settings.quantized:  # to clean video by one table and back by the other
            there = schedule.per_frame(t, settings.table(PUBLISHED_SCORE_SHIFT))
            flow = flow * there / schedule.per_frame(t, settings.table(settings.shift))
        loss = loss + (flow - (eps - clip)).square().mean() / len(windows)
    loss.backward()
    return {"loss": loss.detach(), "rollout": x}, role
