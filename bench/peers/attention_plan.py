"""Shapes of the peer network, and its attention: rotary tables, rectangles of a mask, one SDPA call for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass(frozen=True)
class PeerConfig:
    attention: str = "dense"  # dense | mla
    dim: int = 64
    ffn_dim: int = 256
    freq_dim: int = 256
    in_dim: int = 12
    num_heads: int = 4
    num_layers: int = 3
    text_len: int = 16
    text_dim: int = 64
    eps: float = 1e-6
    kv_lora_rank: int = 24
    q_lora_rank: int = 48
    qk_nope_head_dim: int = 8
    qk_rope_head_dim: int = 8
    v_head_dim: int = 16
    latent_norm_eps: float = 1e-6
    bias: bool = True
    rope_pair_indices: tuple[int, ...] = (0, 1, 4, 6)
    num_frame_per_block: int = 3
    local_attn_size: int = 7
    sink_size: int = 1
    frames: int = 9
    height: int = 8  # latent grid; tokens are 2x2 patches of it
    width: int = 8
    complex_rope: bool = True  # torch.compile wants the real form
    exact_cuts: bool = False  # leave out the clean tokens of teacher forcing that no noisy token sees

    @staticmethod
    def of(fields: dict, **more) -> PeerConfig:
        """From JSON, which has lists where the config has tuples."""
        return PeerConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}, **more)

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def tokens(self) -> int:
        return (self.height // 2) * (self.width // 2)


def rotary_table(config: PeerConfig, positions: list[int]) -> torch.Tensor:
    """Angles [len(positions) * tokens, 1, pairs] of the rotary channels; fp64."""
    spatial = config.head_dim // 6
    counts = (config.head_dim // 2 - 2 * spatial, spatial, spatial)
    axis = torch.tensor([a for a, n in enumerate(counts) for _ in range(n)])
    frequency = torch.tensor([10000.0 ** (-j / n) for n in counts for j in range(n)], dtype=torch.float64)
    if config.attention == "mla":
        chosen = list(config.rope_pair_indices)
        axis, frequency = axis[chosen], frequency[chosen]
    place = torch.cartesian_prod(
        torch.tensor(positions), torch.arange(config.height // 2), torch.arange(config.width // 2)
    ).double()
    return (place[:, axis] * frequency).unsqueeze(1)


class Rotation(nn.Module):
    """Rotates adjacent channels of [B, L, N, P] by a table made once."""

    def __init__(self, config: PeerConfig, positions: list[int]):
        super().__init__()
        angle = rotary_table(config, positions)
        self.complex_form = config.complex_rope
        if self.complex_form:
            self.register_buffer("turn", torch.polar(torch.ones_like(angle), angle).to(torch.complex64), False)
        else:
            self.register_buffer("cos", angle.cos().float().repeat_interleave(2, -1), False)
            sign = torch.tensor([-1.0, 1.0]).repeat(angle.shape[-1])
            self.register_buffer("sin", angle.sin().float().repeat_interleave(2, -1) * sign, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.complex_form:
            pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
            return torch.view_as_real(pairs * self.turn).flatten(-2)
        swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        return x * self.cos + swapped * self.sin


@dataclass
class Rectangle:
    """Query tokens against the concatenation of key ranges, all in token units of the sequence."""

    queries: slice
    keys: list[slice]
    query_rotation: int  # index into the model's rotations
    key_rotation: int


class Plan:
    """Rectangles of a mask and the temporal positions their tables need."""

    def __init__(self, config: PeerConfig, mode: str):
        self.position_lists: list[tuple[int, ...]] = []
        self.rectangles: list[Rectangle] = []
        self.config = config
        frames, block = config.frames, config.num_frame_per_block
        if mode == "bidirectional":
            self._add(range(frames), [range(frames)], list(range(frames)), list(range(frames)))
            return
        # [clean ; noisy]; with the exact cuts the last clean chunk is not in the sequence
        clean_frames = frames - block if config.exact_cuts else frames
        noisy = []
        for start in range(0, frames, block):
            end = start + block
            window, sink = config.local_attn_size, config.sink_size
            attended = [f for f in range(end) if window == -1 or f < sink or f >= end - (window - sink)]
            past = [f for f in attended if f < start]
            rank = {f: i for i, f in enumerate(attended)}
            own = range(start, end)
            positions = list(range(len(attended)))
            if start < clean_frames:
                self._add(own, [*runs(past), own], [rank[f] for f in own], positions)
            shifted = range(clean_frames + start, clean_frames + end)
            noisy.append((shifted, [*runs(past), shifted], [rank[f] for f in own], positions))
        for group in noisy:
            self._add(*group)

    def _add(self, queries: range, keys: list[range], query_positions: list[int], key_positions: list[int]) -> None:
        s = self.config.tokens
        self.rectangles.append(
            Rectangle(
                slice(queries[0] * s, (queries[-1] + 1) * s),
                [slice(r[0] * s, (r[-1] + 1) * s) for r in keys],
                self._rotation(query_positions),
                self._rotation(key_positions),
            )
        )

    def _rotation(self, positions: list[int]) -> int:
        key = tuple(positions)
        if key not in self.position_lists:
            self.position_lists.append(key)
        return self.position_lists.index(key)

    def without_clean(self, clean_tokens: int) -> list[Rectangle]:
        return [r for r in self.rectangles if r.queries.start >= clean_tokens]


def runs(frames: list[int]) -> list[range]:
    """Contiguous runs of an ascending list."""
    found: list[range] = []
    for f in frames:
        if found and found[-1].stop == f:
            found[-1] = range(found[-1].start, f + 1)
        else:
            found.append(range(f, f + 1))
    return found


def take(x: torch.Tensor, parts: list[slice]) -> torch.Tensor:
    """Tokens of [B, L, ...] in the given ranges."""
    return x[:, parts[0]] if len(parts) == 1 else torch.cat([x[:, p] for p in parts], 1)


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """[B, L, N, K] x [B, M, N, K] x [B, M, N, V] -> [B, L, N*V]."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).flatten(2)
