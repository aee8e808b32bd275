"""Latent attention from dense weights by truncated SVD (docs/algorithms.md 5.1).

What is fixed by the method: the operators, their optimal errors, the order of rows, the biases. The split of singular
values between the two factors is free, because the latent norm absorbs it; the tests compare only what is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .model_config import ModelConfig, highest_frequency_pairs
from .weights import Weights


@dataclass
class DenseOperators:
    """One dense layer, norm gains folded into the rows, heads apart. Fp64."""

    query: torch.Tensor  # [N, K, D]
    query_bias: torch.Tensor  # [N, K]
    key: torch.Tensor  # [N, K, D]
    key_bias: torch.Tensor  # [N, K]
    value: torch.Tensor  # [N, K, D]
    content_channels: list[int]  # ascending
    rope_channels: list[int]  # in the order of the rotary channels

    @property
    def joint(self) -> torch.Tensor:
        """[diag(norm_k) W_K content rows; W_V], [N (K_nope + V), D]; a head's rows together: content K, then V."""
        return torch.cat([self.key[:, self.content_channels], self.value], dim=1).flatten(0, 1)


def dense_operators(weights: Weights, config: ModelConfig, layer: int, pairs: tuple[int, ...]) -> DenseOperators:
    """`pairs` are the rotary pairs that stay rotary, as indices into the dense head's pairs."""
    w = {n: weights[f"blocks.{layer}.self_attn.{n}"].double() for n in _DENSE_NAMES}
    shape = (config.num_heads, config.head_dim)
    rope = [channel for pair in pairs for channel in (2 * pair, 2 * pair + 1)]
    return DenseOperators(
        query=(w["norm_q.weight"][:, None] * w["q.weight"]).view(*shape, -1),
        query_bias=(w["norm_q.weight"] * w["q.bias"]).view(shape),
        key=(w["norm_k.weight"][:, None] * w["k.weight"]).view(*shape, -1),
        key_bias=(w["norm_k.weight"] * w["k.bias"]).view(shape),
        value=w["v.weight"].view(*shape, -1),
        content_channels=[c for c in range(config.head_dim) if c not in set(rope)],
        rope_channels=rope,
    )


_DENSE_NAMES = ("q.weight", "q.bias", "k.weight", "k.bias", "v.weight", "norm_q.weight", "norm_k.weight")


def truncate(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


def tail_energy(matrix: torch.Tensor, rank: int) -> float:
    """Eckart-Young: no map of this rank has a smaller Frobenius error."""
    return float(torch.linalg.svdvals(matrix)[rank:].square().sum().sqrt())


def default_pairs(config: ModelConfig, rope_dim: int) -> tuple[int, ...]:
    return highest_frequency_pairs(config.head_dim, rope_dim)


@dataclass
class LatentOperators:
    """One latent layer, its factors multiplied out with the norm gains but without the norms. Fp64."""

    key: torch.Tensor  # [N, K_nope, D]
    value: torch.Tensor  # [N, V, D]
    query_content: torch.Tensor  # [N, K_nope, D]
    query_rope: torch.Tensor  # [N, P, D]
    key_rope: torch.Tensor  # [P, D]
    key_rope_bias: torch.Tensor  # [P]


def latent_operators(weights: Weights, config: ModelConfig, layer: int) -> LatentOperators:
    name = f"blocks.{layer}.self_attn"
    w = {n[len(name) + 1 :]: t.double() for n, t in weights.items() if n.startswith(f"{name}.")}
    rank, heads, nope = config.kv_lora_rank, config.num_heads, config.qk_nope_head_dim
    down = w["kv_a_proj_with_mqa.weight"]
    joint = (w["kv_b_proj.weight"] * w["kv_a_layernorm.weight"]) @ down[:rank]
    joint = joint.view(heads, nope + config.v_head_dim, -1)
    query = (w["q_b_proj.weight"] * w["q_a_layernorm.weight"]) @ w["q_a_proj.weight"]
    query = query.view(heads, nope + config.qk_rope_head_dim, -1)
    return LatentOperators(
        key=joint[:, :nope],
        value=joint[:, nope:],
        query_content=query[:, :nope],
        query_rope=query[:, nope:],
        key_rope=down[rank:],
        key_rope_bias=w["kv_a_proj_with_mqa.bias"][rank:] if config.bias else down.new_zeros(down.shape[0] - rank),
    )


def fitted_scale(actual: torch.Tensor, target: torch.Tensor) -> float:
    """The factor c that minimises |actual - c target|: the scale constants are free, the directions are not."""
    return float((actual * target).sum() / (target * target).sum())
