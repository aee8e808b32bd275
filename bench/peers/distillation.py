"""The losses of consistency distillation and of self-forcing DMD, as a PyTorch user would write them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from cached_rollout import Rollout
from video_dit import VideoDit


def shifted(u: torch.Tensor, shift: float) -> torch.Tensor:
    return shift * u / (1 + (shift - 1) * u)


def per_sample(x: torch.Tensor) -> torch.Tensor:
    return x.view(-1, 1, 1, 1, 1)


@dataclass
class Consistency:
    student: VideoDit
    teacher: VideoDit
    target: VideoDit
    guidance: float
    shift: float
    points: int = 48

    def __post_init__(self):
        u = 1 - torch.arange(self.points + 1, dtype=torch.float64) / self.points
        self.grid = (1000 * shifted(u, self.shift)).float()  # ends with 0

    def loss(self, clean, noise, index, text, negative) -> torch.Tensor:
        """index [B] of t in the grid; text and negative [B, T, E]."""
        frames = clean.shape[1]
        t, t_next = (self.grid[index + i].unsqueeze(1).expand(-1, frames) for i in (0, 1))
        sigma, sigma_next = per_sample(t[:, 0] / 1000), per_sample(t_next[:, 0] / 1000)
        x_t = torch.lerp(clean, noise, sigma)
        with torch.no_grad():
            x_next = x_t - (sigma - sigma_next) * self.teacher_flow(x_t, t, clean, text, negative)
            target = x_next - sigma_next * self.target(x_next, t_next, text, clean)
        return F.mse_loss(x_t - sigma * self.student(x_t, t, text, clean), target)

    def teacher_flow(self, x_t, t, clean, text, negative) -> torch.Tensor:
        if self.guidance == 1:
            return self.teacher(x_t, t, text, clean)
        texts, clips = torch.cat([text, negative]), clean.repeat(2, 1, 1, 1, 1)
        positive, negative = self.teacher(x_t.repeat(2, 1, 1, 1, 1), t.repeat(2, 1), texts, clips).chunk(2)
        return torch.lerp(negative, positive, self.guidance)


@dataclass
class Dmd:
    generator: VideoDit
    real: VideoDit
    fake: VideoDit
    guidance: float
    shift: float
    steps: list[float]  # as the network sees them
    time_range: tuple[float, float] = (20.0, 980.0)

    def __post_init__(self):
        self.rollout = Rollout(self.generator.config)

    def score_time(self, tau: torch.Tensor) -> torch.Tensor:
        return (1000 * shifted(tau / 1000, self.shift)).clamp(*self.time_range)

    def fake_loss(self, draws: dict, text: torch.Tensor) -> torch.Tensor:
        """draws: noise of the rollout and of the score [B, F, C, H, W], renoise(k, frames), exit_index, tau [B]."""
        with torch.no_grad():
            x = self.rollout.run(
                self.generator, draws["rollout_noise"], draws["renoise"], self.steps, draws["exit_index"], text
            )
            t = self.score_time(draws["tau"])
            noisy = torch.lerp(x, draws["noise"], per_sample(t / 1000))
        return F.mse_loss(self.fake(noisy, t, text), draws["noise"] - x)

    def generator_loss(self, draws: dict, text: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        x = self.rollout.run(
            self.generator, draws["rollout_noise"], draws["renoise"], self.steps, draws["exit_index"], text, True
        )
        with torch.no_grad():
            t = self.score_time(draws["tau"])
            sigma = per_sample(t / 1000)
            noisy = torch.lerp(x, draws["noise"], sigma)
            d_fake = noisy - sigma * self.fake(noisy, t, text)
            both = self.real(noisy.repeat(2, 1, 1, 1, 1), t.repeat(2), torch.cat([text, negative]))
            positive, negative = both.chunk(2)
            # D_c + g (D_c - D_u) is linear in the flows.
            d_real = noisy - sigma * (positive + self.guidance * (positive - negative))
            gradient = (d_fake - d_real) / (x - d_real).abs().mean((1, 2, 3, 4), keepdim=True)
            goal = x - gradient
        return 0.5 * F.mse_loss(x, goal)
