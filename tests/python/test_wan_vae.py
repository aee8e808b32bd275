"""`vmla vae encode|decode` beside diffusers' AutoencoderKLWan."""

from __future__ import annotations

import json

import pytest
import torch
from program import one_line_error, run, vmla, write_tensors
from safetensors.torch import load_file
from wan_vae import decode, encode, original_name, random_vae, write_diffusers, write_original

# fp32: some sixty layers of rounding at 6e-8, sums of up to 1000 terms in another order.
TOLERANCE = 1e-4


def ours(command: str, weights, tensor: torch.Tensor, folder, *extra) -> torch.Tensor:
    """The output tensor of `vmla vae COMMAND`."""
    given, made = ("pixels", "latents") if command == "encode" else ("latents", "pixels")
    source = write_tensors(folder / f"{given}.safetensors", {given: tensor})
    target = folder / f"{made}.out.safetensors"
    target.unlink(missing_ok=True)
    vmla("vae", command, "--weights", weights, "--input", source, "--output", target, *extra)
    return load_file(target)[made]


def difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert actual.shape == expected.shape and actual.dtype == torch.float32
    expected = expected.double()
    return float((actual.double() - expected).abs().max() / expected.square().mean().sqrt())


def clip(frames: int, height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def latents_of(frames: int, height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, frames, 16, height, width, generator=torch.Generator().manual_seed(frames))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    vae = random_vae()
    return {
        "vae": vae,
        "diffusers": write_diffusers(vae, folder / "diffusers"),
        "original": write_original(vae, folder / "original.safetensors"),
    }


@pytest.mark.parametrize(
    "layout, frames, height, width, batch",
    [
        ("diffusers", 1, 16, 40, 1),
        ("original", 5, 24, 16, 2),
        ("diffusers", 9, 8, 24, 1),
        ("original", 13, 16, 8, 1),
        ("diffusers", 17, 16, 24, 1),
    ],
)
def test_equals_diffusers(small, tmp_path, layout, frames, height, width, batch):
    pixels = clip(frames, height, width, batch)
    assert difference(ours("encode", small[layout], pixels, tmp_path), encode(small["vae"], pixels)) < TOLERANCE
    latents = latents_of(1 + frames // 4, height // 8, width // 8, batch)
    expected = decode(small["vae"], latents)
    assert (expected.abs() < 1).float().mean() > 0.7, "too much of it is clamped"
    assert difference(ours("decode", small[layout], latents, tmp_path), expected) < TOLERANCE


# --- tiles: 8 latent rows and columns, 6 from one to the next -----------------------------------------------------------


def share_of_later(size: int, begin: int, overlap: int) -> torch.Tensor:
    """How much the later of two tiles counts at each position of `size`; it begins at `begin`."""
    return ((torch.arange(size) - begin + 0.5) / overlap).clamp(0, 1)


def put(tile: torch.Tensor, row: int, column: int, height: int, width: int) -> torch.Tensor:
    """A tile at its place in a picture of zeros."""
    below, right = height - row - tile.shape[-2], width - column - tile.shape[-1]
    return torch.nn.functional.pad(tile, (column, right, row, below))


def mixed(whole_of, height: int, width: int, scale: int, unit: int) -> torch.Tensor:
    """Four tiles, made one by one by `whole_of(rows, columns)`, mixed as docs/algorithms.md 17.5 says. Latents have
    `scale` output positions and `unit` input positions."""
    made = 0
    columns = share_of_later(width * scale, 6 * scale, 2 * scale)
    rows = share_of_later(height * scale, 6 * scale, 2 * scale)[:, None]
    for row, row_share in ((0, 1 - rows), (6, rows)):
        for column, column_share in ((0, 1 - columns), (6, columns)):
            tile = whole_of(*(slice(unit * i, unit * (i + 8)) for i in (row, column)))
            made = made + put(tile, row * scale, column * scale, height * scale, width * scale) * row_share * column_share
    return made


def test_tiles_are_those_of_diffusers(small, tmp_path):
    """14 rows and columns are two tiles each way; diffusers adds a third of 2, so its last positions differ, and where it
    mixes it does so by pixels' edges, not their middles. All others are the same."""
    vae, weights = small["vae"], small["original"]
    latents = latents_of(2, 14, 14)
    decoded = ours("decode", weights, latents, tmp_path, "--tile", 64)
    assert difference(decoded, mixed(lambda r, c: decode(vae, latents[..., r, c]), 14, 14, scale=8, unit=1)) < TOLERANCE
    pixels = clip(5, 112, 112)
    encoded = ours("encode", weights, pixels, tmp_path, "--tile", 64)
    assert difference(encoded, mixed(lambda r, c: encode(vae, pixels[..., r, c]), 14, 14, scale=1, unit=8)) < TOLERANCE

    vae.enable_tiling(64, 64, 48, 48)
    try:
        theirs = {"decode": decode(vae, latents), "encode": encode(vae, pixels)}
    finally:
        vae.disable_tiling()
    for mine, their, scale in ((decoded, theirs["decode"], 8), (encoded, theirs["encode"], 1)):
        own = [i for i in range(12 * scale) if not 6 * scale <= i < 8 * scale]
        assert difference(mine[..., own, :][..., own], their[..., own, :][..., own]) < TOLERANCE


def test_takes_the_widths_of_light_vae(tmp_path):
    vae = random_vae(seed=1, base_dim=24)  # a quarter of Wan's 96
    weights = write_original(vae, tmp_path / "lightvaew2_1.safetensors")
    pixels, latents = clip(5, 16, 16), latents_of(2, 2, 3)
    assert difference(ours("encode", weights, pixels, tmp_path), encode(vae, pixels)) < TOLERANCE
    assert difference(ours("decode", weights, latents, tmp_path), decode(vae, latents)) < TOLERANCE


def test_takes_statistics_from_the_config(tmp_path):
    mean, deviation = [0.1 * i for i in range(16)], [1 + 0.1 * i for i in range(16)]
    vae = random_vae(seed=2, latents_mean=mean, latents_std=deviation)
    latents = latents_of(2, 2, 2)
    assert difference(ours("decode", write_diffusers(vae, tmp_path / "vae"), latents, tmp_path), decode(vae, latents)) < TOLERANCE
    # Also from the root of a pipeline, beside which another model's config may lie.
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "Other"}))
    assert difference(ours("decode", tmp_path, latents, tmp_path), decode(vae, latents)) < TOLERANCE


def test_bf16_is_no_worse_than_diffusers(small, tmp_path):
    exact, rounded = random_vae().double(), random_vae().bfloat16()

    def errors(command, reference, tensor):
        truth = reference(exact, tensor.double())
        error = lambda got: float((got.double() - truth).norm() / truth.norm())  # noqa: E731
        mine = ours(command, small["diffusers"], tensor, tmp_path, "--precision", "bf16")
        return error(mine), error(reference(rounded, tensor.bfloat16()))

    for command, reference, tensor in (
        ("encode", encode, clip(9, 24, 24)),
        ("decode", decode, latents_of(3, 3, 4)),
    ):
        mine, theirs = errors(command, reference, tensor)
        assert mine <= 1.5 * theirs, f"{command}: {mine} against {theirs}"
        assert mine > 1e-5, "not computed in bf16"


def test_bad_input_is_one_line(small, tmp_path):
    weights, output = small["original"], tmp_path / "out.safetensors"

    def refused(command, tensors, *mentions, extra=()):
        source = write_tensors(tmp_path / "in.safetensors", tensors)
        done = run("vae", command, "--weights", weights, "--input", source, "--output", output, *extra)
        one_line_error(done, *mentions)
        assert not output.exists()

    refused("encode", {"latents": clip(1, 8, 8)}, "in.safetensors", "'pixels' is missing")
    refused("encode", {"pixels": clip(4, 8, 8)}, "1, 5, 9", "4")
    refused("encode", {"pixels": clip(5, 8, 12)}, "8x12", "multiple of 8")
    refused("encode", {"pixels": 255 * clip(1, 8, 8)}, "[-1, 1]")
    refused("encode", {"pixels": clip(1, 8, 8).half()}, "F32", "Half")
    refused("decode", {"latents": latents_of(1, 2, 2)[:, :, :12]}, "'latents'", "must be 16")
    refused("decode", {"latents": latents_of(1, 2, 2) / 0}, "NaN or infinity")
    refused("decode", {"latents": latents_of(1, 2, 2)}, "multiple of 8", extra=["--tile", 100])
    if not torch.cuda.is_available():
        refused("decode", {"latents": latents_of(1, 2, 2)}, "--device", "use cpu", extra=["--device", "cuda"])
    weights = write_tensors(tmp_path / "short.safetensors", {"decoder.conv1.weight": torch.zeros(8, 16, 3, 3, 3)})
    refused("decode", {"latents": latents_of(1, 2, 2)}, "short.safetensors", "conv1.weight is missing", "more")


def test_names_are_those_of_the_table():
    for diffusers, original in {
        "decoder.up_blocks.1.resnets.0.conv_shortcut.bias": "decoder.upsamples.4.shortcut.bias",
        "decoder.up_blocks.1.upsamplers.0.time_conv.weight": "decoder.upsamples.7.time_conv.weight",
        "encoder.down_blocks.2.resample.1.weight": "encoder.downsamples.2.resample.1.weight",
        "encoder.mid_block.attentions.0.to_qkv.weight": "encoder.middle.1.to_qkv.weight",
        "decoder.norm_out.gamma": "decoder.head.0.gamma",
        "post_quant_conv.weight": "conv2.weight",
    }.items():
        assert original_name(diffusers) == original
