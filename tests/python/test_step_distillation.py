"""`vmla step` of the distillation stages against plain PyTorch: losses, latents on the way, every gradient's norm.

fp64 runs show that both sides compute the same thing, to rounding; fp32 runs that the program's usual precision keeps
it within the project's contract.
"""

from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file

from parity import deviation, double
from program import model_section, one_line_error, run, vmla, write_tensors, write_yaml
from reference import consistency, dmd, objectives
from reference.model_config import ModelConfig, latent_config
from reference.roles import Role
from reference.schedule import warped_steps
from reference.weights import random_weights, to_double, write_export_folder, write_wan_folder

SHIFT = 5.0
DENSE = ModelConfig(dim=48, ffn_dim=64, num_heads=2, freq_dim=16, text_len=8, text_dim=12)
LATENT = latent_config(DENSE, kv_rank=16, q_rank=28, nope=12, rope=8, value=20)
BARE = LATENT.replace(bias=False)
# A score may be wider and deeper than the student; only latents and text are common.
WIDE = DENSE.replace(dim=64, ffn_dim=80, num_heads=4, freq_dim=32, num_layers=3)

# (num_frame_per_block, local_attn_size, sink_size, frames)
WINDOWS = {
    "frame-wise": (1, -1, 0, 4),
    "frame-wise, evicting, with a sink": (1, 3, 1, 6),
    "chunk-wise": (2, -1, 0, 6),
    "chunk-wise, evicting, with a sink": (2, 4, 1, 10),
    "evicting without a sink": (2, 3, 0, 8),
}


@dataclass(frozen=True)
class Precision:
    name: str
    dtype: torch.dtype
    relative: float  # of a tensor's rms, of a loss, of a gradient's norm
    of_total: float  # a gradient that is small beside the whole carries the whole's rounding


FP64 = Precision("fp64", torch.float64, 1e-9, 1e-12)
FP32 = Precision("fp32", torch.float32, 1e-4, 1e-6)


def windowed(config, name):
    block, attended, sink, frames = WINDOWS[name]
    return config.replace(num_frame_per_block=block, local_attn_size=attended, sink_size=sink), frames


def role(config, seed, precision=FP64):
    """Weights that fp32 cannot hold when the precision is fp64."""
    weights = random_weights(config, seed, precision.dtype)
    return Role({n: w * (1 + 1e-9) for n, w in weights.items()} if precision is FP64 else weights, config)


def exact(r: Role) -> Role:
    return Role(to_double(r.weights), r.config)


class Draws:
    """Tensors from one stream, in the precision of the file."""

    def __init__(self, seed, frames, precision=FP64, batch=2, channels=DENSE.in_dim):
        self.generator = torch.Generator().manual_seed(seed)
        self.frames, self.dtype, self.batch, self.channels = frames, precision.dtype, batch, channels

    def normal(self, *shape):
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def video(self):
        return self.normal(self.batch, self.frames, self.channels, 4, 6)

    def words(self):
        return self.normal(self.batch, 5, DENSE.text_dim)

    def numbers(self, values):
        return torch.tensor(values, dtype=torch.float64).to(self.dtype)


def step_arguments(folder, precision, objective, roles, settings, inputs, *flags):
    """`vmla step` with these roles' weights and inputs, all written under `folder`."""
    init_from = {}
    for name, r in roles.items():
        write = write_export_folder if r.config.attention == "mla" else write_wan_folder
        init_from[name] = {"path": str(write(folder / name, r.config, r.weights))}
    file = write_yaml(
        folder / "step.yaml",
        {
            "stage": "step",
            "seed": 0,
            "init_from": init_from,
            "model": model_section(roles["generator"].config),
            "objective": {"name": objective, objective: {"timestep_shift": SHIFT, **settings}},
            "train": {"precision": precision.name},
            # decodes and encodes what stands before a scored window
            "data": {"make": {"codec": "space_to_depth:2"}},
        },
    )
    source = write_tensors(folder / "in.safetensors", inputs)
    return ["step", "--config", file, "--inputs", source, "--output", folder / "out.safetensors", *flags]


def step(folder, *case):
    vmla(*step_arguments(folder, *case))
    return load_file(folder / "out.safetensors")


def check(written, expected, trained, precision):
    """Every expected tensor, and the gradient's norm of every trained tensor."""
    assert all(t.dtype == precision.dtype for t in written.values())
    for name, tensor in expected.items():
        if tensor.dim() == 0:
            assert abs(float(written[name]) - float(tensor)) <= precision.relative * abs(float(tensor)), name
        else:
            assert written[name].shape == tensor.shape, name
            assert deviation(written[name], tensor) <= precision.relative, name
    check_gradients(written, trained.gradients(), precision)


def check_gradients(written, grads, precision):
    total = objectives.total_norm(grads)
    assert total > 0
    assert abs(float(written["grad_norm"]) - total) <= precision.relative * total
    names = {name.removeprefix("grad_norm.") for name in written if name.startswith("grad_norm.")}
    assert names == set(grads), f"missing {set(grads) - names}, unknown {names - set(grads)}"
    wrong = {}
    for name, gradient in grads.items():
        expected, actual = float(gradient.norm()), float(written[f"grad_norm.{name}"])
        if abs(actual - expected) > precision.relative * expected + precision.of_total * total:
            wrong[name] = (actual, expected)
    assert not wrong


# --- diffusion forcing and ODE regression -----------------------------------------------------------------------------

STAGE_ONE = [
    (LATENT, "frame-wise, evicting, with a sink", False, FP64),
    (BARE, "chunk-wise, evicting, with a sink", True, FP64),
    (DENSE, "evicting without a sink", False, FP64),
    (LATENT, "chunk-wise, evicting, with a sink", False, FP32),
]


def case_name(value):
    return {id(DENSE): "dense", id(LATENT): "mla", id(BARE): "mla bare"}.get(id(value), getattr(value, "name", None))


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


# --- consistency distillation -----------------------------------------------------------------------------------------

CD = [
    (LATENT, "frame-wise", {}, [0, 46], FP64),
    (LATENT, "frame-wise, evicting, with a sink", {"guidance_scale": 1.0}, [12, 13], FP64),
    (LATENT, "chunk-wise, evicting, with a sink", {}, [23, 40], FP64),
    (BARE, "evicting without a sink", {"discrete_cd_n": 24, "guidance_scale": 6.0}, [0, 22], FP64),
    (LATENT, "chunk-wise", {"include_endpoint": True}, [47, 7], FP64),
    (LATENT, "frame-wise", {"include_endpoint": True}, [47, 47], FP64),
    (DENSE, "chunk-wise", {}, [3, 31], FP64),
    (LATENT, "chunk-wise, evicting, with a sink", {}, [0, 45], FP32),
]


def cd_inputs(draws, index):
    return {
        "clean_latents": draws.video(),
        "noise": draws.video(),
        "index": torch.tensor(index),
        "text": draws.words(),
        "negative_text": draws.words(),
    }


@pytest.mark.parametrize("config, window, settings, index, precision", CD, ids=case_name)
def test_consistency_distillation(config, window, settings, index, precision, tmp_path):
    config, frames = windowed(config, window)
    names = ("generator", "teacher", "target_ema")
    roles = {name: role(config, 5 + i, precision) for i, name in enumerate(names)}
    inputs = cd_inputs(Draws(8, frames, precision), index)
    written = step(tmp_path, precision, "consistency_distillation", roles, settings, inputs)
    expected, trained = consistency.consistency_distillation(
        *(exact(roles[name]) for name in names),
        double(inputs),
        shift=SHIFT,
        points=settings.get("discrete_cd_n", 48),
        guidance=settings.get("guidance_scale", 3.0),
    )
    check(written, expected, trained, precision)


def test_the_target_starts_as_the_generator(tmp_path):
    """Without weights of its own, target_ema is a copy."""
    config, frames = windowed(LATENT, "chunk-wise")
    student, teacher = role(config, 5), role(config, 6)
    inputs = cd_inputs(Draws(9, frames), [5, 44])
    written = step(
        tmp_path, FP64, "consistency_distillation", {"generator": student, "teacher": teacher}, {}, inputs
    )
    expected, trained = consistency.consistency_distillation(
        exact(student), exact(teacher), exact(student), double(inputs), shift=SHIFT
    )
    check(written, expected, trained, FP64)


def test_a_constant_field_is_consistent(tmp_path):
    """Three networks with one constant flow: no loss, whatever the index."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    roles = {name: role(config, 10 + i) for i, name in enumerate(("generator", "teacher", "target_ema"))}
    for r in roles.values():
        r.weights["head.head.weight"].zero_()
        r.weights["head.head.bias"].copy_(roles["generator"].weights["head.head.bias"])
    inputs = cd_inputs(Draws(11, frames, batch=5), [0, 1, 24, 46, 47])
    settings = {"include_endpoint": True}
    written = step(tmp_path, FP64, "consistency_distillation", roles, settings, inputs)
    # f = x_t - sigma v on both sides: the difference is rounding of numbers of order 1
    assert 0 <= float(written["loss"]) <= 1e-28
    assert float(written["grad_norm"]) <= 1e-12


# --- DMD --------------------------------------------------------------------------------------------------------------

STEP_LISTS = {1: [1000], 2: [1000, 500], 4: [1000, 750, 500, 250]}
SCORES = ("generator", "real_score", "fake_score")


def dmd_roles(config, precision=FP64):
    return dict(zip(SCORES, (role(config, 12, precision), role(WIDE, 13, precision), role(DENSE, 14, precision))))


def dmd_inputs(draws, steps, exit_index):
    return {
        "rollout_noise": draws.video(),
        "renoise": torch.stack([draws.video() for _ in range(3)])[: max(steps - 1, 1)],
        "denoising_steps": draws.numbers(warped_steps(STEP_LISTS[steps], SHIFT).tolist()),
        "exit_index": torch.tensor(exit_index),
        "tau": torch.tensor([130, 700]),
        "noise": draws.video(),
        "text": draws.words(),
        "negative_text": draws.words(),
    }


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


# --- bad input --------------------------------------------------------------------------------------------------------

BAD_CD = {
    "index without the endpoint": ("index", torch.tensor([3, 47]), "0..46"),
    "index of another batch": ("index", torch.tensor([3, 4, 5]), "[2]"),
    "noise of other frames": ("noise", torch.zeros(2, 4, 4, 4, 6), "[2, 10, 4, 4, 6]"),
    "no negative text": ("negative_text", None, "negative_text"),
}
BAD_DMD = {
    "exit beyond the list": ("exit_index", torch.tensor(4), "4 steps"),
    "too few draws": ("renoise", torch.zeros(1, 2, 10, 4, 4, 6), "1 draws"),
    "rising steps": ("denoising_steps", torch.tensor([500.0, 600.0, 1000.0]), "decrease"),
    "tau of another batch": ("tau", torch.tensor([1, 2, 3]), "[2]"),
    "a clip longer than the rollout": ("noise", torch.zeros(2, 12, 4, 4, 6), "12 frames"),
    "latents of another codec": ("noise", torch.zeros(2, 10, 3, 4, 6), "4, 4, 6]"),
}


@pytest.mark.parametrize("case", [*BAD_CD, *BAD_DMD])
def test_bad_tensors(case, tmp_path):
    """One line that names the tensor and what it must be, and nothing written."""
    config, frames = windowed(LATENT, "chunk-wise, evicting, with a sink")
    if case in BAD_CD:
        objective, roles = "consistency_distillation", {n: role(config, 1) for n in ("generator", "teacher")}
        inputs = cd_inputs(Draws(2, frames), [3, 4])
    else:
        objective, roles, inputs = "dmd", dmd_roles(config), dmd_inputs(Draws(2, frames), 4, 2)
    name, tensor, mention = (BAD_CD | BAD_DMD)[case]
    inputs = {n: t for n, t in inputs.items() if n != name} | ({} if tensor is None else {name: tensor})
    arguments = step_arguments(tmp_path, FP64, objective, roles, {}, inputs)
    one_line_error(run(*arguments), name, mention)
    assert not (tmp_path / "out.safetensors").exists()


def test_bad_scores(tmp_path):
    """A score may be of any size, but must see the student's latents and texts."""
    config, frames = windowed(LATENT, "chunk-wise")
    for field, value in {"in_dim": 8, "text_dim": 20}.items():
        changes = {field: value} | ({"out_dim": value} if field == "in_dim" else {})
        roles = dmd_roles(config) | {"real_score": role(WIDE.replace(**changes), 1)}
        folder = tmp_path / field
        folder.mkdir()
        done = run(*step_arguments(folder, FP64, "dmd", roles, {}, dmd_inputs(Draws(2, frames), 4, 0)))
        one_line_error(done, "init_from.real_score", field, value)
