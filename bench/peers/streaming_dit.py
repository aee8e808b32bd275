"""The tiny video transformer run chunk by chunk over a cache of latents and unrotated rotary keys.

What computes takes tensors only, so that torch.compile sees nothing that changes from chunk to chunk but shapes, of
which there are as many as a window has lengths. What keeps account of frames is plain Python around it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from attention_plan import PeerConfig, Rotation
from steady_state import compiled
from video_dit import VideoDit


class StreamingDit(VideoDit):
    """VideoDit's weights, used as a sampler uses them. Sizes come from the inputs; batch 1 or more."""

    def __init__(self, config: PeerConfig):
        super().__init__(config, "bidirectional")
        self._rotations: dict[tuple[int, ...], Rotation] = {}

    def compile_fixed(self) -> None:
        """What is called from now on is compiled."""
        self.denoise, self.latents, self.expand = (compiled(f) for f in (self.denoise, self.latents, self.expand))

    def begin(self, text, steps: list[float]):
        """text [B, T, text_dim], zero-padded here to text_len; steps: the timesteps that `flow` is asked for."""
        c = self.config
        text = self.text_embedding(F.pad(text, (0, 0, 0, c.text_len - text.shape[1])))
        self.text_kv = []
        for block in self.blocks:
            k, v = block.cross_attn.keys_values(text)
            self.text_kv.append((k.transpose(1, 2), v.transpose(1, 2)))
        # One time for all frames, so the modulation is that of one; the last is that of a finished chunk.
        self.times = [self.embed_time(torch.full((text.shape[0], 1), t)) for t in [*steps, 0.0]]
        self.frames: list[int] = []  # absolute frame of each cached one, ascending
        self.cache = [None] * c.num_layers  # per layer (latent [B, M, R], rotary key [B, M, P])

    def open_chunk(self, first: int):
        """Prepares what the chunk that begins at frame `first` attends to: keys and values of the cached frames.

        Cached frames that have left the window are dropped. Positions are ranks among the attended frames, so that the
        cached keys are rotated anew for every chunk.
        """
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
        self.window = [None] * c.num_layers
        if past:
            self.window = self.expand(self.cache, self._rotation(range(past)))

    def flow(self, x, step: int):
        """x [B, F, C, H, W] at the timestep of this number -> flow like x."""
        return self.denoise(x, *self.times[step], self.text_kv, self.window, self.own_rotation)

    def fill(self, clean):
        """Runs the finished chunk at t = 0 and appends its latents and rotary keys to the cache."""
        own = self.latents(clean, self.times[-1][1], self.text_kv, self.window, self.own_rotation)
        self.cache = [new if old is None else join(old, new, 1) for old, new in zip(self.cache, own)]
        self.frames += self.own_frames

    def expand(self, cache, rotation):
        """Keys and values of the cached frames, by layer."""
        return [self._keys(block, *cached, rotation) for block, cached in zip(self.blocks, cache)]

    def denoise(self, x, e, e0, text_kv, window, rotation):
        tokens = self.embed_patches(x)
        for block, words, past in zip(self.blocks, text_kv, window):
            tokens, _ = self._block(block, tokens, e0, words, past, rotation)
        return self.read_out(tokens, e, x.shape)

    def latents(self, x, e0, text_kv, window, rotation):
        """The chunk's latents and rotary keys, by layer. Nothing reads what the last layer puts out."""
        tokens, kept = self.embed_patches(x), []
        for block, words, past in zip(self.blocks, text_kv, window):
            last = len(kept) + 1 == len(self.blocks)
            tokens, own = self._block(block, tokens, e0, words, past, rotation, last)
            kept.append(own)
        return kept

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

    def _block(self, block, x, e0, text_kv, window, rotation, last=False):
        """A block over the chunk's tokens [B, L, D], which attend to the window and to themselves.

        Returns the tokens (None with `last`), and the chunk's own latents and rotary keys for the cache.
        """
        a = block.self_attn
        m = (block.modulation.unsqueeze(1) + e0).unsqueeze(3).unbind(2)
        normed = block.modulate(x, m[0], m[1])
        own = a.latents(normed)
        if last:
            return None, own
        q = a.rotated(a.queries(normed), rotation).transpose(1, 2)
        key, value = self._keys(block, *own, rotation)
        if window is not None:
            key, value = join(window, (key, value), 2)
        out = F.scaled_dot_product_attention(q, key, value)
        x = block.gated(x, m[2], a.o(out.transpose(1, 2).flatten(2)))
        cross = block.cross_attn
        query = cross.norm_q(cross.q(block.norm3(x))).unflatten(-1, (cross.heads, -1)).transpose(1, 2)
        x = x + cross.o(F.scaled_dot_product_attention(query, *text_kv).transpose(1, 2).flatten(2))
        return block.gated(x, m[5], block.ffn(block.modulate(x, m[3], m[4]))), own


def join(old, new, axis: int):
    return tuple(torch.cat(pair, axis) for pair in zip(old, new))
