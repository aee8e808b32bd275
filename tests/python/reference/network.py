"""The Wan2.1-shaped video transformer with dense or latent self-attention (docs/algorithms.md 2 to 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import windows
from .model_config import ModelConfig, pairs_per_axis
from .weights import Weights

Tensor = torch.Tensor


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def layer_norm(x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps)


# --- rotary positions -------------------------------------------------------------------------------------------------


def rotary_pairs(head_dim: int) -> tuple[Tensor, Tensor]:
    """For each channel pair of a dense head: its axis (0 time, 1 height, 2 width) and its frequency."""
    axes, frequencies = [], []
    for axis, count in enumerate(pairs_per_axis(head_dim)):
        for j in range(count):
            axes.append(axis)
            frequencies.append(10000.0 ** (-j / count))
    return torch.tensor(axes), torch.tensor(frequencies, dtype=torch.float64)


def rotate(x_BGSNP: Tensor, positions: list[int], grid: tuple[int, int], pairs: list[int], head_dim: int) -> Tensor:
    """Rotates adjacent channels (2i, 2i+1); `positions` holds the temporal position of each frame slot."""
    rows, columns = grid
    axes, frequencies = rotary_pairs(head_dim)
    axes, frequencies = axes[pairs], frequencies[pairs]
    place = torch.zeros(len(positions), rows, columns, 3, dtype=torch.float64)
    place[..., 0] = torch.tensor(positions, dtype=torch.float64).view(-1, 1, 1)
    place[..., 1] = torch.arange(rows, dtype=torch.float64).view(1, -1, 1)
    place[..., 2] = torch.arange(columns, dtype=torch.float64).view(1, 1, -1)
    angle = (place[..., axes] * frequencies).reshape(len(positions), rows * columns, 1, len(pairs))
    cos, sin = angle.cos().to(x_BGSNP.dtype), angle.sin().to(x_BGSNP.dtype)
    even, odd = x_BGSNP[..., 0::2], x_BGSNP[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


# --- self-attention ---------------------------------------------------------------------------------------------------


@dataclass
class Keys:
    """What a token offers to later queries, before rotation: [B, G, S, N, channels]."""

    plain: Tensor  # channels without position
    rotary: Tensor
    value: Tensor
    content: Tensor  # what plain and value are made of: the latent after its norm [B, G, S, R]; dense: value itself

    def slots(self, index: list[int]) -> "Keys":
        return Keys(self.plain[:, index], self.rotary[:, index], self.value[:, index], self.content[:, index])

    @staticmethod
    def join(parts: list["Keys"]) -> "Keys":
        return Keys(*(torch.cat([getattr(p, n) for p in parts], dim=1) for n in KEY_PARTS))


KEY_PARTS = ("plain", "rotary", "value", "content")


@dataclass
class Queries:
    plain: Tensor
    rotary: Tensor


def layer_pairs(config: ModelConfig) -> list[int]:
    """Rotary pairs of the dense head that the rotary channels stand for, in their order."""
    return list(range(config.head_dim // 2)) if config.attention == "dense" else list(config.rope_pair_indices)


def project(w: Weights, config: ModelConfig, name: str, x_BGSD: Tensor) -> tuple[Queries, Keys]:
    batch, slots, tokens, _ = x_BGSD.shape
    heads = config.num_heads

    def split(x: Tensor) -> Tensor:
        return x.view(batch, slots, tokens, heads, -1)

    if config.attention == "dense":
        q = split(rms_norm(linear(w, f"{name}.q", x_BGSD), w[f"{name}.norm_q.weight"], config.eps))
        k = split(rms_norm(linear(w, f"{name}.k", x_BGSD), w[f"{name}.norm_k.weight"], config.eps))
        v = split(linear(w, f"{name}.v", x_BGSD))
        return Queries(q[..., :0], q), keys_of(w, config, name, v, k)

    nope, rope, eps = config.qk_nope_head_dim, config.qk_rope_head_dim, config.latent_norm_eps
    c_q = rms_norm(linear(w, f"{name}.q_a_proj", x_BGSD), w[f"{name}.q_a_layernorm.weight"], eps)
    q = split(linear(w, f"{name}.q_b_proj", c_q))
    down = linear(w, f"{name}.kv_a_proj_with_mqa", x_BGSD)
    c_kv = rms_norm(down[..., : config.kv_lora_rank], w[f"{name}.kv_a_layernorm.weight"], eps)
    shared = down[..., config.kv_lora_rank :].unsqueeze(3).expand(batch, slots, tokens, heads, rope)
    return Queries(q[..., :nope], q[..., nope:]), keys_of(w, config, name, c_kv, shared)


def keys_of(w: Weights, config: ModelConfig, name: str, content: Tensor, rotary_BGSNP: Tensor) -> Keys:
    """Keys and values of what a cache keeps: the latent is expanded by the weights of now."""
    if config.attention == "dense":
        return Keys(rotary_BGSNP[..., :0], rotary_BGSNP, content, content)
    kv = linear(w, f"{name}.kv_b_proj", content).unflatten(-1, (config.num_heads, -1))
    nope = config.qk_nope_head_dim
    return Keys(kv[..., :nope], rotary_BGSNP, kv[..., nope:], content)


def attend(config: ModelConfig, grid, q: Queries, query_positions, k: Keys, key_positions) -> Tensor:
    """Softmax attention of all queries over all keys; returns [B, G, S, N*V]."""
    pairs = layer_pairs(config)
    query = torch.cat([q.plain, rotate(q.rotary, query_positions, grid, pairs, config.head_dim)], dim=-1)
    key = torch.cat([k.plain, rotate(k.rotary, key_positions, grid, pairs, config.head_dim)], dim=-1)
    batch, slots, tokens, heads, channels = query.shape
    scores = torch.einsum("bgsnc,bhtnc->bngsht", query, key) / channels**0.5
    weights = scores.flatten(-2).softmax(-1).view_as(scores)
    return torch.einsum("bngsht,bhtnv->bgsnv", weights, k.value).reshape(batch, slots, tokens, -1)


# --- the block --------------------------------------------------------------------------------------------------------


def cross_attention(w: Weights, config: ModelConfig, name: str, x_BGSD: Tensor, text_BTD: Tensor) -> Tensor:
    """Every query sees all text rows, the padded ones included; no rotation."""
    batch, slots, tokens, width = x_BGSD.shape
    heads = config.num_heads
    q = rms_norm(linear(w, f"{name}.q", x_BGSD), w[f"{name}.norm_q.weight"], config.eps)
    k = rms_norm(linear(w, f"{name}.k", text_BTD), w[f"{name}.norm_k.weight"], config.eps)
    v = linear(w, f"{name}.v", text_BTD)
    q = q.view(batch, slots, tokens, heads, -1)
    k, v = (y.view(batch, y.shape[1], heads, -1) for y in (k, v))
    scores = torch.einsum("bgsnc,btnc->bngst", q, k) / config.head_dim**0.5
    out = torch.einsum("bngst,btnc->bgsnc", scores.softmax(-1), v)
    return linear(w, f"{name}.o", out.reshape(batch, slots, tokens, width))


def block(w: Weights, config: ModelConfig, layer: int, x_BGSD: Tensor, time_BG6D: Tensor, text_BTD: Tensor, attention):
    """One transformer block; `attention(queries, keys)` returns the heads' outputs side by side."""
    name = f"blocks.{layer}"
    m = (w[f"{name}.modulation"].unsqueeze(1) + time_BG6D).unsqueeze(3)  # [B, G, 6, 1, D]
    shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (m[:, :, i] for i in range(6))
    queries, keys = project(w, config, f"{name}.self_attn", layer_norm(x_BGSD, config.eps) * (1 + scale_a) + shift_a)
    x = x_BGSD + gate_a * linear(w, f"{name}.self_attn.o", attention(queries, keys))
    normed = layer_norm(x, config.eps) * w[f"{name}.norm3.weight"] + w[f"{name}.norm3.bias"]
    x = x + cross_attention(w, config, f"{name}.cross_attn", normed, text_BTD)
    hidden = linear(w, f"{name}.ffn.0", layer_norm(x, config.eps) * (1 + scale_f) + shift_f)
    return x + gate_f * linear(w, f"{name}.ffn.2", F.gelu(hidden, approximate="tanh"))


# --- embeddings and head ----------------------------------------------------------------------------------------------


def embed_patches(w: Weights, latents_BFCHW: Tensor) -> Tensor:
    """[B, F, S, D]; a patch is ordered channel, row, column and frames' tokens row by row."""
    batch, frames, channels, height, width = latents_BFCHW.shape
    patches = latents_BFCHW.view(batch, frames, channels, height // 2, 2, width // 2, 2)
    patches = patches.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, frames, (height // 2) * (width // 2), channels * 4)
    return F.linear(patches, w["patch_embedding.weight"].flatten(1), w["patch_embedding.bias"])


def embed_time(w: Weights, config: ModelConfig, timesteps_BG: Tensor) -> tuple[Tensor, Tensor]:
    """(e [B, G, D] for the head, e0 [B, G, 6, D] for the blocks); cosines first."""
    half = config.freq_dim // 2
    omega = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = timesteps_BG.double().unsqueeze(-1) * omega
    sinusoid = torch.cat([angle.cos(), angle.sin()], dim=-1).to(w["time_embedding.0.weight"].dtype)
    e = linear(w, "time_embedding.2", F.silu(linear(w, "time_embedding.0", sinusoid)))
    return e, linear(w, "time_projection.1", F.silu(e)).unflatten(-1, (6, config.dim))


def embed_text(w: Weights, config: ModelConfig, text_BTC: Tensor) -> Tensor:
    """Pads with zero rows to text_len before the MLP, whose biases make the padded rows tokens of their own."""
    padded = text_BTC.new_zeros(text_BTC.shape[0], config.text_len, config.text_dim)
    padded[:, : text_BTC.shape[1]] = text_BTC
    hidden = F.gelu(linear(w, "text_embedding.0", padded), approximate="tanh")
    return linear(w, "text_embedding.2", hidden)


def read_out(w: Weights, config: ModelConfig, x_BFSD: Tensor, e_BFD: Tensor, grid: tuple[int, int]) -> Tensor:
    """Modulated head and unpatchify: the 4C outputs are ordered row, column, channel."""
    shift, scale = ((w["head.modulation"][:, i].unsqueeze(1) + e_BFD).unsqueeze(2) for i in range(2))
    y = linear(w, "head.head", layer_norm(x_BFSD, config.eps) * (1 + scale) + shift)
    batch, frames = y.shape[:2]
    rows, columns = grid
    y = y.view(batch, frames, rows, columns, 2, 2, config.out_dim)
    return y.permute(0, 1, 6, 2, 4, 3, 5).reshape(batch, frames, config.out_dim, rows * 2, columns * 2)


def grid_of(latents_BFCHW: Tensor) -> tuple[int, int]:
    return latents_BFCHW.shape[-2] // 2, latents_BFCHW.shape[-1] // 2


# --- whole-sequence modes ---------------------------------------------------------------------------------------------


def run_plan(w: Weights, config: ModelConfig, latents_BGCHW, timesteps_BG, text_BTC, plan, keep=slice(None)) -> Tensor:
    """All frame slots through all blocks at once, each query group over its own attended set."""
    grid = grid_of(latents_BGCHW)
    x = embed_patches(w, latents_BGCHW)
    e, e0 = embed_time(w, config, timesteps_BG)
    text = embed_text(w, config, text_BTC)

    def attention(q: Queries, k: Keys) -> Tensor:
        parts, order = [], []
        for group in plan:
            query = Queries(q.plain[:, group.queries], q.rotary[:, group.queries])
            parts.append(attend(config, grid, query, group.query_positions, k.slots(group.keys), group.key_positions))
            order += group.queries
        back = torch.argsort(torch.tensor(order))
        return torch.cat(parts, dim=1)[:, back]

    for layer in range(config.num_layers):
        x = block(w, config, layer, x, e0, text, attention)
    return read_out(w, config, x[:, keep], e[:, keep], grid)


def bidirectional(w, config, latents, timesteps, text) -> Tensor:
    return run_plan(w, config, latents, timesteps, text, windows.bidirectional_plan(latents.shape[1]))


def chunk_causal(w, config, latents, timesteps, text) -> Tensor:
    return run_plan(w, config, latents, timesteps, text, windows.chunk_causal_plan(config, latents.shape[1]))


def teacher_forcing(w, config, latents, timesteps, text, clean_latents) -> Tensor:
    frames = latents.shape[1]
    both = torch.cat([clean_latents, latents], dim=1)
    times = torch.cat([torch.zeros_like(timesteps), timesteps], dim=1)
    plan = windows.teacher_forcing_plan(config, frames)
    return run_plan(w, config, both, times, text, plan, keep=slice(frames, None))


# --- chunk by chunk over a cache --------------------------------------------------------------------------------------


class Cache:
    """Unrotated keys and values of every finished frame, per layer."""

    def __init__(self, layers: int):
        self.layers: list[dict[int, Keys]] = [{} for _ in range(layers)]

    def window(self, layer: int, frames: list[int]) -> list[Keys]:
        return [self.layers[layer][f] for f in frames]

    def clear(self) -> None:
        """Zeroes what is stored, as when a model must do without its past."""
        for stored in self.layers:
            for frame, keys in stored.items():
                stored[frame] = Keys(*(torch.zeros_like(getattr(keys, n)) for n in KEY_PARTS))


def run_chunk(w, config, cache: Cache, chunk: list[int], latents, timesteps, text, *, store: bool) -> Tensor:
    """One chunk against the cached frames that its window holds; `store` keeps its own keys and values."""
    grid = grid_of(latents)
    attended = windows.attended_frames(config, chunk[-1] + 1)
    position = windows.positions_of(config, attended)
    past = [f for f in attended if f < chunk[0]]
    x = embed_patches(w, latents)
    e, e0 = embed_time(w, config, timesteps)
    context = embed_text(w, config, text)
    for layer in range(config.num_layers):

        def attention(q: Queries, k: Keys) -> Tensor:
            if store:
                for slot, frame in enumerate(chunk):
                    cache.layers[layer][frame] = k.slots([slot])
            keys = Keys.join([*cache.window(layer, past), k])
            return attend(config, grid, q, [position[f] for f in chunk], keys, [position[f] for f in past + chunk])

        x = block(w, config, layer, x, e0, context, attention)
    return read_out(w, config, x, e, grid)


def cached(w, config, latents, timesteps, text, clean_latents) -> Tensor:
    """Each chunk against a cache filled by the clean chunks before it at t = 0."""
    cache, flow = Cache(config.num_layers), []
    for chunk in windows.chunks(config, latents.shape[1]):
        flow.append(run_chunk(w, config, cache, chunk, latents[:, chunk], timesteps[:, chunk], text, store=False))
        zeros = torch.zeros_like(timesteps[:, chunk])
        run_chunk(w, config, cache, chunk, clean_latents[:, chunk], zeros, text, store=True)
    return torch.cat(flow, dim=1)


def forward(mode: str, w: Weights, config: ModelConfig, inputs: dict[str, Tensor]) -> Tensor:
    """The flow of one of the four modes for the tensors of an input file."""
    args = (w, config, inputs["latents"], inputs["timesteps"], inputs["text"])
    if mode == "bidirectional":
        return bidirectional(*args)
    if mode == "chunk_causal":
        return chunk_causal(*args)
    return {"teacher_forcing": teacher_forcing, "cached": cached}[mode](*args, inputs["clean_latents"])
