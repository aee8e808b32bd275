"""The tiny video transformer as a PyTorch user would write it: nn.Module, F.scaled_dot_product_attention, fp32, eager.

The peer of the benchmarks. It computes what the C++ program computes (tests/python/test_peers.py holds it to the
reference), with the tuning that a competent user applies: tables made once, one SDPA call a rectangle of the mask
instead of a dense mask, a rotary key that stays shared until it meets the heads, no work on values nobody reads.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from attention_plan import PeerConfig, Plan, Rotation, sdpa, take
from steady_state import compiled


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

    def compile_fixed(self) -> None:
        """What is called from now on is compiled."""
        self.forward = compiled(self.forward)

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
