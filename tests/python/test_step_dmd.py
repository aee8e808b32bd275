"""`vmla step` of DMD, of the generator and of the fake score, against plain PyTorch: losses, latents and gradients."""

import pytest
import torch

from parity import deviation, double
from reference import dmd
from reference.schedule import warped_steps
from step_case import (
    BARE,
    DENSE,
    FP32,
    FP64,
    LATENT,
    SCORES,
    SHIFT,
    STEP_LISTS,
    WIDE,
    WINDOWS,
    Draws,
    Precision,
    case_name,
    check,
    dmd_inputs,
    dmd_roles,
    exact,
    role,
    step,
    windowed,
)


def dmd_step(folder, precision, roles, steps, inputs, settings, player="generator", *flags):
    settings = {"denoising_step_list": STEP_LISTS[steps], **settings}
    return step(folder, precision, "dmd", roles, settings, inputs, "--player", player, *flags)


def reference_settings(settings):
    names = {"guidance_scale": "guidance", "score_timestep_range": "time_range", "quantized_sigma": "quantized"}
    known = {"kv_grad", "context_noise", *names}
    return dmd.DmdSettings(**{names.get(n, n): v for n, v in settings.items() if n in known})


DMD = [
    # every exit of a 4-, a 2- and a 1-step list
    *[(LATENT, "chunk-wise, evicting, with a sink", 4, r, {}, FP64) for r in range(4)],
    *[(LATENT, "frame-wise, evicting, with a sink", 2, r, {}, FP64) for r in range(2)],
    (BARE, "frame-wise", 1, 0, {}, FP64),
    (LATENT, "evicting without a sink", 4, 1, {"score_timestep_range": [300, 600], "guidance_scale": 1.5}, FP64),
    (DENSE, "chunk-wise, evicting, with a sink", 4, 2, {}, FP64),
    *[(LATENT, w, 4, 1, {"kv_grad": "straight_through"}, FP64) for w in WINDOWS if w != "chunk-wise"],
    (DENSE, "chunk-wise, evicting, with a sink", 2, 0, {"kv_grad": "straight_through"}, FP64),
    (LATENT, "chunk-wise, evicting, with a sink", 4, 3, {"last_step_only": True}, FP32),
    (LATENT, "frame-wise, evicting, with a sink", 2, 1, {"kv_grad": "straight_through"}, FP32),
]


@pytest.mark.parametrize("config, window, steps, exit_index, settings, precision", DMD, ids=case_name)
def test_dmd_generator(config, window, steps, exit_index, settings, precision, tmp_path):
    config, frames = windowed(config, window)
    roles, inputs = dmd_roles(config, precision), dmd_inputs(Draws(15, frames, precision), steps, exit_index)
    written = dmd_step(tmp_path, precision, roles, steps, inputs, settings)
    expected, trained = dmd.generator_step(
        *(exact(roles[n]) for n in SCORES), double(inputs), reference_settings(settings)
    )
    check(written, expected, trained, precision)
    gradient = written["dmd_gradient"].double()
    assert deviation(written["grad.rollout"], gradient / gradient.numel()) <= precision.relative
    half_square = float(0.5 * gradient.square().mean())
    assert abs(float(written["loss"]) - half_square) <= precision.relative * half_square


@pytest.mark.parametrize("kv_grad", ["detached", "straight_through"])
def test_dmd_with_recomputed_blocks(kv_grad, tmp_path):
    """The window is an input that stays as it was, so blocks computed again see what they saw."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    roles, inputs = dmd_roles(config), dmd_inputs(Draws(24, frames), 4, 2)
    flags = ("--set", "train.recompute=block")
    written = dmd_step(tmp_path, FP64, roles, 4, inputs, {"kv_grad": kv_grad}, "generator", *flags)
    expected, trained = dmd.generator_step(
        *(exact(roles[n]) for n in SCORES), double(inputs), dmd.DmdSettings(kv_grad=kv_grad)
    )
    check(written, expected, trained, FP64)


@pytest.mark.parametrize("player", ["generator", "fake_score"])
@pytest.mark.parametrize("context_noise, quantized", [(40.0, False), (0.0, True), (40.0, True)])
def test_dmd_as_the_published_code_noises(player, context_noise, quantized, tmp_path):
    """A context pass at a time of its own; sigma looked up in tables, which leaves noise at t = 0 too."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    roles, draws = dmd_roles(config), Draws(16, frames)
    inputs = dmd_inputs(draws, 4, 2) | {"context_noise": draws.video()}
    settings = {"context_noise": context_noise, "quantized_sigma": quantized}
    written = dmd_step(tmp_path, FP64, roles, 4, inputs, settings, player)
    student, real, fake = (exact(roles[n]) for n in SCORES)
    known = reference_settings(settings)
    if player == "generator":
        expected, trained = dmd.generator_step(student, real, fake, double(inputs), known)
    else:
        expected, trained = dmd.fake_score_step(student, fake, double(inputs), known)
    check(written, expected, trained, FP64)


@pytest.mark.parametrize("first_exit", [0, 3])
def test_dmd_first_chunk(first_exit, tmp_path):
    """A frame-wise 2-step model whose first frame has four steps and an exit of its own."""
    config, frames = windowed(LATENT, "frame-wise, evicting, with a sink")
    roles, draws = dmd_roles(config), Draws(17, frames)
    inputs = dmd_inputs(draws, 4, 1)
    inputs["first_chunk_denoising_steps"] = inputs["denoising_steps"]
    inputs["first_chunk_exit_index"] = torch.tensor(first_exit)
    inputs["denoising_steps"] = draws.numbers(warped_steps(STEP_LISTS[2], SHIFT).tolist())
    settings = {"first_chunk_denoising_step_list": STEP_LISTS[4]}
    written = dmd_step(tmp_path, FP64, roles, 2, inputs, settings)
    expected, trained = dmd.generator_step(*(exact(roles[n]) for n in SCORES), double(inputs))
    check(written, expected, trained, FP64)


# The codec computes in fp32, whatever the run does: one frame of a window carries its rounding.
CODEC = Precision("fp64", torch.float64, 1e-6, 1e-8)
LONG = LATENT.replace(in_dim=12, out_dim=12)  # the codec's channels
# block, window, sink, independent_first_frame, frames of a clip, of the rollout; scored windows
LONG_ROLLOUTS = [
    (2, 4, 1, False, 6, 10, {}),
    (1, 3, 1, False, 4, 7, {}),
    (2, 4, 1, False, 6, 10, {"kv_grad": "straight_through"}),
    (1, -1, 0, False, 4, 7, {"kv_grad": "straight_through"}),
    (2, 5, 0, True, 5, 9, {}),
    (2, 5, 0, True, 5, 9, {"kv_grad": "straight_through"}),
    (2, 4, 1, False, 6, 12, {"scored_windows": "all"}),
    (1, 3, 1, False, 4, 9, {"scored_windows": "all"}),
    (2, 4, 1, False, 6, 12, {"scored_windows": "all", "kv_grad": "straight_through"}),
]


def long_inputs(draws, clip, windows):
    """A rollout's draws, and those of the scores for clips of `clip` frames."""
    inputs = dmd_inputs(draws, 4, 1)
    scores = [inputs["noise"][:, :clip], *(draws.video()[:, :clip] for _ in range(windows - 1))]
    times = [inputs["tau"], torch.tensor([40, 500]), torch.tensor([999, 250]), torch.tensor([610, 3])][:windows]
    inputs["noise"] = torch.stack(scores) if windows > 1 else scores[0]
    inputs["tau"] = torch.stack(times) if windows > 1 else times[0]
    return inputs


@pytest.mark.parametrize(
    "player, rollout",
    [("generator", r) for r in LONG_ROLLOUTS] + [("fake_score", r) for r in LONG_ROLLOUTS if "kv_grad" not in r[-1]],
    ids=str,
)
def test_dmd_rollout_longer_than_a_clip(player, rollout, tmp_path):
    """The scores see clips; what comes before the last (or every) window only conditions it."""
    block, attended, sink, first_alone, clip, frames, settings = rollout
    config = LONG.replace(
        num_frame_per_block=block, local_attn_size=attended, sink_size=sink, independent_first_frame=first_alone
    )
    scores = {"in_dim": 12, "out_dim": 12}
    configs = (config, WIDE.replace(**scores), DENSE.replace(**scores))
    roles = {n: role(c, 20 + i) for i, (n, c) in enumerate(zip(SCORES, configs))}
    student, real, fake = (exact(roles[n]) for n in SCORES)
    known = dmd.DmdSettings(
        kv_grad=settings.get("kv_grad", "detached"), every_window=settings.get("scored_windows") == "all"
    )
    draws = Draws(23, frames, channels=12)
    windows = len(dmd.scored_windows(student, long_inputs(draws, clip, 1), known))
    inputs = long_inputs(draws, clip, windows)
    written = dmd_step(tmp_path, FP64, roles, 4, inputs, {**settings, "max_rollout_frames": frames}, player)
    if player == "generator":
        expected, trained = dmd.generator_step(student, real, fake, double(inputs), known)
    else:
        expected, trained = dmd.fake_score_step(student, fake, double(inputs), known)
    check(written, expected, trained, CODEC)


FAKE = [
    (LATENT, "chunk-wise, evicting, with a sink", 4, 3, FP64),
    (LATENT, "frame-wise, evicting, with a sink", 2, 0, FP64),
    (DENSE, "evicting without a sink", 4, 1, FP64),
    (LATENT, "chunk-wise", 4, 2, FP32),
]


@pytest.mark.parametrize("config, window, steps, exit_index, precision", FAKE, ids=case_name)
def test_dmd_fake_score(config, window, steps, exit_index, precision, tmp_path):
    config, frames = windowed(config, window)
    roles, inputs = dmd_roles(config, precision), dmd_inputs(Draws(18, frames, precision), steps, exit_index)
    written = dmd_step(tmp_path, precision, roles, steps, inputs, {}, "fake_score")
    expected, trained = dmd.fake_score_step(exact(roles["generator"]), exact(roles["fake_score"]), double(inputs))
    check(written, expected, trained, precision)


def test_dmd_rests_when_the_scores_agree(tmp_path):
    """One network as both scores and no guidance: the gradient is zero to the last bit."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    roles = dmd_roles(config)
    roles["real_score"] = roles["fake_score"]
    inputs = dmd_inputs(Draws(19, frames), 4, 1)
    written = dmd_step(tmp_path, FP64, roles, 4, inputs, {"guidance_scale": 0.0})
    assert not written["dmd_gradient"].any() and not written["grad.rollout"].any()
    assert float(written["loss"]) == 0 and float(written["grad_norm"]) == 0
