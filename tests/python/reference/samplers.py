"""Samplers over a velocity function v(x, t): Euler on the shifted grid, UniPC of order 2 (docs/algorithms.md 8)."""

from __future__ import annotations

import math
from typing import Callable

import torch

from .schedule import shifted, sigma_table

Velocity = Callable[[torch.Tensor, float], torch.Tensor]


def euler(velocity: Velocity, x: torch.Tensor, steps: int, shift: float) -> torch.Tensor:
    sigmas = [*sigma_table(shift, steps).tolist(), 0.0]
    for now, after in zip(sigmas, sigmas[1:]):
        x = x + velocity(x, 1000 * now) * (after - now)
    return x


def unipc_sigmas(steps: int, shift: float) -> list[float]:
    u = torch.linspace(0.999, 0, steps + 1, dtype=torch.float64)[:-1]
    return [*shifted(u, shift).tolist(), 0.0]


def unipc(velocity: Velocity, x: torch.Tensor, steps: int, shift: float, integer_times=False) -> torch.Tensor:
    """Predictor-corrector of order 2 ("bh2") that predicts x0.

    The network sees 1000 sigma exactly, as everywhere; `integer_times` cuts off the fraction like the public code.
    """
    sigmas = unipc_sigmas(steps, shift)

    def log_snr(i: int) -> float:
        return math.inf if sigmas[i] == 0 else math.log((1 - sigmas[i]) / sigmas[i])

    outputs: list[torch.Tensor] = []  # x0 predictions so far
    before = x  # the sample before the last predictor step
    for i in range(steps):
        sigma = sigmas[i]
        time = math.trunc(1000 * sigma) if integer_times else 1000 * sigma
        outputs.append(x - sigma * velocity(x, float(time)))
        new = outputs[-1]
        if i > 0:
            h = log_snr(i) - log_snr(i - 1)
            q = -h
            growth = math.expm1(q)
            old = outputs[-2]
            alpha = 1 - sigma
            if i == 1:  # the predictor step that led here had order 1
                correction = 0.5 * (new - old)
            else:
                r = (log_snr(i - 2) - log_snr(i - 1)) / h
                g1 = growth / q - 1
                g2 = g1 / q - 0.5
                b1, b2 = g1 / growth, 2 * g2 / growth
                # [[1, 1], [r, 1]] rho = [b1, b2]
                rho1 = (b1 - b2) / (1 - r)
                rho2 = b1 - rho1
                correction = rho1 * (outputs[-3] - old) / r + rho2 * (new - old)
            x = (sigma / sigmas[i - 1]) * before - alpha * growth * old - alpha * growth * correction
        before = x
        if i == steps - 1:  # the last step has order 1 and ends at sigma 0
            return new
        h = log_snr(i + 1) - log_snr(i)
        growth = math.expm1(-h)
        alpha = 1 - sigmas[i + 1]
        slope = 0.0
        if i > 0:
            r = (log_snr(i - 1) - log_snr(i)) / h
            slope = 0.5 * (outputs[-2] - new) / r
        x = (sigmas[i + 1] / sigma) * x - alpha * growth * new - alpha * growth * slope
    return x
