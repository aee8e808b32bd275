"""The shape of a Wan2.1-like video transformer, and the config.json that describes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    attention: str = "dense"  # dense | mla
    dim: int = 64
    ffn_dim: int = 96
    freq_dim: int = 32
    in_dim: int = 4
    out_dim: int = 4
    num_heads: int = 4
    num_layers: int = 2
    text_len: int = 12
    text_dim: int = 24
    eps: float = 1e-6
    # latent attention
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    qk_nope_head_dim: int = 0
    qk_rope_head_dim: int = 0
    v_head_dim: int = 0
    latent_norm_eps: float = 1e-6
    bias: bool = True
    rope_pair_indices: tuple[int, ...] = ()
    # window
    num_frame_per_block: int = 1
    local_attn_size: int = -1
    sink_size: int = 0
    independent_first_frame: bool = False
    rope_cache_policy: str = "relativistic"  # relativistic | absolute

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    def replace(self, **changes) -> "ModelConfig":
        return dataclasses.replace(self, **changes)


def pairs_per_axis(head_dim: int) -> tuple[int, int, int]:
    """Rotary pairs of a dense head for time, height, width: 22/21/21 at head dimension 128."""
    spatial = head_dim // 6
    return head_dim // 2 - 2 * spatial, spatial, spatial


def highest_frequency_pairs(head_dim: int, rope_dim: int) -> tuple[int, ...]:
    """The first pairs of each axis group; c = rope_dim/2 pairs: height = width = c // 3, the rest is time."""
    count = rope_dim // 2
    spatial = count // 3
    time_pairs, height_pairs, _ = pairs_per_axis(head_dim)
    return (
        tuple(range(count - 2 * spatial))
        + tuple(time_pairs + i for i in range(spatial))
        + tuple(time_pairs + height_pairs + i for i in range(spatial))
    )


def latent_config(dense: ModelConfig, *, kv_rank: int, q_rank: int, nope: int, rope: int, value: int, **changes):
    """The latent-attention twin of a dense config, with the highest-frequency rotary pairs unless told otherwise."""
    pairs = changes.pop("rope_pair_indices", highest_frequency_pairs(dense.head_dim, rope))
    return dense.replace(
        attention="mla",
        kv_lora_rank=kv_rank,
        q_lora_rank=q_rank,
        qk_nope_head_dim=nope,
        qk_rope_head_dim=rope,
        v_head_dim=value,
        rope_pair_indices=tuple(pairs),
        **changes,
    )


def wan_config_json(config: ModelConfig, **extra) -> dict:
    """The `config.json` of an original Wan folder."""
    return {
        "_class_name": "WanModel",
        "model_type": "t2v",
        "dim": config.dim,
        "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim,
        "in_dim": config.in_dim,
        "out_dim": config.out_dim,
        "num_heads": config.num_heads,
        "num_layers": config.num_layers,
        "text_len": config.text_len,
        "text_dim": config.text_dim,
        "eps": config.eps,
        **extra,
    }


def export_config_json(config: ModelConfig) -> dict:
    """The `config.json` of a videomla export: Wan's field names, then the fields of latent attention and the window."""
    return wan_config_json(
        config,
        _class_name="CausalWanMLATransformer3DModel",
        patch_size=[1, 2, 2],
        bias=config.bias,
        kv_lora_rank=config.kv_lora_rank,
        q_lora_rank=config.q_lora_rank,
        qk_nope_head_dim=config.qk_nope_head_dim,
        qk_rope_head_dim=config.qk_rope_head_dim,
        v_head_dim=config.v_head_dim,
        rope_pairs=axis_counts(config),
        rope_pair_indices=list(config.rope_pair_indices),
        latent_norm_eps=config.latent_norm_eps,
        local_attn_size=config.local_attn_size,
        sink_size=config.sink_size,
        num_frame_per_block=config.num_frame_per_block,
        independent_first_frame=config.independent_first_frame,
        rope_cache_policy=config.rope_cache_policy,
        init_method="random",
    )


def axis_counts(config: ModelConfig) -> list[int]:
    """How many of the chosen rotary pairs lie on time, height and width."""
    time_pairs, height_pairs, _ = pairs_per_axis(config.head_dim)
    bounds = (0, time_pairs, time_pairs + height_pairs, config.head_dim // 2)
    return [sum(low <= i < high for i in config.rope_pair_indices) for low, high in zip(bounds, bounds[1:])]


def config_from_json(fields: dict) -> ModelConfig:
    """Reads a Wan or videomla `config.json`; keys that do not describe the network are ignored."""
    known = {f.name for f in dataclasses.fields(ModelConfig)}
    values = {k: v for k, v in fields.items() if k in known}
    if "num_frames_per_block" in fields and "num_frame_per_block" not in fields:
        values["num_frame_per_block"] = fields["num_frames_per_block"]
    values["attention"] = fields.get("attention", "mla" if fields.get("kv_lora_rank") else "dense")
    if "rope_pair_indices" in values:
        values["rope_pair_indices"] = tuple(values["rope_pair_indices"])
    return ModelConfig(**values)
