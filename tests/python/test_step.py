"""`vmla step`: loss and gradient norms of one step with every draw given, against autograd through the reference."""

import pytest
import torch
from safetensors.torch import load_file

from parity import double, random_inputs
from program import model_section, vmla, write_tensors, write_yaml
from reference import objectives
from reference.model_config import ModelConfig, latent_config
from reference.weights import random_weights, to_double, write_export_folder, write_wan_folder

DENSE = ModelConfig()
LATENT = latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16)
SHIFT = 5.0
# fp32 sums of some 10^4 terms against fp64; a gradient that is small beside the whole carries the whole's rounding.
RELATIVE, OF_TOTAL = 1e-4, 1e-6


def step(folder, config, weights, objective, inputs):
    """Runs the program on a configuration made for this config; returns the tensors it wrote."""
    write = write_export_folder if config.attention == "mla" else write_wan_folder
    weights_folder = write(folder / "weights", config, weights)
    file = write_yaml(
        folder / "step.yaml",
        {
            "stage": "step",
            "seed": 0,
            "init_from": {"generator": str(weights_folder)},
            "model": model_section(config),
            "objective": {"name": objective, objective: {"timestep_shift": SHIFT}},
        },
    )
    source = write_tensors(folder / "in.safetensors", inputs)
    target = folder / "out.safetensors"
    vmla("step", "--config", file, "--inputs", source, "--output", target)
    return load_file(target)


def draws(config, *, frames, seed, batch=2, uniform=False, text_rows=7):
    inputs = random_inputs(
        config, batch=batch, frames=frames, height=4, width=6, text_rows=text_rows, seed=seed, uniform=uniform
    )
    inputs["noise"] = inputs.pop("latents")
    return inputs


def check(written, loss, grads):
    assert abs(float(written["loss"]) - loss) <= RELATIVE * abs(loss)
    total = objectives.total_norm(grads)
    assert abs(float(written["grad_norm"]) - total) <= RELATIVE * total
    names = {name.removeprefix("grad_norm.") for name in written if name.startswith("grad_norm.")}
    assert names == set(grads), f"missing {set(grads) - names}, unknown {names - set(grads)}"
    wrong = {}
    for name, gradient in grads.items():
        expected = float(gradient.norm())
        actual = float(written[f"grad_norm.{name}"])
        if abs(actual - expected) > RELATIVE * expected + OF_TOTAL * total:
            wrong[name] = (actual, expected)
    assert not wrong


# (num_frame_per_block, local_attn_size, sink_size, independent_first_frame, frames)
WINDOWS = [(2, -1, 0, False, 6), (2, 4, 1, False, 8), (1, 3, 1, False, 5), (3, 4, 0, True, 7), (4, -1, 0, False, 4)]


@pytest.mark.parametrize("config", [DENSE, LATENT, LATENT.replace(bias=False)], ids=["dense", "mla", "mla bare"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_teacher_forcing(config, window, tmp_path):
    block, attended, sink, first_alone, frames = window
    config = config.replace(
        num_frame_per_block=block, local_attn_size=attended, sink_size=sink, independent_first_frame=first_alone
    )
    weights = random_weights(config, seed=51)
    inputs = draws(config, frames=frames, seed=52)
    written = step(tmp_path, config, weights, "teacher_forcing", inputs)
    loss, grads = objectives.gradients(
        lambda w: objectives.teacher_forcing_loss(w, config, double(inputs), SHIFT), to_double(weights)
    )
    check(written, loss, grads)


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
@pytest.mark.parametrize("times", ["one a sample [B]", "equal columns of [B, F]"])
def test_flow_matching(config, times, tmp_path):
    weights = random_weights(config, seed=53)
    inputs = draws(config, frames=3, seed=54, batch=3, uniform=True)
    if times.endswith("[B]"):
        inputs["timesteps"] = inputs["timesteps"][:, 0].contiguous()
    del inputs["clean_latents"]
    inputs["clean_latents"] = draws(config, frames=3, seed=55, batch=3)["clean_latents"]
    written = step(tmp_path, config, weights, "flow_matching", inputs)
    loss, grads = objectives.gradients(
        lambda w: objectives.flow_matching_loss(w, config, double(inputs)), to_double(weights)
    )
    check(written, loss, grads)


def test_loss_weight_vanishes_at_pure_noise(tmp_path):
    """The weight is 0 at t = 1000, so a step of nothing but noise has no loss and no gradient."""
    config = LATENT.replace(num_frame_per_block=2)
    inputs = draws(config, frames=4, seed=56)
    inputs["timesteps"] = torch.full_like(inputs["timesteps"], 1000.0)
    written = step(tmp_path, config, random_weights(config, seed=57), "teacher_forcing", inputs)
    # exp(-0.5) - min of the table cancels to fp32 rounding of the normaliser's scale (at most 2)
    assert abs(float(written["loss"])) <= 1e-5
