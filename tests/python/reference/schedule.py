"""Flow matching: xt = (1 - sigma) x0 + sigma eps, v = eps - x0, sigma = t / 1000 exactly (docs/algorithms.md 7)."""

from __future__ import annotations

import torch

TABLE_SIZE = 1000


def shifted(u: torch.Tensor, shift: float) -> torch.Tensor:
    return shift * u / (1 + (shift - 1) * u)


def sigma_table(shift: float, size: int = TABLE_SIZE) -> torch.Tensor:
    """sigma_i of u_i = 1 - i/size, descending from 1; the final 0 is not in it."""
    return shifted(1 - torch.arange(size, dtype=torch.float64) / size, shift)


def warped_steps(linear_steps: list[int], shift: float) -> torch.Tensor:
    """Times of a denoising list given in linear units of 1000: [1000, 750, 500, 250] -> [1000, 937.5, 833.3, 625]."""
    table = torch.cat([1000 * sigma_table(shift), torch.zeros(1, dtype=torch.float64)])
    return table[[TABLE_SIZE - s for s in linear_steps]]


def time_grid(points: int, shift: float) -> torch.Tensor:
    """The grid of consistency distillation and of ODE data with its end: t_0 = 1000, ..., t_points = 0."""
    return torch.cat([1000 * sigma_table(shift, points), torch.zeros(1, dtype=torch.float64)])


def sigma_at(t: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
    """sigma of any times: t / 1000, or the nearest entry of a table as the published code has it."""
    if table is None:
        return t / 1000
    return table[(1000 * table - t.double().unsqueeze(-1)).abs().argmin(-1)].to(t.dtype)


def per_frame(t: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
    """sigma of [B] or [B, F] times, ready to multiply [B, F, C, H, W]."""
    sigma = sigma_at(t, table)
    return sigma.reshape(*sigma.shape, *([1] * (5 - sigma.dim())))


def add_noise(x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
    sigma = per_frame(t, table)
    return (1 - sigma) * x0 + sigma * eps


def clean_from_flow(xt: torch.Tensor, flow: torch.Tensor, t: torch.Tensor, table: torch.Tensor | None = None):
    return xt - per_frame(t, table) * flow


def loss_weight(t: torch.Tensor, shift: float) -> torch.Tensor:
    """The bell-shaped weight at any t, normalised so that its mean over the training table is 1."""

    def bell(time: torch.Tensor) -> torch.Tensor:
        return torch.exp(-2 * ((time - 500) / 1000) ** 2)

    table = bell(1000 * sigma_table(shift))
    return (bell(t.double()) - table.min()) * TABLE_SIZE / (table - table.min()).sum()
