"""One block of Wan2.1-T2V-1.3B's true width on three frames of 832x480 (3 x 1560 tokens): forward and backward are
those of diffusers' block."""

import pytest
import torch
from safetensors.torch import load_file

from parity import TOLERANCE, deviation, random_inputs
from program import forward, model_section, vmla, write_tensors, write_yaml
from reference.model_config import ModelConfig
from reference.weights import diffusers_forward, diffusers_model, diffusers_name, random_weights, write_wan_folder

pytestmark = pytest.mark.soak

CONFIG = ModelConfig(
    dim=1536, ffn_dim=8960, freq_dim=256, in_dim=16, out_dim=16, num_heads=12, num_layers=1, text_len=512, text_dim=4096
)
SHAPE = {"batch": 1, "frames": 3, "height": 60, "width": 104, "text_rows": 40, "seed": 401, "uniform": True}
# Both sides compute in fp32; a gradient that is small beside the whole carries the whole's rounding.
RELATIVE, OF_TOTAL = 1e-4, 1e-6


def test_block_of_true_size(tmp_path):
    weights = random_weights(CONFIG, seed=402)
    folder = write_wan_folder(tmp_path / "wan", CONFIG, weights)
    inputs = random_inputs(CONFIG, **SHAPE)
    model = diffusers_model(CONFIG, weights)

    clean = inputs.pop("clean_latents")
    actual = forward(folder, inputs, "bidirectional", tmp_path)
    expected = diffusers_forward(model, CONFIG, inputs["latents"], inputs["timesteps"], inputs["text"])
    assert deviation(actual, expected) <= TOLERANCE

    file = write_yaml(tmp_path / "step.yaml", {
        "stage": "step",
        "seed": 0,
        "init_from": {"generator": str(folder)},
        "model": model_section(CONFIG),
        "objective": {"name": "flow_matching", "flow_matching": {"timestep_shift": 5.0}},
    })
    noise, times = inputs["latents"], inputs["timesteps"]
    source = write_tensors(
        tmp_path / "step.safetensors",
        {"clean_latents": clean, "noise": noise, "timesteps": times, "text": inputs["text"]})
    vmla("step", "--config", file, "--inputs", source, "--output", tmp_path / "grads.safetensors", timeout=1200)
    written = load_file(tmp_path / "grads.safetensors")

    sigma = (times / 1000)[:, :, None, None, None]
    text = torch.zeros(1, CONFIG.text_len, CONFIG.text_dim)
    text[:, : inputs["text"].shape[1]] = inputs["text"]
    flow = model(
        hidden_states=((1 - sigma) * clean + sigma * noise).transpose(1, 2),
        timestep=times[:, 0], encoder_hidden_states=text, return_dict=False)[0].transpose(1, 2)
    loss = (flow - (noise - clean)).square().mean()
    loss.backward()
    assert abs(float(written["loss"]) - float(loss)) <= RELATIVE * float(loss)
    theirs = {name: parameter.grad.norm().item() for name, parameter in model.named_parameters()}
    total = sum(norm**2 for norm in theirs.values()) ** 0.5
    for name in weights:
        expected, actual = theirs[diffusers_name(name)], float(written[f"grad_norm.{name}"])
        assert abs(actual - expected) <= RELATIVE * expected + OF_TOTAL * total, (name, actual, expected)
