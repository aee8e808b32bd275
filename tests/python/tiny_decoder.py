"""taew2_1's decoder in plain PyTorch over a whole clip, written from its table of layers (docs/algorithms.md 17.6)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

WIDTHS = (12, 8, 6, 4)  # 256, 128, 64, 64 in the published file


def random_tensors(seed: int = 0, widths=WIDTHS, latent: int = 16, spare_rows: bool = False) -> dict:
    """The file's tensors. `spare_rows`: older files grow more frames than are used, the last ones count."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}

    def conv(name, out, inputs, kernel, bias=True):
        scale = (inputs * kernel * kernel) ** -0.5
        tensors[f"{name}.weight"] = torch.randn(out, inputs, kernel, kernel, generator=generator) * scale
        if bias:
            tensors[f"{name}.bias"] = 0.1 * torch.randn(out, generator=generator)

    a, b, c, d = widths
    conv("decoder.1", a, latent, 3)
    for first, width in ((3, a), (9, b), (15, c)):
        for block in range(first, first + 3):
            conv(f"decoder.{block}.conv.0", width, 2 * width, 3)
            conv(f"decoder.{block}.conv.2", width, width, 3)
            conv(f"decoder.{block}.conv.4", width, width, 3)
    spare = 2 if spare_rows else 1
    conv("decoder.7.conv", spare * a, a, 1, bias=False)
    conv("decoder.8", b, a, 3, bias=False)
    conv("decoder.13.conv", 2 * spare * b, b, 1, bias=False)
    conv("decoder.14", c, b, 3, bias=False)
    conv("decoder.19.conv", 2 * c, c, 1, bias=False)
    conv("decoder.20", d, c, 3, bias=False)
    conv("decoder.22", 3, d, 3)
    tensors["decoder.22.bias"] += 0.5  # RGB in [0, 1]
    tensors["decoder.22.weight"] *= 0.2
    return tensors


def decode(tensors: dict, latents: torch.Tensor) -> torch.Tensor:
    """[F, C, h, w], as the network takes them, to [1 + 4 (F - 1), 3, 8h, 8w] in [-1, 1]."""

    def conv(name, x):
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def memory(index, x):
        past = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        y = conv(f"decoder.{index}.conv.0", torch.cat([x, past], dim=1)).relu()
        return (conv(f"decoder.{index}.conv.4", conv(f"decoder.{index}.conv.2", y).relu()) + x).relu()

    def grow(index, x, frames):
        y = F.conv2d(x, tensors[f"decoder.{index}.conv.weight"][-frames * x.shape[1] :])
        return y.reshape(-1, x.shape[1], *x.shape[2:])

    x = conv("decoder.1", torch.tanh(latents / 3) * 3).relu()
    for first, frames in ((3, 1), (9, 2), (15, 2)):
        for index in range(first, first + 3):
            x = memory(index, x)
        x = grow(first + 4, F.interpolate(x, scale_factor=2, mode="nearest"), frames)
        x = conv(f"decoder.{first + 5}", x)
    return conv("decoder.22", x.relu()).clamp(0, 1)[3:] * 2 - 1
