"""A network and its weights: what an objective calls the generator, the teacher or a score."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import network
from .model_config import ModelConfig
from .weights import Weights


@dataclass
class Role:
    weights: Weights
    config: ModelConfig

    def trained(self) -> "Role":
        """The same role with weights that record gradients."""
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in self.weights.items()}
        return Role(leaves, self.config)

    def gradients(self) -> Weights:
        """What backward left in the leaves; zero where it did not reach."""
        return {n: torch.zeros_like(w) if w.grad is None else w.grad for n, w in self.weights.items()}

    def causal(self, latents, t_B, text, clean):
        """Flow under teacher forcing, one time a sample."""
        return network.teacher_forcing(self.weights, self.config, latents, frames_of(t_B, latents), text, clean)

    def bidirectional(self, latents, t_B, text):
        return network.bidirectional(self.weights, self.config, latents, frames_of(t_B, latents), text)


def frames_of(t: torch.Tensor, latents_BFCHW: torch.Tensor) -> torch.Tensor:
    """One time a sample -> the same for all its frames; [B, F] stays."""
    return t if t.dim() == 2 else t[:, None].expand(-1, latents_BFCHW.shape[1])


def guided(positive: torch.Tensor, negative: torch.Tensor, scale: float) -> torch.Tensor:
    return negative + scale * (positive - negative)
