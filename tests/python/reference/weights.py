"""Random weights under their Wan2.1 names, and the files that hold them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .model_config import ModelConfig, config_from_json, export_config_json, wan_config_json

Weights = dict[str, torch.Tensor]


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the network (docs/algorithms.md 2.2 and 4.1)."""
    width, heads = config.dim, config.num_heads
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"] = (rows, columns)
        shapes[f"{name}.bias"] = (rows,)

    shapes["patch_embedding.weight"] = (width, config.in_dim, 1, 2, 2)
    shapes["patch_embedding.bias"] = (width,)
    linear("text_embedding.0", width, config.text_dim)
    linear("text_embedding.2", width, width)
    linear("time_embedding.0", width, config.freq_dim)
    linear("time_embedding.2", width, width)
    linear("time_projection.1", 6 * width, width)
    linear("head.head", 4 * config.out_dim, width)
    shapes["head.modulation"] = (1, 2, width)
    for layer in range(config.num_layers):
        block = f"blocks.{layer}"
        attention = f"{block}.self_attn"
        shapes[f"{block}.modulation"] = (1, 6, width)
        if config.attention == "dense":
            for name in "qkvo":
                linear(f"{attention}.{name}", width, width)
            shapes[f"{attention}.norm_q.weight"] = (width,)
            shapes[f"{attention}.norm_k.weight"] = (width,)
        else:
            nope, rope, value = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
            shapes[f"{attention}.q_a_proj.weight"] = (config.q_lora_rank, width)
            shapes[f"{attention}.q_a_layernorm.weight"] = (config.q_lora_rank,)
            shapes[f"{attention}.q_b_proj.weight"] = (heads * (nope + rope), config.q_lora_rank)
            shapes[f"{attention}.kv_a_proj_with_mqa.weight"] = (config.kv_lora_rank + rope, width)
            shapes[f"{attention}.kv_a_layernorm.weight"] = (config.kv_lora_rank,)
            shapes[f"{attention}.kv_b_proj.weight"] = (heads * (nope + value), config.kv_lora_rank)
            if config.bias:
                shapes[f"{attention}.q_b_proj.bias"] = (heads * (nope + rope),)
                shapes[f"{attention}.kv_a_proj_with_mqa.bias"] = (config.kv_lora_rank + rope,)
            linear(f"{attention}.o", width, heads * value)
            shapes[f"{attention}.o.weight"] = (width, heads * value)
        shapes[f"{block}.norm3.weight"] = (width,)
        shapes[f"{block}.norm3.bias"] = (width,)
        for name in "qkvo":
            linear(f"{block}.cross_attn.{name}", width, width)
        shapes[f"{block}.cross_attn.norm_q.weight"] = (width,)
        shapes[f"{block}.cross_attn.norm_k.weight"] = (width,)
        linear(f"{block}.ffn.0", config.ffn_dim, width)
        linear(f"{block}.ffn.2", width, config.ffn_dim)
    return shapes


def random_weights(config: ModelConfig, seed: int, dtype=torch.float32) -> Weights:
    """Weights in which every tensor matters: gains around 1, biases and modulation of visible size.

    Drawn in fp32, so that an fp64 copy equals the stored file exactly.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for name, shape in weight_shapes(config).items():
        draw = torch.randn(shape, generator=generator)
        if name.endswith(("norm_q.weight", "norm_k.weight", "layernorm.weight", "norm3.weight")):
            draw = 1.0 + 0.3 * draw
        elif name.endswith(".bias"):
            draw = 0.2 * draw
        elif name.endswith("modulation"):
            draw = 0.3 * draw
        else:
            fan_in = draw[0].numel()
            draw = draw / fan_in**0.5
        weights[name] = draw.to(dtype)
    return weights


def to_double(weights: Weights) -> Weights:
    return {name: tensor.double() for name, tensor in weights.items()}


def write_wan_folder(folder: Path, config: ModelConfig, weights: Weights, *, shards: int = 1, config_json=True) -> Path:
    """An original Wan folder: `config.json`, one safetensors file or shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    if config_json:
        (folder / "config.json").write_text(json.dumps(wan_config_json(config)))
    stem = "diffusion_pytorch_model"
    if shards == 1:
        save_file(weights, folder / f"{stem}.safetensors")
        return folder
    names = sorted(weights)
    weight_map = {}
    for shard in range(shards):
        file = f"{stem}-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    total = sum(w.numel() * w.element_size() for w in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_export_folder(folder: Path, config: ModelConfig, weights: Weights) -> Path:
    """A videomla export: our tensor names and the latent-attention fields in `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(export_config_json(config)))
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    return folder


def read_export_folder(folder: Path) -> tuple[ModelConfig, Weights]:
    config = config_from_json(json.loads((folder / "config.json").read_text()))
    weights: Weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights.update(load_file(file))
    return config, weights


# Wan name -> diffusers name, as substring substitutions within a block or at the top level.
_TOP_LEVEL = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
}
_IN_BLOCK = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",  # the affine norm before cross-attention; diffusers' own norm3 has no parameters
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
for _wan, _diffusers in (("self_attn", "attn1"), ("cross_attn", "attn2")):
    for _letter in "qkv":
        _IN_BLOCK[f"{_wan}.{_letter}"] = f"{_diffusers}.to_{_letter}"
    _IN_BLOCK[f"{_wan}.o"] = f"{_diffusers}.to_out.0"
    for _norm in ("norm_q", "norm_k"):
        _IN_BLOCK[f"{_wan}.{_norm}"] = f"{_diffusers}.{_norm}"


def diffusers_name(name: str) -> str:
    if name == "head.modulation":
        return "scale_shift_table"
    stem, _, suffix = name.rpartition(".")
    if not name.startswith("blocks."):
        return f"{_TOP_LEVEL.get(stem, stem)}.{suffix}"
    _, index, rest = name.split(".", 2)
    if rest == "modulation":
        return f"blocks.{index}.scale_shift_table"
    stem, _, suffix = rest.rpartition(".")
    return f"blocks.{index}.{_IN_BLOCK[stem]}.{suffix}"


def diffusers_model(config: ModelConfig, weights: Weights):
    """diffusers' own network with the same weights (dense attention only)."""
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_dim,
        in_channels=config.in_dim,
        out_channels=config.out_dim,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.num_layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=config.eps,
        rope_max_seq_len=1024,
    ).to(next(iter(weights.values())).dtype)
    model.load_state_dict({diffusers_name(n): w for n, w in weights.items()}, strict=True)
    return model.eval()


def diffusers_forward(model, config: ModelConfig, latents_BFCHW, timesteps_BF, text_BTC):
    """diffusers' flow for latents laid out [B, F, C, H, W].

    Its 2-D timesteps carry one value a token (the form Wan2.2 uses), so every frame's time is repeated over its tokens.
    Its caller pads the text to the full length; the padded rows are attended.
    """
    batch, frames, _, height, width = latents_BFCHW.shape
    tokens = (height // 2) * (width // 2)
    padded = text_BTC.new_zeros(batch, config.text_len, config.text_dim)
    padded[:, : text_BTC.shape[1]] = text_BTC
    per_token = timesteps_BF.reshape(batch, frames, 1).expand(batch, frames, tokens).reshape(batch, -1)
    uniform = bool((timesteps_BF == timesteps_BF[:, :1]).all())
    with torch.no_grad():
        flow = model(
            hidden_states=latents_BFCHW.transpose(1, 2),
            timestep=timesteps_BF[:, 0] if uniform else per_token,
            encoder_hidden_states=padded,
            return_dict=False,
        )[0]
    return flow.transpose(1, 2)
