"""diffusers' AutoencoderKLWan with random weights of small width, and its files in both layouts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

# Of a tiny stage on latents of the VAE that were encoded before.
ON_LATENTS = {
    "model__in_dim": 16,
    "model__out_dim": 16,
    "data__make": {},
    "data__make_validation": {},
    "train__steps": 2,
    "checkpoint__every": 2,
}
SMALL = {"base_dim": 8, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}


def random_vae(seed: int = 0, **config) -> AutoencoderKLWan:
    """Weights that keep activations about 1, and gains and biases that are not 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    vae = AutoencoderKLWan(**{**SMALL, **config}).eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("gamma"):
            parameter.copy_(1 + 0.1 * noise)
        elif name.endswith("bias"):
            parameter.copy_(0.1 * noise)
        else:
            parameter.copy_(noise * parameter[0].numel() ** -0.5)
    vae.decoder.conv_out.weight.mul_(0.3)  # decoded pixels are clamped: most should lie within [-1, 1]
    return vae


def original_name(name: str) -> str:
    """A diffusers name under the original checkpoint's (the table in docs/algorithms.md 17.3)."""
    for ours, theirs in {
        "quant_conv.": "conv1.",
        "post_quant_conv.": "conv2.",
        "mid_block.resnets.0": "middle.0",
        "mid_block.attentions.0": "middle.1",
        "mid_block.resnets.1": "middle.2",
        "conv_in": "conv1",
        "norm_out": "head.0",
        "conv_out": "head.2",
        "down_blocks": "downsamples",
        "norm1": "residual.0",
        "norm2": "residual.3",
        "conv_shortcut": "shortcut",
    }.items():
        if ours == "quant_conv." and name.startswith("post_"):
            continue
        name = name.replace(ours, theirs)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"upsamples.{4 * int(m[1]) + int(m[2])}", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"upsamples.{4 * int(m[1]) + 3}", name)
    if re.search(r"(downsamples|upsamples|middle)\.\d+\.conv[12]", name):
        name = name.replace(".conv1.", ".residual.2.").replace(".conv2.", ".residual.6.")
    return name


def write_diffusers(vae: AutoencoderKLWan, folder: Path) -> Path:
    vae.save_pretrained(folder, safe_serialization=True)
    return folder


def write_original(vae: AutoencoderKLWan, path: Path) -> Path:
    save_file({original_name(name): t.contiguous() for name, t in vae.state_dict().items()}, path)
    return path


def statistics(vae: AutoencoderKLWan) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the latent channels, [1, 16, 1, 1, 1]."""
    shape = (1, -1, 1, 1, 1)
    return torch.tensor(vae.config.latents_mean).view(shape), torch.tensor(vae.config.latents_std).view(shape)


def encode(vae: AutoencoderKLWan, pixels: torch.Tensor) -> torch.Tensor:
    """[B, 3, 1 + 4 k, H, W] to normalised [B, 1 + k, 16, h, w]."""
    mean, deviation = statistics(vae)
    latents = vae.encode(pixels).latent_dist.mode()
    return ((latents - mean.to(latents)) / deviation.to(latents)).transpose(1, 2)


def decode(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """The way back."""
    mean, deviation = statistics(vae)
    return vae.decode(latents.transpose(1, 2) * deviation.to(latents) + mean.to(latents)).sample


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())
