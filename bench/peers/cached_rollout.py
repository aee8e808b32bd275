"""The self-forcing rollout of the tiny video transformer: chunk by chunk against a cache of latents.

Computed once a rollout: keys and values of the text, and the embeddings of all its timesteps. The cache keeps the
normed latents and unrotated rotary keys of finished frames. A layer's attention is one SDPA call without a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import torch

from attention_plan import PeerConfig, Rotation, runs, take
from steady_state import compiled, packed
from video_dit import VideoDit

Latents = tuple[torch.Tensor, torch.Tensor]  # of one layer: [B, M, R] and rotary keys [B, M, P], not rotated


@dataclass
class Chunk:
    frames: slice
    past: list[slice]  # token ranges of the attended earlier frames
    query_rotation: Rotation
    key_rotation: Rotation
    is_last: bool


class Rollout:
    """A rollout of config.frames frames.

    With `exact_cuts` of the config, work whose result nothing reads is left out: the cache fill of the last chunk, and
    in every other fill the last layer, but for its latents.
    """

    def __init__(self, config: PeerConfig):
        self.config = c = config
        self.chunks: list[Chunk] = []
        for start in range(0, c.frames, c.num_frame_per_block):
            end, recent = start + c.num_frame_per_block, c.local_attn_size - c.sink_size
            attended = [f for f in range(end) if c.local_attn_size == -1 or f < c.sink_size or f >= end - recent]
            past = [slice(r.start * c.tokens, r.stop * c.tokens) for r in runs([f for f in attended if f < start])]
            own = [i for i, f in enumerate(attended) if f >= start]
            rotations = Rotation(c, own), Rotation(c, list(range(len(attended))))
            self.chunks.append(Chunk(slice(start, end), past, *rotations, is_last=end == c.frames))

    def compile_fixed(self) -> None:
        """What is called from now on is compiled: a graph for each chunk, with gradients and without.

        What is done once a rollout stays as it is: the embeddings of its timesteps, whose number depends on the exit
        step, and the text's keys and values.
        """
        self.flow, self.fill = compiled(self.flow), compiled(self.fill)

    def run(
        self,
        net: VideoDit,
        noise: torch.Tensor,
        renoise: Callable[[int, slice], torch.Tensor],
        steps: list[float],
        exit_index: int,
        text: torch.Tensor,
        with_grad: bool = False,
    ) -> torch.Tensor:
        """x0 predictions of every chunk's exit step, [B, F, C, H, W].

        renoise(k, frames): the noise after step k. With gradients, every exit step keeps its graph and the cache is
        detached: that is cheaper than running it a second time, and takes the memory of a whole rollout.
        """
        with torch.set_grad_enabled(with_grad):
            context = net.text_embedding(text)
            words = [block.cross_attn.keys_values(context) for block in net.blocks]
            e, e0 = net.embed_time(noise.new_tensor([[*steps[: exit_index + 1], 0.0]]))
            times = [(packed(e[:, i : i + 1]), packed(e0[:, i : i + 1])) for i in range(e.shape[1])]
        # Passes without gradients take the values alone, so that a compiled graph serves every rollout.
        constant_words, constant_times = detached(words), detached(times)
        cache: list[Latents | None] = [None] * len(net.blocks)
        video = []
        for chunk in self.chunks:
            x = packed(noise[:, chunk.frames])
            window = [tuple(take(part, chunk.past) for part in kept) if chunk.past else None for kept in cache]
            with torch.no_grad():
                for k in range(exit_index):
                    flow = self.flow(net, x, constant_times[k], constant_words, window, chunk)
                    clean = x - steps[k] / 1000 * flow
                    x = torch.lerp(clean, renoise(k, chunk.frames), steps[k + 1] / 1000)
            with torch.set_grad_enabled(with_grad):
                clean = x - steps[exit_index] / 1000 * self.flow(net, x, times[exit_index], words, window, chunk)
            video.append(clean)
            if not (chunk.is_last and self.config.exact_cuts):
                with torch.no_grad():
                    new = self.fill(net, clean.detach(), constant_times[-1], constant_words, window, chunk)
                    cache = [join(kept, own) for kept, own in zip(cache, new)]
        return torch.cat(video, 1)

    def flow(self, net, x, time, words, window, chunk: Chunk):
        """Flow of the chunk's frames x [B, F, C, H, W]. `words`, `window`: of each layer, the text and past frames."""
        e, e0 = time
        tokens = net.embed_patches(x)
        for block, w, past in zip(net.blocks, words, window):
            tokens, _ = self.block(block, tokens, e0, w, past, chunk)
        return net.read_out(tokens, e, x.shape)

    def fill(self, net, x, time, words, window, chunk: Chunk) -> list[Latents]:
        """Runs a finished chunk x at t = 0; returns what the cache keeps of it, by layer."""
        kept = []
        tokens = net.embed_patches(x)
        for i, (block, w, past) in enumerate(zip(net.blocks, words, window)):
            only_latents = self.config.exact_cuts and i == len(net.blocks) - 1
            tokens, own = self.block(block, tokens, time[1], w, past, chunk, only_latents)
            kept.append(own)
        return kept

    def block(self, block, x, e0, words, past, chunk: Chunk, only_latents: bool = False):
        """Tokens of the chunk after one block (None with `only_latents`), and its own latents for the cache."""
        m = (block.modulation.unsqueeze(1) + e0).unsqueeze(3).unbind(2)
        attention = block.self_attn
        normed = block.modulate(x, m[0], m[1])
        own = attention.latents(normed)
        if only_latents:
            return None, own
        latent, k_rope = join(past, own)
        k_nope, v = attention.expand(latent)
        q = attention.rotated(attention.queries(normed), chunk.query_rotation)
        a = attention.attend(q, attention.keys(k_nope, k_rope, chunk.key_rotation), v)
        return block.after_attention(x, a, m, words), own


def detached(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(a.detach(), b.detach()) for a, b in pairs]


def join(past: Latents | None, own: Latents) -> Latents:
    return own if past is None else tuple(torch.cat(pair, 1) for pair in zip(past, own))
