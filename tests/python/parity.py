"""Random inputs of a network call, and the measure by which two results are compared."""

from __future__ import annotations

import torch

from reference.model_config import ModelConfig

# fp32 against fp64: the contract of the project.
TOLERANCE = 1e-4


def deviation(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """max |actual - expected| / rms(expected)."""
    actual, expected = actual.double(), expected.double()
    return float((actual - expected).abs().max() / expected.square().mean().sqrt())


def random_inputs(config: ModelConfig, *, batch, frames, height, width, text_rows, seed=0, uniform=False) -> dict:
    """fp32 tensors of a `forward` file, clean latents included; `uniform` gives one time a sample."""
    g = torch.Generator().manual_seed(seed)
    shape = (batch, frames, config.in_dim, height, width)
    times = torch.rand((batch, 1 if uniform else frames), generator=g) * 1000
    return {
        "latents": torch.randn(shape, generator=g),
        "timesteps": times.expand(batch, frames).contiguous(),
        "text": torch.randn((batch, text_rows, config.text_dim), generator=g),
        "clean_latents": torch.randn(shape, generator=g),
    }


def double(tensors: dict) -> dict:
    return {name: t.double() for name, t in tensors.items()}
