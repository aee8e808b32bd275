"""`vmla vae decode --codec taew2_1|lighttaew2_1` beside a plain PyTorch network."""

from __future__ import annotations

import pytest
import torch
from program import one_line_error, run, vmla, write_tensors
from safetensors.torch import load_file
from tiny_decoder import decode, random_tensors

MEAN = "-0.7571 -0.7089 -0.9113 0.1075 -0.1745 0.9653 -0.1517 1.5508 0.4134 -0.0715 0.5517 -0.3632 -0.1922 -0.9497 0.2503 -0.2921"
STD = "2.8184 1.4541 2.3275 2.6558 1.2196 1.7708 2.6052 2.0743 3.2687 2.1526 2.8652 1.5579 1.6382 1.1253 2.8251 1.9160"


def ours(weights, latents, folder, codec="taew2_1", *extra):
    source = write_tensors(folder / "latents.safetensors", {"latents": latents})
    target = folder / "pixels.safetensors"
    vmla("vae", "decode", "--codec", codec, "--weights", weights, "--input", source, "--output", target, *extra)
    return load_file(target)["pixels"]


def latents_of(batch, frames, height, width):
    return 2 * torch.randn(batch, frames, 16, height, width, generator=torch.Generator().manual_seed(frames))


def expected(tensors, latents):
    return torch.stack([decode(tensors, clip) for clip in latents]).transpose(1, 2)


def check(actual, wanted):
    assert actual.shape == wanted.shape
    assert (wanted.abs() < 1).float().mean() > 0.7, "too much of it is clamped"
    assert (actual - wanted).abs().max() / wanted.square().mean().sqrt() < 1e-4


@pytest.mark.parametrize("batch, frames, height, width", [(1, 1, 2, 3), (2, 5, 3, 2)])
def test_equals_pytorch(tmp_path, batch, frames, height, width):
    tensors = random_tensors()
    weights = write_tensors(tmp_path / "tae.safetensors", tensors)
    latents = latents_of(batch, frames, height, width)
    check(ours(weights, latents, tmp_path), expected(tensors, latents))


def test_light_takes_latents_that_are_not_normalised(tmp_path):
    tensors = random_tensors(seed=1)
    weights = write_tensors(tmp_path / "tae.safetensors", tensors)
    latents = latents_of(1, 3, 2, 2)
    mean, deviation = (torch.tensor([float(x) for x in text.split()]).view(-1, 1, 1) for text in (MEAN, STD))
    check(ours(weights, latents, tmp_path, "lighttaew2_1"), expected(tensors, latents * deviation + mean))


def test_fp16_files_with_an_encoder_and_spare_rows(tmp_path):
    tensors = {name: t.half() for name, t in random_tensors(seed=2, spare_rows=True).items()}
    weights = write_tensors(tmp_path / "tae.safetensors", {**tensors, "encoder.0.weight": torch.zeros(4, 3, 3, 3)})
    latents = latents_of(1, 3, 2, 2)
    check(ours(weights, latents, tmp_path), expected({name: t.float() for name, t in tensors.items()}, latents))


def test_bad_weights_are_one_line(tmp_path):
    tensors = random_tensors()
    source = write_tensors(tmp_path / "in.safetensors", {"latents": latents_of(1, 1, 2, 2)})

    def refused(given, *mentions, codec="taew2_1"):
        weights = write_tensors(tmp_path / "bad.safetensors", given)
        output = tmp_path / "out.safetensors"
        done = run("vae", "decode", "--codec", codec, "--weights", weights, "--input", source, "--output", output)
        one_line_error(done, "bad.safetensors", *mentions)
        assert not output.exists()

    refused({k: t for k, t in tensors.items() if k != "decoder.4.conv.2.bias"}, "decoder.4.conv.2.bias is missing")
    refused({**tensors, "decoder.9.conv.0.weight": torch.zeros(8, 8, 3, 3)}, "should be [8, 16, 3, 3]")
    refused({"decoder.conv1.weight": torch.zeros(1)}, "wan-vae")
    refused(tensors, "taew2_1", codec="wan-vae")
