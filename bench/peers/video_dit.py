"""The tiny video transformer as a PyTorch user would write it: nn.Module, F.scaled_dot_product_attention, fp32, eager.

The peer of the benchmarks. It computes what the C++ program computes (tests/python/test_peers.py holds it to the
reference), with the tuning that a competent user applies: tables made once, one SDPA call a rectangle of the mask
instead of a dense mask, a rotary key that stays shared until it meets the heads, no work on values nobody reads.
"""

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


class DenseAttention(nn.Module):
    def __init__(self, config: PeerConfig):
        super().__init__()
        width = config.dim
        self.heads = config.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(width, eps=config.eps), nn.RMSNorm(width, eps=config.eps)

    def forward(self, x, rectangles, rotations, first_query: int):
        """`first_query`: tokens before it only serve as keys (0 unless the layer is cut)."""
        q = self.norm_q(self.q(x[:, first_query:])).unflatten(-1, (self.heads, -1))
        k = self.norm_k(self.k(x)).unflatten(-1, (self.heads, -1))
        v = self.v(x).unflatten(-1, (self.heads, -1))
        outs = []
        for r in rectangles:
            query = rotations[r.query_rotation](q[:, r.queries.start - first_query : r.queries.stop - first_query])
            key = rotations[r.key_rotation](take(k, r.keys))
            outs.append(sdpa(query, key, take(v, r.keys)))
        return self.o(outs[0] if len(outs) == 1 else torch.cat(outs, 1))


class LatentAttention(nn.Module):
    def __init__(self, config: PeerConfig):
        super().__init__()
        self.config = config
        heads, nope, rope = config.num_heads, config.qk_nope_head_dim, config.qk_rope_head_dim
        self.q_a_proj = nn.Linear(config.dim, config.q_lora_rank, bias=False)
        self.q_a_layernorm = nn.RMSNorm(config.q_lora_rank, eps=config.latent_norm_eps)
        self.q_b_proj = nn.Linear(config.q_lora_rank, heads * (nope + rope), bias=config.bias)
        self.kv_a_proj_with_mqa = nn.Linear(config.dim, config.kv_lora_rank + rope, bias=config.bias)
        self.kv_a_layernorm = nn.RMSNorm(config.kv_lora_rank, eps=config.latent_norm_eps)
        self.kv_b_proj = nn.Linear(config.kv_lora_rank, heads * (nope + config.v_head_dim), bias=False)
        self.o = nn.Linear(heads * config.v_head_dim, config.dim)

    def queries(self, x):
        return self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).unflatten(-1, (self.config.num_heads, -1))

    def latents(self, x):
        """What a cache keeps of a token: the normed latent and the shared rotary key, not rotated."""
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([self.config.kv_lora_rank, self.config.qk_rope_head_dim], -1)
        return self.kv_a_layernorm(latent), k_rope

    def expand(self, latent):
        """Per-head keys without the rotary part, and values."""
        c = self.config
        return self.kv_b_proj(latent).unflatten(-1, (c.num_heads, -1)).split([c.qk_nope_head_dim, c.v_head_dim], -1)

    def rotated(self, q, rotation):
        nope = self.config.qk_nope_head_dim
        return torch.cat([q[..., :nope], rotation(q[..., nope:])], -1)

    def keys(self, k_nope, k_rope, rotation):
        shared = rotation(k_rope.unsqueeze(2))
        return torch.cat([k_nope, shared.expand(-1, -1, self.config.num_heads, -1)], -1)

    def attend(self, q, k, v):
        return self.o(sdpa(q, k, v))

    def forward(self, x, rectangles, rotations, first_query: int):
        q = self.queries(x[:, first_query:])
        latent, k_rope = self.latents(x)
        k_nope, v = self.expand(latent)
        outs = []
        for r in rectangles:
            query = q[:, r.queries.start - first_query : r.queries.stop - first_query]
            key = self.keys(take(k_nope, r.keys), take(k_rope, r.keys), rotations[r.key_rotation])
            outs.append(sdpa(self.rotated(query, rotations[r.query_rotation]), key, take(v, r.keys)))
        return self.o(outs[0] if len(outs) == 1 else torch.cat(outs, 1))


class CrossAttention(nn.Module):
    def __init__(self, config: PeerConfig):
        super().__init__()
        width = config.dim
        self.heads = config.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(width, eps=config.eps), nn.RMSNorm(width, eps=config.eps)

    def keys_values(self, text):
        k = self.norm_k(self.k(text)).unflatten(-1, (self.heads, -1))
        return k, self.v(text).unflatten(-1, (self.heads, -1))

    def forward(self, x, keys_values):
        return self.o(sdpa(self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1)), *keys_values))


class Block(nn.Module):
    def __init__(self, config: PeerConfig):
        super().__init__()
        width = config.dim
        self.eps = config.eps
        self.tokens = config.tokens
        self.self_attn = DenseAttention(config) if config.attention == "dense" else LatentAttention(config)
        self.cross_attn = CrossAttention(config)
        self.norm3 = nn.LayerNorm(width, eps=config.eps)
        self.ffn = nn.Sequential(nn.Linear(width, config.ffn_dim), nn.GELU("tanh"), nn.Linear(config.ffn_dim, width))
        self.modulation = nn.Parameter(torch.randn(1, 6, width) / width**0.5)

    def modulate(self, x, shift, scale):
        """x [B, L, D] with shift and scale [B, G, 1, D] (G frames, or 1 for the whole sequence)."""
        normed = F.layer_norm(x, x.shape[-1:], eps=self.eps).unflatten(1, (shift.shape[1], -1))
        return torch.addcmul(shift, normed, 1 + scale).flatten(1, 2)

    def gated(self, x, gate, y):
        frames = gate.shape[1]
        return torch.addcmul(x.unflatten(1, (frames, -1)), gate, y.unflatten(1, (frames, -1))).flatten(1, 2)

    def forward(self, x, time, text, rectangles, rotations, first_query: int = 0):
        m = (self.modulation.unsqueeze(1) + time).unsqueeze(3).unbind(2)  # six of [B, G, 1, D]
        a = self.self_attn(self.modulate(x, m[0], m[1]), rectangles, rotations, first_query)
        if first_query:  # from here on only the queried tokens live
            x = x[:, first_query:]
            m = [t[:, first_query // self.tokens :] for t in m]
        return self.after_attention(x, a, m, self.cross_attn.keys_values(text))

    def after_attention(self, x, a, m, text_keys_values):
        x = self.gated(x, m[2], a)
        x = x + self.cross_attn(self.norm3(x), text_keys_values)
        return self.gated(x, m[5], self.ffn(self.modulate(x, m[3], m[4])))


class Head(nn.Module):
    def __init__(self, config: PeerConfig):
        super().__init__()
        self.head = nn.Linear(config.dim, 4 * config.in_dim)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)


class VideoDit(nn.Module):
    """`mode`: bidirectional (one time a sample) or teacher_forcing (clean latents before the noisy ones).

    Chunk by chunk against a cache: cached_rollout.py.
    """

    def __init__(self, config: PeerConfig, mode: str):
        super().__init__()
        self.config, self.mode = config, mode
        width = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, width, (1, 2, 2), (1, 2, 2))
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, width), nn.GELU("tanh"), nn.Linear(width, width)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        self.plan = Plan(config, mode)
        self.rotations = nn.ModuleList(Rotation(config, list(p)) for p in self.plan.position_lists)
        half = config.freq_dim // 2
        omega = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        self.register_buffer("omega", omega, False)

    def embed_patches(self, latents):
        """The convolution as a matrix product: on a CPU that is the faster form."""
        b, f, c, h, w = latents.shape
        x = latents.view(b, f, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4, 6).reshape(b, -1, c * 4)
        return F.linear(x, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)

    def embed_time(self, t):
        """t [B, G] -> e [B, G, D], e0 [B, G, 6, D]."""
        angle = t.double().unsqueeze(-1) * self.omega
        e = self.time_embedding(torch.cat([angle.cos(), angle.sin()], -1).float())
        return e, self.time_projection(e).unflatten(-1, (6, -1))

    def forward(self, noisy, t, text, clean=None):
        """noisy, clean [B, F, C, H, W]; t [B] or [B, F]; text [B, text_len, text_dim] -> flow like noisy."""
        config = self.config
        rectangles = self.plan.rectangles
        if self.mode == "bidirectional":
            x, times, clean_tokens = self.embed_patches(noisy), t.unsqueeze(1), 0
        else:
            if config.exact_cuts:
                clean = clean[:, : -config.num_frame_per_block]
            clean_tokens = clean.shape[1] * config.tokens
            x = self.embed_patches(torch.cat([clean, noisy], 1))
            times = torch.cat([t.new_zeros(t.shape[0], clean.shape[1]), t], 1)
        e, e0 = self.embed_time(times)
        text = self.text_embedding(text)
        for i, block in enumerate(self.blocks):
            if clean_tokens and config.exact_cuts and i == len(self.blocks) - 1:
                cut = self.plan.without_clean(clean_tokens)
                x = block(x, e0, text, cut, self.rotations, clean_tokens)
            else:
                x = block(x, e0, text, rectangles, self.rotations)
        if clean_tokens:
            e = e[:, clean.shape[1] :]
            x = x if config.exact_cuts else x[:, clean_tokens:]
        return self.read_out(x, e, noisy.shape)

    def read_out(self, x, e, shape):
        """Tokens [B, L, D] and time embedding [B or 1, G, D] -> latents of the shape [B, F, C, H, W]."""
        shift, scale = (self.head.modulation.unsqueeze(1) + e.unsqueeze(2)).unsqueeze(3).unbind(2)
        normed = F.layer_norm(x, x.shape[-1:], eps=self.config.eps).unflatten(1, (shift.shape[1], -1))
        y = self.head.head(torch.addcmul(shift, normed, 1 + scale).flatten(1, 2))
        b, f, c, h, w = shape
        y = y.view(b, f, h // 2, w // 2, 2, 2, c)
        return y.permute(0, 1, 6, 2, 4, 3, 5).reshape(b, f, c, h, w)
