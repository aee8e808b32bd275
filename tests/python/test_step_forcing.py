"""`vmla step` of diffusion forcing and ODE regression, and of the first stages in fp64, against plain PyTorch."""

import pytest
import torch

from parity import double
from reference import consistency, objectives
from reference.schedule import warped_steps
from step_case import BARE, DENSE, FP32, FP64, LATENT, SHIFT, Draws, case_name, check, exact, role, step, windowed

STAGE_ONE = [
    (LATENT, "frame-wise, evicting, with a sink", False, FP64),
    (BARE, "chunk-wise, evicting, with a sink", True, FP64),
    (DENSE, "evicting without a sink", False, FP64),
    (LATENT, "chunk-wise, evicting, with a sink", False, FP32),
]


@pytest.mark.parametrize("config, window, quantized, precision", STAGE_ONE, ids=case_name)
def test_diffusion_forcing(config, window, quantized, precision, tmp_path):
    config, frames = windowed(config, window)
    student, draws = role(config, 1, precision), Draws(2, frames, precision)
    times = (torch.rand(2, frames // config.num_frame_per_block, generator=draws.generator) * 1000).to(precision.dtype)
    inputs = {
        "clean_latents": draws.video(),
        "noise": draws.video(),
        "timesteps": times.repeat_interleave(config.num_frame_per_block, dim=1),
        "text": draws.words(),
    }
    settings = {"quantized_sigma": quantized}
    written = step(tmp_path, precision, "diffusion_forcing", {"generator": student}, settings, inputs)
    trained = exact(student).trained()
    loss = objectives.diffusion_forcing_loss(trained.weights, config, double(inputs), SHIFT, quantized)
    loss.backward()
    check(written, {"loss": loss.detach()}, trained, precision)


def test_the_first_stages_in_fp64(tmp_path):
    """Teacher forcing and flow matching, which test_step.py covers in fp32."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    draws = Draws(60, frames)
    inputs = {"clean_latents": draws.video(), "noise": draws.video(), "text": draws.words()}
    inputs["timesteps"] = draws.numbers([[900.0, 100.0], [333.0, 640.0]]).repeat_interleave(frames // 2, dim=1)
    student = role(config, 61)
    written = step(tmp_path, FP64, "teacher_forcing", {"generator": student}, {}, inputs)
    trained = exact(student).trained()
    loss = objectives.teacher_forcing_loss(trained.weights, config, inputs, SHIFT)
    loss.backward()
    check(written, {"loss": loss.detach()}, trained, FP64)

    inputs["timesteps"] = draws.numbers([900.0, 100.0])
    student = role(DENSE, 62)
    written = step(tmp_path, FP64, "flow_matching", {"generator": student}, {}, inputs)
    trained = exact(student).trained()
    loss = objectives.flow_matching_loss(trained.weights, DENSE, inputs)
    loss.backward()
    check(written, {"loss": loss.detach()}, trained, FP64)


ODE = [
    (LATENT, "frame-wise, evicting, with a sink", "teacher_forcing", "[B]", FP64),
    (LATENT, "chunk-wise, evicting, with a sink", "teacher_forcing", "[B]", FP64),
    (DENSE, "chunk-wise", "teacher_forcing", "[B]", FP64),
    (LATENT, "chunk-wise, evicting, with a sink", "chunk_causal", "[B, F]", FP64),
    (BARE, "frame-wise", "chunk_causal", "[B]", FP64),
    (LATENT, "chunk-wise", "teacher_forcing", "[B]", FP32),
]


@pytest.mark.parametrize("config, window, context, shape, precision", ODE, ids=case_name)
def test_ode_regression(config, window, context, shape, precision, tmp_path):
    config, frames = windowed(config, window)
    student, draws = role(config, 3, precision), Draws(4, frames, precision)
    steps = warped_steps([1000, 750, 500, 250], SHIFT).to(precision.dtype)
    times = steps[torch.tensor([1, 3])]
    if shape == "[B, F]":
        index = torch.randint(0, 4, (2, frames // config.num_frame_per_block), generator=draws.generator)
        times = steps[index.repeat_interleave(config.num_frame_per_block, dim=1)]
    inputs = {
        "clean_latents": draws.video(),
        "state": draws.video(),
        "ode_target": draws.video(),
        "timesteps": times,
        "text": draws.words(),
    }
    written = step(tmp_path, precision, "ode_regression", {"generator": student}, {"context": context}, inputs)
    check(written, *consistency.ode_regression(exact(student), double(inputs), context), precision)


def test_ode_regression_picks_stored_states(tmp_path):
    """As training reads them: all states, noisy to clean, the endpoint last, and which one each frame gets."""
    config, frames = windowed(LATENT, "chunk-wise")
    student, draws = role(config, 3), Draws(4, frames)
    states = torch.stack([draws.video() for _ in range(5)], dim=1)
    index = torch.tensor([[2] * frames, [0] * frames])
    inputs = {"clean_latents": draws.video(), "ode_states": states, "ode_index": index, "text": draws.words()}
    written = step(tmp_path, FP64, "ode_regression", {"generator": student}, {}, inputs)
    chosen = inputs | {
        "state": torch.stack([states[0, 2], states[1, 0]]),
        "ode_target": states[:, 4],
        "timesteps": warped_steps([1000, 750, 500, 250], SHIFT)[index[:, 0]],
    }
    expected, trained = consistency.ode_regression(exact(student), chosen)
    check(written, {"loss": expected["loss"]}, trained, FP64)
