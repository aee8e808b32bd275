"""`vmla export` and `vmla convert`: what they write is loaded and run by code that is not ours."""

import json

import pytest
import torch
from safetensors.torch import load_file

from parity import TOLERANCE, deviation, double, random_inputs
from program import one_line_error, run, vmla
from reference import network
from reference.model_config import ModelConfig
from reference.weights import (
    diffusers_forward,
    diffusers_model,
    diffusers_name,
    random_weights,
    read_export_folder,
    to_double,
    weight_shapes,
    write_wan_folder,
)
from test_checkpoint_format import generator_weights, model_of, read_manifest
from tiny_stage import last_checkpoint

CONFIG = ModelConfig(text_len=512)


def folder_weights(folder):
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    return weights


def load_diffusers(folder):
    from diffusers import WanTransformer3DModel

    transformer = folder / "transformer" if (folder / "transformer").is_dir() else folder
    return WanTransformer3DModel.from_pretrained(transformer).eval()


def clip_inputs(config, seed=111):
    return random_inputs(config, batch=2, frames=3, height=6, width=8, text_rows=6, seed=seed, uniform=True)


def test_convert_wan_to_diffusers_and_back(tmp_path):
    weights = random_weights(CONFIG, seed=112)
    wan = write_wan_folder(tmp_path / "wan", CONFIG, weights)
    vmla("convert", "--in", wan, "--out", tmp_path / "diffusers")
    model = load_diffusers(tmp_path / "diffusers")
    inputs = clip_inputs(CONFIG)
    theirs = diffusers_forward(model, CONFIG, inputs["latents"], inputs["timesteps"], inputs["text"])
    expected = network.forward("bidirectional", to_double(weights), CONFIG, double(inputs))
    assert deviation(theirs, expected) <= TOLERANCE
    vmla("convert", "--in", tmp_path / "diffusers", "--out", tmp_path / "back")
    back = folder_weights(tmp_path / "back")
    assert set(back) == set(weights) and all(torch.equal(back[n], weights[n]) for n in weights)


def test_convert_what_diffusers_saved(tmp_path):
    weights = random_weights(CONFIG, seed=113)
    diffusers_model(CONFIG, weights).save_pretrained(tmp_path / "theirs", max_shard_size="150KB")
    vmla("convert", "--in", tmp_path / "theirs", "--out", tmp_path / "wan")
    written = folder_weights(tmp_path / "wan")
    assert all(torch.equal(written[n], weights[n]) for n in weights)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_export_dense_as_diffusers(dense_run, dtype, tmp_path):
    checkpoint = last_checkpoint(dense_run)
    config = model_of(read_manifest(checkpoint))
    weights = generator_weights(checkpoint, "generator")
    vmla("export", "--checkpoint", dense_run, "--format", "diffusers", "--out", tmp_path / "x", "--dtype", dtype)
    model = load_diffusers(tmp_path / "x")
    kind = torch.float32 if dtype == "fp32" else torch.bfloat16
    state = model.state_dict()
    for name, tensor in weights.items():
        assert torch.equal(state[diffusers_name(name)].float(), tensor.to(kind).float()), name
    inputs = clip_inputs(config)
    inputs["text"] = inputs["text"][:, : config.text_len]
    theirs = diffusers_forward(model.float(), config, inputs["latents"], inputs["timesteps"], inputs["text"])
    rounded = {n: t.to(kind).double() for n, t in weights.items()}
    assert deviation(theirs, network.forward("bidirectional", rounded, config, double(inputs))) <= TOLERANCE


def test_export_dense_as_wan(dense_run, tmp_path):
    checkpoint = last_checkpoint(dense_run)
    weights = generator_weights(checkpoint, "generator")
    vmla("export", "--checkpoint", dense_run, "--format", "wan", "--out", tmp_path / "x", "--dtype", "fp32")
    written = folder_weights(tmp_path / "x")
    assert all(torch.equal(written[name], weights[name]) for name in weights)
    fields = json.loads((tmp_path / "x" / "config.json").read_text())
    assert fields["dim"] == 64 and fields["num_heads"] == 2 and fields["text_len"] == 8


@pytest.mark.parametrize("weights_kind", ["ema", "raw"])
def test_export_latent_as_videomla(latent_run, weights_kind, tmp_path):
    checkpoint = last_checkpoint(latent_run)
    role = "generator_ema" if weights_kind == "ema" else "generator"
    weights = generator_weights(checkpoint, role)
    vmla("export", "--checkpoint", latent_run, "--format", "videomla", "--out", tmp_path / "x", "--dtype", "fp32",
         "--weights", weights_kind)  # fmt: skip
    config, written = read_export_folder(tmp_path / "x")
    assert {n: tuple(t.shape) for n, t in written.items()} == weight_shapes(config)
    assert all(torch.equal(written[n], weights[n]) for n in weights)
    assert (config.num_frame_per_block, config.local_attn_size, config.sink_size) == (3, 7, 1)
    manifest = json.loads((tmp_path / "x" / "export_manifest.json").read_text())
    assert "6" in json.dumps(manifest) and any("hash" in k or "sha256" in k for k in str(manifest).lower().split("'"))


@pytest.mark.parametrize("layout", ["wan", "diffusers"])
def test_latent_models_have_no_dense_form(latent_run, layout, tmp_path):
    done = run("export", "--checkpoint", latent_run, "--format", layout, "--out", tmp_path / "x")
    assert "videomla" in one_line_error(done)
    assert not (tmp_path / "x").exists()
