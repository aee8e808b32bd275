"""The reference of the distillation stages itself: against other forms of the same thing and against identities.

Nothing here touches the program: a failure means that the oracle of test_step_forcing.py, test_step_consistency.py and
test_step_dmd.py is wrong.
"""

import pytest
import torch

from parity import deviation
from reference import consistency, dmd, network, objectives, schedule, windows
from reference.model_config import ModelConfig, latent_config
from reference.roles import Role, frames_of
from reference.rollout import Schedule, chunk_flow, roll_out
from reference.weights import random_weights, to_double

# All of it is fp64: sums of at most a few thousand terms, each good to 1e-16.
EXACT = 1e-10

DENSE = ModelConfig(dim=32, ffn_dim=48, num_heads=2, freq_dim=16, text_len=6, text_dim=8)
LATENT = latent_config(DENSE, kv_rank=12, q_rank=20, nope=8, rope=6, value=12)
STEPS = [1000.0, 937.5, 2500 / 3, 625.0]


def role(config, seed):
    return Role(to_double(random_weights(config, seed)), config)


def noise(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def video(frames, seed, batch=2):
    return noise(batch, frames, DENSE.in_dim, 4, 4, seed=seed)


def words(seed, batch=2):
    return noise(batch, 5, DENSE.text_dim, seed=seed)


def dmd_inputs(frames, exit_index, seed=20):
    return {
        "rollout_noise": video(frames, seed),
        "renoise": torch.stack([video(frames, seed + 1 + k) for k in range(3)]),
        "denoising_steps": torch.tensor(STEPS, dtype=torch.float64),
        "exit_index": torch.tensor(exit_index),
        "tau": torch.tensor([130, 700]),
        "noise": video(frames, seed + 8),
        "text": words(seed + 9),
        "negative_text": words(seed + 10),
    }


WINDOWS = {"frame-wise": (1, -1, 0, 4), "chunk-wise": (2, -1, 0, 6), "evicting, with a sink": (2, 4, 1, 10)}


def windowed(config, name):
    block, attended, sink, frames = WINDOWS[name]
    return config.replace(num_frame_per_block=block, local_attn_size=attended, sink_size=sink), frames


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
@pytest.mark.parametrize("window", WINDOWS)
def test_rollout_is_teacher_forced_by_itself(config, window):
    """With its own output as the clean half, one masked forward repeats every exit step of the rollout."""
    config, frames = windowed(config, window)
    student, text = role(config, 1), words(2)
    plan = Schedule(STEPS, exit_index=2)
    x, exits = roll_out(student, video(frames, 3), torch.stack([video(frames, 4 + k) for k in range(3)]), plan, text)
    noisy = torch.cat([step.latents for step in exits], dim=1)
    t = torch.full((2,), STEPS[2], dtype=torch.float64)
    again = schedule.clean_from_flow(noisy, student.causal(noisy, t, text, x), t)
    assert deviation(again, x) <= EXACT


def test_rollout_renoises_with_the_draw_of_its_step():
    """Step k's prediction is noised by draw k to the next time: undone by hand for one chunk."""
    student, text = role(LATENT.replace(num_frame_per_block=2), 1), words(2)
    start, renoise = video(2, 3), torch.stack([video(2, 4), video(2, 5), video(2, 6)])
    x = start
    for k, t in enumerate(STEPS):
        times = torch.full((2, 2), t, dtype=torch.float64)
        clean = x - t / 1000 * network.bidirectional(student.weights, student.config, x, times, text)
        ours, exits = roll_out(student, start, renoise, Schedule(STEPS, k), text)
        assert deviation(exits[0].latents, x) <= EXACT and deviation(ours, clean) <= EXACT
        if k + 1 < len(STEPS):
            x = (1 - STEPS[k + 1] / 1000) * clean + STEPS[k + 1] / 1000 * renoise[k]


def test_first_chunk_has_steps_of_its_own():
    student = role(LATENT.replace(num_frame_per_block=1), 1)
    start, text, renoise = video(3, 3), words(2), torch.stack([video(3, 4), video(3, 5), video(3, 6)])
    plan = Schedule([1000.0], 0, first_steps=STEPS, first_exit_index=3)
    x, exits = roll_out(student, start, renoise, plan, text)
    assert [step.time for step in exits] == [625.0, 1000.0, 1000.0]
    alone, _ = roll_out(student, start[:, :1], renoise[:, :, :1], Schedule(STEPS, 3), text)
    assert deviation(x[:, :1], alone) <= EXACT


def gradient_of(student, pull, inputs, kv_grad):
    """Gradient of sum(pull x) by joint backward through the rollout."""
    trained = student.trained()
    plan = Schedule(STEPS, int(inputs["exit_index"]))
    x, _ = roll_out(trained, inputs["rollout_noise"], inputs["renoise"], plan, inputs["text"], kv_grad=kv_grad)
    (pull * x).sum().backward()
    return trained.gradients()


def largest_deviation(actual, expected):
    assert set(actual) == set(expected)
    total = objectives.total_norm(expected)
    return max(float((actual[n] - expected[n]).norm()) for n in expected) / total


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
@pytest.mark.parametrize("window", WINDOWS)
def test_replay_equals_joint_backward(config, window):
    """A rollout without gradient, then exit step after exit step: the gradient of the detached rollout as a whole."""
    config, frames = windowed(config, window)
    student, inputs, pull = role(config, 5), dmd_inputs(frames, 1), video(frames, 6)
    trained = student.trained()
    with torch.no_grad():
        plan = Schedule(STEPS, 1)
        _, exits = roll_out(trained, inputs["rollout_noise"], inputs["renoise"], plan, inputs["text"])
    for step in exits:
        x, _ = step.run(trained, inputs["text"], None)
        (pull[:, step.chunk] * x).sum().backward()
    assert largest_deviation(trained.gradients(), gradient_of(student, pull, inputs, "detached")) <= EXACT


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
def test_detached_gradient_is_the_derivative_with_the_cache_held(config):
    """Central differences of the exit steps along a random direction, their inputs and caches kept as they were."""
    config, frames = windowed(config, "evicting, with a sink")
    student, inputs, pull = role(config, 7), dmd_inputs(frames, 2), video(frames, 8)
    grads = gradient_of(student, pull, inputs, "detached")
    direction = {n: noise(*w.shape, seed=9) * w.abs().mean() for n, w in student.weights.items()}
    plan = Schedule(STEPS, 2)
    with torch.no_grad():
        _, exits = roll_out(student, inputs["rollout_noise"], inputs["renoise"], plan, inputs["text"])

        def value(step):
            moved = Role({n: w + step * direction[n] for n, w in student.weights.items()}, config)
            return float(sum((pull[:, e.chunk] * e.run(moved, inputs["text"], None)[0]).sum() for e in exits))

        # the error of a step h is of order h² from curvature and 1e-16 / h from rounding
        h = 1e-5
        measured = (value(h) - value(-h)) / (2 * h)
    expected = float(sum((grads[n] * direction[n]).sum() for n in grads))
    assert abs(measured - expected) <= 1e-6 * abs(expected)


class InPlaceCache:
    """The published cache of one layer: buffers that exit steps write with gradient and later passes overwrite
    without, so that readers get the new values and the old history."""

    def __init__(self):
        self.buffers = None

    def write(self, chunk, content, rotary):
        new = (content, rotary)
        if self.buffers is None:
            self.buffers = [torch.zeros(x.shape[0], 32, *x.shape[2:], dtype=x.dtype) for x in new]
        for buffer, x in zip(self.buffers, new):
            if torch.is_grad_enabled():
                buffer[:, chunk] = x
            else:
                buffer.data[:, chunk] = x  # .data: no version check, as under the published recompute

    def read(self, frames):
        return [buffer[:, frames] for buffer in self.buffers]


def published_rollout(student, start, renoise, exit_index, text):
    w, config = student.weights, student.config
    grid = network.grid_of(start)
    caches = [InPlaceCache() for _ in range(config.num_layers)]

    def run(chunk, x, t):
        attended = windows.attended_frames(config, chunk[-1] + 1)
        e, e0 = network.embed_time(w, config, torch.full(x.shape[:2], t, dtype=x.dtype))
        y, context = network.embed_patches(w, x), network.embed_text(w, config, text)
        for layer, cache in enumerate(caches):

            def attention(q, k):
                cache.write(chunk, k.content, k.rotary)
                keys = network.keys_of(w, config, f"blocks.{layer}.self_attn", *cache.read(attended))
                position = {frame: i for i, frame in enumerate(attended)}
                return network.attend(config, grid, q, [position[f] for f in chunk], keys, list(range(len(attended))))

            y = network.block(w, config, layer, y, e0, context, attention)
        return x - t / 1000 * network.read_out(w, config, y, e, grid)

    out = []
    for chunk in windows.chunks(config, start.shape[1]):
        x = start[:, chunk]
        with torch.no_grad():
            for k in range(exit_index):
                sigma = STEPS[k + 1] / 1000
                x = (1 - sigma) * run(chunk, x, STEPS[k]) + sigma * renoise[k][:, chunk]
        out.append(run(chunk, x, STEPS[exit_index]))
        with torch.no_grad():
            run(chunk, out[-1], 0.0)
    return torch.cat(out, dim=1)


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
@pytest.mark.parametrize("window", WINDOWS)
def test_straight_through_is_the_published_gradient(config, window):
    config, frames = windowed(config, window)
    student, inputs, pull = role(config, 11), dmd_inputs(frames, 1), video(frames, 12)
    trained = student.trained()
    x = published_rollout(trained, inputs["rollout_noise"], inputs["renoise"], 1, inputs["text"])
    (pull * x).sum().backward()
    published = trained.gradients()
    assert largest_deviation(gradient_of(student, pull, inputs, "straight_through"), published) <= EXACT
    # and it is another one than the detached
    assert largest_deviation(gradient_of(student, pull, inputs, "detached"), published) > 1e-2


@pytest.mark.parametrize("kv_grad", ["detached", "straight_through"])
def test_what_reaches_earlier_chunks(kv_grad):
    """A loss on the last chunk alone: nothing of it arrives at the first chunk's input when the cache is detached."""
    config, frames = windowed(LATENT, "chunk-wise")
    trained, inputs = role(config, 13).trained(), dmd_inputs(frames, 0)
    start = inputs["rollout_noise"].requires_grad_()
    plan = Schedule(STEPS, 0)
    x, _ = roll_out(trained, start, inputs["renoise"], plan, inputs["text"], kv_grad=kv_grad)
    x[:, 4:].square().sum().backward()
    early, last = float(start.grad[:, :4].norm()), float(start.grad[:, 4:].norm())
    assert last > 0 and (early == 0.0) == (kv_grad == "detached")


@pytest.mark.parametrize("quantized", [False, True])
def test_dmd_gradient(quantized):
    config, frames = windowed(LATENT, "evicting, with a sink")
    wide = DENSE.replace(dim=48, num_heads=3, num_layers=3)
    student, real, fake, inputs = role(config, 14), role(wide, 15), role(DENSE, 16), dmd_inputs(frames, 1)
    if quantized:
        inputs["context_noise"] = video(frames, 17)
    settings = dmd.DmdSettings(quantized=quantized)
    out, _ = dmd.generator_step(student, real, fake, inputs, settings)
    gradient, x = out["dmd_gradient"], out["rollout"]
    assert deviation(out["grad.rollout"], gradient / x.numel()) <= EXACT
    assert abs(float(out["loss"]) - float(0.5 * gradient.square().mean())) <= EXACT * float(out["loss"])
    # a sample's gradient does not know of the others: its normaliser is its own
    one = {n: t[:1] if n in ("rollout_noise", "tau", "noise", "text", "negative_text") else t for n, t in inputs.items()}
    one["renoise"] = inputs["renoise"][:, :1]
    if quantized:
        one["context_noise"] = inputs["context_noise"][:1]
    alone, _ = dmd.generator_step(student, real, fake, one, settings)
    assert deviation(alone["dmd_gradient"], gradient[:1]) <= EXACT
    # equal scores without guidance agree
    same = dmd.DmdSettings(guidance=0.0, quantized=quantized)
    out, trained = dmd.generator_step(student, fake, fake, inputs, same)
    assert not out["dmd_gradient"].any() and not float(out["loss"])
    assert objectives.total_norm(trained.gradients()) == 0.0


def test_fake_score_learns_the_flow_of_the_rollout():
    """It is flow matching on the rollout, and the generator gets nothing."""
    config, frames = windowed(LATENT, "frame-wise")
    student, fake, inputs = role(config, 18).trained(), role(DENSE, 19), dmd_inputs(frames, 3)
    out, trained = dmd.fake_score_step(student, fake, inputs)
    t = dmd.score_time(inputs["tau"].double(), dmd.DmdSettings())
    plain = {"clean_latents": out["rollout"], "noise": inputs["noise"], "timesteps": t, "text": inputs["text"]}
    loss, grads = objectives.gradients(lambda w: objectives.flow_matching_loss(w, DENSE, plain), fake.weights)
    assert abs(float(out["loss"]) - loss) <= EXACT * loss
    assert largest_deviation(trained.gradients(), grads) <= EXACT
    assert all(w.grad is None for w in student.weights.values())


def test_score_times():
    """Algorithms 7.3, to three digits: mean 745, median 833, 9.2 % on 980."""
    t = dmd.score_time(torch.arange(1000, dtype=torch.float64), dmd.DmdSettings())
    assert abs(float(t.mean()) - 745) < 1 and abs(float(t.median()) - 833) < 0.5
    assert float((t == 980).double().mean()) == 0.092 and float(t.min()) == 20


def test_published_tables():
    """The factor that two tables put on the critic's flow, and the noise of a context pass at t = 0."""
    t = dmd.score_time(torch.arange(1000, dtype=torch.float64), dmd.DmdSettings())
    factor = schedule.sigma_at(t, schedule.sigma_table(8)) / schedule.sigma_at(t, schedule.sigma_table(5))
    assert abs(float(factor.min()) - 0.914) < 5e-4 and abs(float(factor.max()) - 1.194) < 5e-4
    assert abs(float(schedule.sigma_at(torch.zeros(1), schedule.sigma_table(5))) - 0.00498) < 5e-6


def test_grid_of_48():
    """Algorithms 4.4."""
    grid = schedule.time_grid(48, 5)
    printed = torch.tensor([1000, 995.76, 991.38, 986.84, 937.5, 833.33, 625, 250, 178.57, 96.154, 0])
    index = [0, 1, 2, 3, 12, 24, 36, 45, 46, 47, 48]
    assert torch.allclose(grid[index], printed.double(), atol=5.1e-3)
    assert torch.allclose(grid[[0, 12, 24, 36]], schedule.warped_steps([1000, 750, 500, 250], 5))


def constant_field(config, seed, value):
    weights = to_double(random_weights(config, seed))
    weights["head.head.weight"].zero_()
    weights["head.head.bias"].copy_(value)
    return Role(weights, config)


def cd_inputs(frames, index):
    return {
        "clean_latents": video(frames, 30, batch=len(index)),
        "noise": video(frames, 31, batch=len(index)),
        "index": torch.tensor(index),
        "text": words(32, batch=len(index)),
        "negative_text": words(33, batch=len(index)),
    }


def test_constant_field_is_consistent():
    """Three networks with one constant flow lie on one line: no loss at any index, the endpoint included."""
    config, frames = windowed(LATENT, "frame-wise")
    value = noise(4 * config.out_dim, seed=34)
    roles = [constant_field(config, seed, value) for seed in (35, 36, 37)]
    out, trained = consistency.consistency_distillation(*roles, cd_inputs(frames, [0, 1, 23, 46, 47]), shift=5.0)
    assert float(out["loss"]) <= 1e-28 and objectives.total_norm(trained.gradients()) <= 1e-12


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
def test_consistency_distillation(config):
    config, frames = windowed(config, "evicting, with a sink")
    student, teacher, target = (role(config, seed) for seed in (38, 39, 40))
    inputs = cd_inputs(frames, [20, 47])
    out, trained = consistency.consistency_distillation(student, teacher, target, inputs, shift=5.0, guidance=2.0)
    assert torch.equal(out["target"][1], out["x_next"][1])  # f(x, 0) = x
    expected = 2 * (out["prediction"] - out["target"]) / out["target"].numel()
    assert deviation(out["grad.prediction"], expected) <= EXACT

    # the same by hand for the first sample: chunk by chunk over a cache of the clean clip
    first = {n: x[:1] for n, x in inputs.items()}
    t, after = schedule.time_grid(48, 5)[[20, 21]].tolist()

    def flow(net, x, when, text):
        past, parts = [], []
        for chunk in windows.chunks(config, frames):
            parts.append(chunk_flow(net, past, chunk, x[:, chunk], when, text)[0])
            past.append(chunk_flow(net, past, chunk, first["clean_latents"][:, chunk], 0.0, text)[1])
        return torch.cat(parts, dim=1)

    xt = (1 - t / 1000) * first["clean_latents"] + t / 1000 * first["noise"]
    v = 2 * flow(teacher, xt, t, first["text"]) - flow(teacher, xt, t, first["negative_text"])
    x_next = xt - (t - after) / 1000 * v
    assert deviation(out["x_next"][:1], x_next) <= EXACT
    assert deviation(out["target"][:1], x_next - after / 1000 * flow(target, x_next, after, first["text"])) <= EXACT
    assert deviation(out["prediction"][:1], xt - t / 1000 * flow(student, xt, t, first["text"])) <= EXACT
    assert objectives.total_norm(trained.gradients()) > 0


@pytest.mark.parametrize("context", ["teacher_forcing", "chunk_causal"])
def test_ode_regression_gradient(context):
    """`grad.latents` against central differences along a random direction."""
    config, frames = windowed(LATENT, "evicting, with a sink")
    student, direction = role(config, 41), video(frames, 42)
    inputs = {
        "clean_latents": video(frames, 43),
        "state": video(frames, 44),
        "ode_target": video(frames, 45),
        "timesteps": torch.tensor([937.5, 625.0], dtype=torch.float64),
        "text": words(46),
    }
    out, _ = consistency.ode_regression(student, inputs, context)
    h = 1e-5
    at = [consistency.ode_regression(student, inputs | {"state": inputs["state"] + s * direction}, context)[0]["loss"]
          for s in (h, -h)]  # fmt: skip
    expected = float((out["grad.latents"] * direction).sum())
    assert abs(float(at[0] - at[1]) / (2 * h) - expected) <= 1e-6 * abs(expected)


def test_diffusion_forcing_sees_noisy_chunks():
    """At t = 0 everywhere its context is the clean one, so both forms of stage 1 agree where t is 0 in the past."""
    config, frames = windowed(LATENT, "chunk-wise")
    student = role(config, 47)
    t = torch.zeros(2, frames, dtype=torch.float64)
    t[:, 4:] = 700.0  # the last chunk alone is noisy
    inputs = {"clean_latents": video(frames, 48), "noise": video(frames, 49), "timesteps": t, "text": words(50)}
    xt = schedule.add_noise(inputs["clean_latents"], inputs["noise"], t)
    causal = network.chunk_causal(student.weights, config, xt, t, inputs["text"])
    forced = network.teacher_forcing(student.weights, config, xt, t, inputs["text"], inputs["clean_latents"])
    assert deviation(causal, forced) <= EXACT
    for quantized in (False, True):
        loss = objectives.diffusion_forcing_loss(student.weights, config, inputs, 5.0, quantized)
        weight = schedule.loss_weight(t[0, 4:5], 5.0)
        noised = schedule.add_noise(
            inputs["clean_latents"], inputs["noise"], t, schedule.sigma_table(5) if quantized else None
        )
        flow = network.chunk_causal(student.weights, config, noised, t, inputs["text"])
        error = (flow - (inputs["noise"] - inputs["clean_latents"])).square().mean(dim=(0, 2, 3, 4))
        low = schedule.loss_weight(t[0, :1], 5.0)
        assert abs(float(loss - (low * error[:4].sum() + weight * error[4:].sum()) / frames)) <= EXACT * float(loss)
    assert torch.equal(frames_of(t[:, 5], inputs["noise"])[:, 3], t[:, 5])
