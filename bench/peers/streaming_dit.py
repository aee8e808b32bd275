"""The tiny video transformer run chunk by chunk over a cache of latents and unrotated rotary keys; eager PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from video_dit import PeerConfig, Rotation, VideoDit


class StreamingDit(VideoDit):
    """VideoDit's weights, used as a sampler uses them. Sizes come from the inputs; batch 1 or more."""

    def __init__(self, config: PeerConfig):
        super().__init__(config, "bidirectional")
        self._rotations: dict[tuple[int, ...], Rotation] = {}

    def begin(self, text):
        """text [B, T, text_dim], zero-padded here to text_len."""
        c = self.config
        text = self.text_embedding(F.pad(text, (0, 0, 0, c.text_len - text.shape[1])))
        self.text_kv = []
        for block in self.blocks:
            a = block.cross_attn
            k = a.norm_k(a.k(text)).unflatten(-1, (a.heads, -1)).transpose(1, 2)
            self.text_kv.append((k, a.v(text).unflatten(-1, (a.heads, -1)).transpose(1, 2)))
        self.frames: list[int] = []  # absolute frame of each cached one, ascending
        self.cache = [None] * c.num_layers  # per layer (latent [B, M, R], rotary key [B, M, P])

    def open_chunk(self, first: int):
        """What the chunk that begins at frame `first` attends to: keys and values of the cached frames."""
        c = self.config
        end = first + c.num_frame_per_block
        if c.local_attn_size != -1:
            keep = [f < c.sink_size or f >= end - (c.local_attn_size - c.sink_size) for f in self.frames]
            if not all(keep):
                rows = torch.tensor(keep).repeat_interleave(c.tokens)
                self.cache = [(latent[:, rows], key[:, rows]) for latent, key in self.cache]
                self.frames = [f for f, kept in zip(self.frames, keep) if kept]
        past = len(self.frames)
        self.own_frames = range(first, end)
        self.own_rotation = self._rotation(range(past, past + c.num_frame_per_block))
        self.window = []
        for block, cached in zip(self.blocks, self.cache):
            self.window.append(self._keys(block, *cached, self._rotation(range(past))) if past else None)

    def flow(self, x, t: float):
        """x [B, F, C, H, W] at one timestep -> flow like x."""
        tokens, e, e0 = self._embed(x, t)
        for i, block in enumerate(self.blocks):
            tokens, _ = self._block(i, block, tokens, e0)
        shift, scale = (self.head.modulation.unsqueeze(1) + e.unsqueeze(2)).unsqueeze(3).unbind(2)
        normed = F.layer_norm(tokens, tokens.shape[-1:], eps=self.config.eps).unflatten(1, (shift.shape[1], -1))
        y = self.head.head(torch.addcmul(shift, normed, 1 + scale).flatten(1, 2))
        b, f, c, h, w = x.shape
        return y.view(b, f, h // 2, w // 2, 2, 2, c).permute(0, 1, 6, 2, 4, 3, 5).reshape(x.shape)

    def fill(self, clean):
        """Runs the finished chunk at t = 0 and appends its latents and rotary keys to the cache."""
        tokens, _, e0 = self._embed(clean, 0.0)
        for i, block in enumerate(self.blocks):
            tokens, own = self._block(i, block, tokens, e0, last=i + 1 == len(self.blocks))
            old = self.cache[i]
            self.cache[i] = own if old is None else tuple(torch.cat(pair, 1) for pair in zip(old, own))
        self.frames += self.own_frames

    def _embed(self, x, t: float):
        # One time for all frames, so the modulation is that of one.
        e, e0 = self.embed_time(torch.full((x.shape[0], 1), t))
        return self.embed_patches(x), e, e0

    def _rotation(self, positions: range) -> Rotation:
        key = tuple(positions)
        if key not in self._rotations:
            self._rotations[key] = Rotation(self.config, list(key))
        return self._rotations[key]

    def _keys(self, block, latent, rope_key, rotation):
        """Per-head keys [B, N, M, K] and values [B, N, M, V] of latents and unrotated rotary keys."""
        c = self.config
        kv = block.self_attn.kv_b_proj(latent).unflatten(-1, (c.num_heads, -1)).transpose(1, 2)
        nope, value = kv.split([c.qk_nope_head_dim, c.v_head_dim], -1)
        shared = rotation(rope_key.unsqueeze(2)).transpose(1, 2)
        return torch.cat([nope, shared.expand(-1, c.num_heads, -1, -1)], -1), value

    def _block(self, i: int, block, x, e0, last=False):
        """One block against window and own chunk; with `last`, only the chunk's latents and rotary keys."""
        c = self.config
        a = block.self_attn
        m = (block.modulation.unsqueeze(1) + e0).unsqueeze(3).unbind(2)
        normed = block.modulate(x, m[0], m[1])
        latent, rope_key = a.kv_a_proj_with_mqa(normed).split([c.kv_lora_rank, c.qk_rope_head_dim], -1)
        own = (a.kv_a_layernorm(latent), rope_key)
        if last:
            return None, own
        q = a.q_b_proj(a.q_a_layernorm(a.q_a_proj(normed))).unflatten(-1, (c.num_heads, -1))
        nope = c.qk_nope_head_dim
        q = torch.cat([q[..., :nope], self.own_rotation(q[..., nope:])], -1).transpose(1, 2)
        key, value = self._keys(block, *own, self.own_rotation)
        if self.window[i] is not None:
            key, value = (torch.cat(pair, 2) for pair in zip(self.window[i], (key, value)))
        out = F.scaled_dot_product_attention(q, key, value)
        x = block.gated(x, m[2], a.o(out.transpose(1, 2).flatten(2)))
        cross = block.cross_attn
        query = cross.norm_q(cross.q(block.norm3(x))).unflatten(-1, (cross.heads, -1)).transpose(1, 2)
        x = x + cross.o(F.scaled_dot_product_attention(query, *self.text_kv[i]).transpose(1, 2).flatten(2))
        return block.gated(x, m[5], block.ffn(block.modulate(x, m[3], m[4]))), own
