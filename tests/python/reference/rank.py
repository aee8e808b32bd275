"""Effective rank of the composed latent map by a full SVD in numpy (docs/algorithms.md 13)."""

from __future__ import annotations

import numpy as np

from .model_config import ModelConfig
from .weights import Weights


def composed_map(weights: Weights, config: ModelConfig, layer: int) -> np.ndarray:
    """kv_b · diag(kv_a_layernorm) · kv_a[latent rows], without biases, [N (K_nope + V), D]."""
    name = f"blocks.{layer}.self_attn"
    up = weights[f"{name}.kv_b_proj.weight"].double().numpy()
    gain = weights[f"{name}.kv_a_layernorm.weight"].double().numpy()
    down = weights[f"{name}.kv_a_proj_with_mqa.weight"].double().numpy()[: config.kv_lora_rank]
    return (up * gain) @ down


def spectrum(weights: Weights, config: ModelConfig, layer: int) -> np.ndarray:
    """The first kv_lora_rank singular values, descending; the rest are zero."""
    return np.linalg.svd(composed_map(weights, config, layer), compute_uv=False)[: config.kv_lora_rank]


def r99(values: np.ndarray) -> int:
    """The least r whose top-r singular values hold at least 99 % of the energy."""
    energy = np.cumsum(values**2)
    return int(np.searchsorted(energy, 0.99 * energy[-1]) + 1)


def stable_rank(values: np.ndarray) -> float:
    return float((values**2).sum() / values[0] ** 2)


def entropy_rank(values: np.ndarray) -> float:
    share = values**2 / (values**2).sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))
