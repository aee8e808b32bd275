"""The network of this folder in plain PyTorch: a causal video transformer with multi-head latent attention.

It is Wan2.1's transformer whose self-attention keeps, of every past token, one latent of `kv_lora_rank` numbers and one
unrotated rotary key that all heads share. Loaded by diffusers:

    import sys
    sys.path.insert(0, "FOLDER")
    from modeling_videomla import CausalWanMLATransformer3DModel
    model = CausalWanMLATransformer3DModel.from_pretrained("FOLDER")

Shapes: B batch, F frames, C latent channels, H and W the latent grid, S tokens a frame (H/2 * W/2), D width, N heads,
T text tokens, R rank of the latent, P rotary channels. Latents are [B, F, C, H, W], timesteps [B, F] from 0 (clean) to
1000 (noise), text embeddings [B, T, text_dim]; the output is the flow, noise minus clean video, [B, F, C, H, W].

What a frame attends to, and where it stands, is decided by frame numbers: a chunk of `num_frame_per_block` frames sees
the first `sink_size` frames and the last `local_attn_size - sink_size` ones, itself included. A frame's position in time
is its rank among the frames that are seen, so a key is rotated only when it is read; with `rope_cache_policy` absolute
it is the frame's number.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


def axis_pairs(head_dim):
    """Rotary pairs of a dense head for time, height and width: 22, 21, 21 of 64."""
    spatial = head_dim // 6
    return head_dim // 2 - 2 * spatial, spatial, spatial


def rotation(frames, grid, pairs, head_dim, device):
    """cos and sin [len(frames) * S, 1, len(pairs)] of the angles at the temporal positions `frames`."""
    counts = axis_pairs(head_dim)
    axis = torch.tensor([a for a, count in enumerate(counts) for _ in range(count)], device=device)[pairs]
    speed = torch.tensor(
        [10000.0 ** (-i / count) for count in counts for i in range(count)], dtype=torch.float64, device=device
    )[pairs]
    places = torch.cartesian_prod(
        torch.tensor(frames, dtype=torch.float64, device=device),
        torch.arange(grid[0], dtype=torch.float64, device=device),
        torch.arange(grid[1], dtype=torch.float64, device=device),
    )
    angle = (places[:, axis] * speed).unsqueeze(1)
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """Turns the neighbouring channels (2i, 2i + 1) of x [B, tokens, heads, P]."""
    even, odd = x.float()[..., 0::2], x.float()[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps) * self.weight.float()).to(x.dtype)


class LatentAttention(nn.Module):
    """Multi-head latent attention. What it keeps of a token is `kept`: latent [R] and unrotated rotary key [P]."""

    def __init__(self, c, layer):
        super().__init__()
        rank = c.kv_lora_rank if isinstance(c.kv_lora_rank, int) else c.kv_lora_rank[layer]
        pairs = c.rope_pair_indices
        self.pairs = list(pairs[layer] if isinstance(pairs[0], (list, tuple)) else pairs)
        self.heads, self.nope, self.rope, self.rank = c.num_heads, c.qk_nope_head_dim, c.qk_rope_head_dim, rank
        self.q_a_proj = nn.Linear(c.dim, c.q_lora_rank, bias=False)
        self.q_a_layernorm = RMSNorm(c.q_lora_rank, c.latent_norm_eps)
        self.q_b_proj = nn.Linear(c.q_lora_rank, c.num_heads * (self.nope + self.rope), bias=c.bias)
        self.kv_a_proj_with_mqa = nn.Linear(c.dim, rank + self.rope, bias=c.bias)
        self.kv_a_layernorm = RMSNorm(rank, c.latent_norm_eps)
        self.kv_b_proj = nn.Linear(rank, c.num_heads * (self.nope + c.v_head_dim), bias=False)
        self.o = nn.Linear(c.num_heads * c.v_head_dim, c.dim)

    def project(self, x):
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).unflatten(-1, (self.heads, -1))
        latent, key = self.kv_a_proj_with_mqa(x).split([self.rank, self.rope], -1)
        return q.split([self.nope, self.rope], -1), (self.kv_a_layernorm(latent), key)

    def expand(self, kept):
        """Unrotated key channels, rotary key channels and values of each head, of what was kept."""
        latent, key = kept
        both = self.kv_b_proj(latent).unflatten(-1, (self.heads, -1))
        return both[..., : self.nope], key.unsqueeze(2).expand(-1, -1, self.heads, -1), both[..., self.nope :]


class DenseAttention(nn.Module):
    """Wan2.1's own self-attention. It keeps keys and values, 2 D numbers a token."""

    def __init__(self, c, layer):
        super().__init__()
        self.heads, self.pairs = c.num_heads, list(range(c.dim // c.num_heads // 2))
        self.q, self.k, self.v, self.o = (nn.Linear(c.dim, c.dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(c.dim, c.eps), RMSNorm(c.dim, c.eps)

    def project(self, x):
        q = self.norm_q(self.q(x)).unflatten(-1, (self.heads, -1))
        return (q[..., :0], q), (self.norm_k(self.k(x)), self.v(x))

    def expand(self, kept):
        key, value = (x.unflatten(-1, (self.heads, -1)) for x in kept)
        return key[..., :0], key, value


class CrossAttention(nn.Module):
    """Every token sees all rows of the text, those of padding included."""

    def __init__(self, c):
        super().__init__()
        self.heads = c.num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(c.dim, c.dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(c.dim, c.eps), RMSNorm(c.dim, c.eps)

    def forward(self, x, text):
        parts = (self.norm_q(self.q(x)), self.norm_k(self.k(text)), self.v(text))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def modulated(x, shift, scale, eps):
    """Layer norm without weights, scaled and shifted for each token."""
    y = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
    return (y * (1 + scale) + shift).to(x.dtype)


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        self.eps = c.eps
        self.modulation = nn.Parameter(torch.zeros(1, 6, c.dim))
        self.self_attn = (LatentAttention if c.attention == "mla" else DenseAttention)(c, layer)
        self.norm3 = nn.LayerNorm(c.dim, eps=c.eps)
        self.cross_attn = CrossAttention(c)
        self.ffn = nn.Sequential(nn.Linear(c.dim, c.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(c.ffn_dim, c.dim))

    def forward(self, x, time, text, attend):
        """x [B, tokens, D], time [B, tokens, 6, D]; `attend(attention, normed)` is the self-attention's answer."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (self.modulation.float().unsqueeze(1) + time).unbind(2)
        y = attend(self.self_attn, modulated(x, shift_a, scale_a, self.eps))
        x = (x.float() + gate_a * self.self_attn.o(y).float()).to(x.dtype)
        x = x + self.cross_attn(self.norm3(x), text)
        y = self.ffn(modulated(x, shift_f, scale_f, self.eps))
        return (x.float() + gate_f * y.float()).to(x.dtype)


class Head(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.eps = c.eps
        self.head = nn.Linear(c.dim, c.out_dim * c.patch_size[1] * c.patch_size[2])
        self.modulation = nn.Parameter(torch.zeros(1, 2, c.dim))

    def forward(self, x, time):
        shift, scale = (self.modulation.float().unsqueeze(1) + time.unsqueeze(2)).unbind(2)
        return self.head(modulated(x, shift, scale, self.eps))


@dataclass
class Group:
    """Query slots that see the same key slots, and the position in time of each."""

    queries: list
    keys: list
    positions: list  # of the queries
    key_positions: list


@dataclass
class LatentCache:
    """What is kept of past frames: for each layer two tensors [B, frames * S, ...]; and the frames' numbers."""

    frames: list = field(default_factory=list)
    layers: list = field(default_factory=list)

    def keep(self, frames, kept, tokens, still_seen):
        """Appends a chunk's latents, and drops frames that no later chunk sees."""
        layers = [tuple(torch.cat(pair, 1) for pair in zip(old, new)) for old, new in zip(self.layers, kept)] or kept
        numbers = self.frames + frames
        slots = [i for i, frame in enumerate(numbers) if frame in still_seen]
        index = torch.tensor([i * tokens + s for i in slots for s in range(tokens)], device=layers[0][0].device)
        self.layers = [tuple(part.index_select(1, index) for part in layer) for layer in layers]
        self.frames = [numbers[i] for i in slots]


class CausalWanMLATransformer3DModel(ModelMixin, ConfigMixin):
    config_name = "config.json"

    @register_to_config
    def __init__(
        self, attention="mla", dim=1536, ffn_dim=8960, freq_dim=256, in_dim=16, out_dim=16, num_heads=12, num_layers=30,
        text_len=512, text_dim=4096, patch_size=(1, 2, 2), eps=1e-6, kv_lora_rank=192, q_lora_rank=768,
        qk_nope_head_dim=96, qk_rope_head_dim=32, v_head_dim=128, rope_pair_indices=(), latent_norm_eps=1e-6, bias=True,
        num_frame_per_block=3, local_attn_size=-1, sink_size=0, independent_first_frame=False,
        rope_cache_policy="relativistic",
        model_type="t2v", rope_pairs=None, init_method=None,  # facts that the network does not need
    ):  # fmt: skip
        super().__init__()
        c = self.config
        self.patch_embedding = nn.Conv3d(in_dim, dim, tuple(patch_size), stride=tuple(patch_size))
        gelu = nn.GELU(approximate="tanh")
        self.text_embedding = nn.Sequential(nn.Linear(text_dim, dim), gelu, nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(c, layer) for layer in range(num_layers))
        self.head = Head(c)

    # --- which frames see which ---

    def chunks(self, frames):
        """The frames of each chunk of a video."""
        c = self.config
        first = 1 if c.independent_first_frame else c.num_frame_per_block
        bounds = [0, *range(first, frames + 1, c.num_frame_per_block)]
        if bounds[-1] != frames:
            raise ValueError(f"{frames} frames are no whole chunks of {c.num_frame_per_block}")
        return [list(range(a, b)) for a, b in zip(bounds, bounds[1:])]

    def seen_by(self, end):
        """The frames that a chunk sees whose last frame is `end` - 1, its own included."""
        c = self.config
        if c.local_attn_size < 0:
            return list(range(end))
        recent = end - (c.local_attn_size - c.sink_size)
        return [frame for frame in range(end) if frame < c.sink_size or frame >= recent]

    def positions_of(self, seen):
        """The position in time of each frame that is seen."""
        absolute = self.config.rope_cache_policy == "absolute"
        return {frame: frame if absolute else rank for rank, frame in enumerate(seen)}

    def chunk_groups(self, frames):
        groups = []
        for chunk in self.chunks(frames):
            seen = self.seen_by(chunk[-1] + 1)
            place = self.positions_of(seen)
            groups.append(Group(chunk, seen, [place[frame] for frame in chunk], list(place.values())))
        return groups

    # --- the network ---

    def embed(self, latents, timesteps, text):
        """Tokens [B, slots * S, D], time for the head [B, slots * S, D] and for the blocks [.., 6, D], text [B, T, D]."""
        c, dtype = self.config, self.patch_embedding.weight.dtype
        x = self.patch_embedding(latents.to(dtype).transpose(1, 2))  # [B, D, slots, H/2, W/2]
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        half = c.freq_dim // 2
        speed = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
        angle = timesteps.double().unsqueeze(-1) * speed
        e = self.time_embedding(torch.cat([angle.cos(), angle.sin()], -1).to(dtype))
        e0 = self.time_projection(e).unflatten(-1, (6, c.dim))
        tokens = grid[0] * grid[1]
        e, e0 = (t.float().repeat_interleave(tokens, 1) for t in (e, e0))
        if text.shape[1] > c.text_len:
            raise ValueError(f"{text.shape[1]} rows of text, at most {c.text_len} are possible")
        text = self.text_embedding(F.pad(text.to(dtype), (0, 0, 0, c.text_len - text.shape[1])))
        return x, grid, e, e0, text

    def read_out(self, x, e, grid):
        c = self.config
        y = self.head(x, e).unflatten(1, (-1, *grid)).unflatten(-1, (*c.patch_size[1:], c.out_dim))
        y = y.permute(0, 1, 6, 2, 4, 3, 5)  # [B, slots, C, H/2, 2, W/2, 2]
        return y.flatten(5, 6).flatten(3, 4).float()

    def attend(self, attention, queries, kept, groups, grid):
        """Softmax attention of each group over its keys; [B, tokens, N * V] in the order of the query slots."""
        tokens, head_dim = grid[0] * grid[1], self.config.dim // self.config.num_heads
        plain, rotary = (q.unflatten(1, (-1, tokens)) for q in queries)
        kept = tuple(part.unflatten(1, (-1, tokens)) for part in kept)
        answer = None
        for group in groups:
            place = [rotation(p, grid, attention.pairs, head_dim, plain.device)
                     for p in (group.positions, group.key_positions)]  # fmt: skip
            k_plain, k_rotary, v = attention.expand(tuple(part[:, group.keys].flatten(1, 2) for part in kept))
            q_rotary = rotate(rotary[:, group.queries].flatten(1, 2), *place[0])
            q = torch.cat([plain[:, group.queries].flatten(1, 2), q_rotary], -1)
            k = torch.cat([k_plain, rotate(k_rotary, *place[1])], -1)
            y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v))).transpose(1, 2).flatten(2)
            if answer is None:
                answer = y.new_empty(y.shape[0], plain.shape[1], tokens, y.shape[-1])
            answer[:, group.queries] = y.unflatten(1, (-1, tokens))
        return answer.flatten(1, 2)

    def run(self, latents, timesteps, text, groups, past=None):
        """Flow of all slots, and what each layer would keep of them. Slots of `past`, if any, come before all others."""
        x, grid, e, e0, text = self.embed(latents, timesteps, text)
        kept_of_all = []
        for number, block in enumerate(self.blocks):

            def attend(attention, normed):
                queries, kept = attention.project(normed)
                kept_of_all.append(kept)
                if past is not None and past.layers:
                    kept = tuple(torch.cat(pair, 1) for pair in zip(past.layers[number], kept))
                return self.attend(attention, queries, kept, groups, grid)

            x = block(x, e0, text, attend)
        return self.read_out(x, e, grid), kept_of_all

    def forward(self, latents, timesteps, text, mode="chunk_causal", clean_latents=None):
        """Flow [B, F, C, H, W]. `bidirectional`: every frame sees all. `chunk_causal`: a chunk sees the earlier ones as
        they are given. `teacher_forcing`: it sees their clean version, at time 0. `cached`: the same, chunk by chunk."""
        frames = latents.shape[1]
        if mode == "bidirectional":
            every = list(range(frames))
            return self.run(latents, timesteps, text, [Group(every, every, every, every)])[0]
        groups = self.chunk_groups(frames)
        if mode == "chunk_causal":
            return self.run(latents, timesteps, text, groups)[0]
        if mode == "teacher_forcing":  # slots 0 to F - 1 are clean, F to 2 F - 1 noisy
            noisy = [Group([f + frames for f in g.queries], [f + frames if f in g.queries else f for f in g.keys],
                           g.positions, g.key_positions) for g in groups]  # fmt: skip
            both = torch.cat([clean_latents, latents], 1)
            times = torch.cat([torch.zeros_like(timesteps), timesteps], 1)
            return self.run(both, times, text, groups + noisy)[0][:, frames:]
        if mode != "cached":
            raise ValueError(f"mode {mode!r}: bidirectional, chunk_causal, teacher_forcing or cached is needed")
        cache, flow = LatentCache(), []
        for chunk in self.chunks(frames):
            flow.append(self.denoise_chunk(latents[:, chunk], timesteps[:, chunk], text, chunk, cache))
            self.keep_chunk(clean_latents[:, chunk], torch.zeros_like(timesteps[:, chunk]), text, chunk, cache)
        return torch.cat(flow, 1)

    # --- streaming ---

    def _run_chunk(self, latents, timesteps, text, chunk, cache):
        seen = self.seen_by(chunk[-1] + 1)
        slots = cache.frames + chunk
        place = self.positions_of(seen)
        group = Group(list(range(len(chunk))), [slots.index(f) for f in seen], [place[f] for f in chunk], list(place.values()))
        return self.run(latents, timesteps, text, [group], cache)

    def denoise_chunk(self, latents, timesteps, text, chunk, cache):
        """Flow of the frames `chunk` of a video against the cache of the frames before them."""
        return self._run_chunk(latents, timesteps, text, chunk, cache)[0]

    def keep_chunk(self, latents, timesteps, text, chunk, cache):
        """Runs the finished chunk once more and keeps its latents; frames that no later chunk sees are dropped."""
        kept = self._run_chunk(latents, timesteps, text, chunk, cache)[1]
        after = chunk[-1] + 1
        seen = self.seen_by(after + self.config.num_frame_per_block)
        cache.keep(chunk, kept, kept[0][0].shape[1] // len(chunk), set(seen))
