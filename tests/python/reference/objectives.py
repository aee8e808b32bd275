"""Training objectives on given draws, and AdamW, for one step of training (docs/algorithms.md 9 and 11)."""

from __future__ import annotations

import torch

from . import network, schedule
from .model_config import ModelConfig
from .weights import Weights


def teacher_forcing_loss(w: Weights, config: ModelConfig, inputs: dict[str, torch.Tensor], shift: float):
    """mean over samples and frames of weight(t) · mean_{C,H,W} (v − (eps − x0))², the clean context at t = 0."""
    x0, eps, t = inputs["clean_latents"], inputs["noise"], inputs["timesteps"]
    flow = network.teacher_forcing(w, config, schedule.add_noise(x0, eps, t), t, inputs["text"], x0)
    error_BF = (flow - (eps - x0)).square().mean(dim=(2, 3, 4))
    return (schedule.loss_weight(t, shift).to(error_BF.dtype) * error_BF).mean()


def diffusion_forcing_loss(w: Weights, config: ModelConfig, inputs: dict[str, torch.Tensor], shift, quantized=False):
    """The same weighted error where a chunk sees the earlier chunks as noisy as they are."""
    x0, eps, t = inputs["clean_latents"], inputs["noise"], inputs["timesteps"]
    table = schedule.sigma_table(shift) if quantized else None
    flow = network.chunk_causal(w, config, schedule.add_noise(x0, eps, t, table), t, inputs["text"])
    error_BF = (flow - (eps - x0)).square().mean(dim=(2, 3, 4))
    return (schedule.loss_weight(t, shift).to(error_BF.dtype) * error_BF).mean()


def flow_matching_loss(w: Weights, config: ModelConfig, inputs: dict[str, torch.Tensor]):
    """mean (v − (eps − x0))² of the bidirectional network, one time a sample ([B], or equal columns of [B, F])."""
    x0, eps, t = inputs["clean_latents"], inputs["noise"], inputs["timesteps"]
    if t.dim() == 1:
        t = t[:, None].expand(-1, x0.shape[1])
    flow = network.bidirectional(w, config, schedule.add_noise(x0, eps, t), t, inputs["text"])
    return (flow - (eps - x0)).square().mean()


def gradients(loss_of, weights: Weights) -> tuple[float, Weights]:
    """Loss and the gradient of every weight, by autograd."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in weights.items()}
    loss = loss_of(leaves)
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return float(loss.detach()), {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(leaves.items(), grads)}


def total_norm(grads: Weights) -> float:
    return float(torch.stack([g.double().square().sum() for g in grads.values()]).sum().sqrt())


class AdamW:
    """Decoupled weight decay, bias-corrected moments; clips the global gradient norm first."""

    def __init__(self, weights: Weights, lr: float, betas=(0.0, 0.999), eps=1e-8, weight_decay=0.01, clip=10.0):
        self.weights, self.lr, self.betas, self.eps = weights, lr, betas, eps
        self.weight_decay, self.clip, self.count = weight_decay, clip, 0
        self.first = {n: torch.zeros_like(t) for n, t in weights.items()}
        self.second = {n: torch.zeros_like(t) for n, t in weights.items()}

    def step(self, grads: Weights) -> None:
        self.count += 1
        scale = min(1.0, self.clip / (total_norm(grads) + 1e-6))
        beta1, beta2 = self.betas
        for name, w in self.weights.items():
            g = grads[name] * scale
            self.first[name].mul_(beta1).add_(g, alpha=1 - beta1)
            self.second[name].mul_(beta2).addcmul_(g, g, value=1 - beta2)
            mean = self.first[name] / (1 - beta1**self.count)
            spread = (self.second[name] / (1 - beta2**self.count)).sqrt()
            w.mul_(1 - self.lr * self.weight_decay).sub_(self.lr * mean / (spread + self.eps))
