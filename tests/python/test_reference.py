"""The reference implementation itself: against diffusers' network and schedulers, and against its own other forms.

Nothing here touches the program: a failure means that the oracle of the other files is wrong.
"""

import pytest
import torch
import torch.nn.functional as F

from parity import deviation, double, random_inputs
from reference import network, objectives, rank, samplers, schedule, windows
from reference.model_config import ModelConfig, highest_frequency_pairs, latent_config, pairs_per_axis
from reference.weights import diffusers_forward, diffusers_model, random_weights, to_double

# diffusers computes in fp32, its time sinusoid included (angles up to 1000: 6e-5 absolute); the reference in fp64.
FP32 = 1e-4
# Both sides of a comparison within the reference are fp64; the sums have at most a few thousand terms.
FP64 = 1e-10



def sizes(batch, frames, height, width, text_rows):
    return {"batch": batch, "frames": frames, "height": height, "width": width, "text_rows": text_rows}


DENSE = ModelConfig()
LATENT = latent_config(DENSE, kv_rank=24, q_rank=40, nope=8, rope=8, value=16)
DIFFUSERS_CASES = {
    "rows and columns differ": (DENSE, sizes(2, 3, 6, 10, 12)),
    "one frame, one row": (DENSE, sizes(3, 1, 2, 6, 5)),
    "heads of 128": (DENSE.replace(dim=256, num_heads=2, num_layers=1, in_dim=16, out_dim=16), sizes(2, 3, 6, 4, 7)),
    "heads of 26": (DENSE.replace(dim=52, num_heads=2, ffn_dim=70), sizes(1, 2, 4, 6, 1)),
}


@pytest.mark.parametrize("case", DIFFUSERS_CASES)
@pytest.mark.parametrize("uniform", [True, False], ids=["one time a sample", "one time a frame"])
def test_bidirectional_equals_diffusers(case, uniform):
    config, shape = DIFFUSERS_CASES[case]
    weights = random_weights(config, seed=1)
    inputs = random_inputs(config, **shape, uniform=uniform)
    theirs = diffusers_forward(
        diffusers_model(config, weights), config, inputs["latents"], inputs["timesteps"], inputs["text"]
    )
    ours = network.forward("bidirectional", to_double(weights), config, double(inputs))
    assert deviation(theirs, ours) <= FP32


def test_rotary_pairs_of_wan():
    assert pairs_per_axis(128) == (22, 21, 21)
    assert highest_frequency_pairs(128, 32) == (*range(6), *range(22, 27), *range(43, 48))


WINDOWS = [(-1, 0), (3, 0), (3, 1), (4, 2), (6, 1)]


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("first_alone", [False, True])
def test_teacher_forcing_equals_cached(config, window, first_alone):
    config = config.replace(
        num_frame_per_block=2, local_attn_size=window[0], sink_size=window[1], independent_first_frame=first_alone
    )
    weights = to_double(random_weights(config, seed=2))
    inputs = double(random_inputs(config, **sizes(2, 7 if first_alone else 6, 4, 6, 5)))
    masked = network.forward("teacher_forcing", weights, config, inputs)
    assert deviation(network.forward("cached", weights, config, inputs), masked) <= FP64


def masked_forward(w, config, latents, timesteps, text, mask_GG, positions):
    """The same network with one dense boolean mask and absolute positions: right where nothing is evicted."""
    slots, grid = latents.shape[1], network.grid_of(latents)
    tokens = grid[0] * grid[1]
    mask = mask_GG.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
    pairs = network.layer_pairs(config)

    def heads_first(plain, rotary):
        turned = network.rotate(rotary, positions, grid, pairs, config.head_dim)
        return torch.cat([plain, turned], -1).flatten(1, 2).transpose(1, 2)

    def attention(q, k):
        value = k.value.flatten(1, 2).transpose(1, 2)
        query, key = heads_first(q.plain, q.rotary), heads_first(k.plain, k.rotary)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return out.transpose(1, 2).flatten(2).unflatten(1, (slots, tokens))

    x = network.embed_patches(w, latents)
    e, e0 = network.embed_time(w, config, timesteps)
    for layer in range(config.num_layers):
        x = network.block(w, config, layer, x, e0, network.embed_text(w, config, text), attention)
    return network.read_out(w, config, x, e, grid)


@pytest.mark.parametrize("config", [DENSE, LATENT], ids=["dense", "mla"])
def test_plans_equal_dense_masks_without_eviction(config):
    config = config.replace(num_frame_per_block=2)
    weights = to_double(random_weights(config, seed=3))
    inputs = double(random_inputs(config, **sizes(1, 6, 4, 6, 12)))
    latents, times, text = inputs["latents"], inputs["timesteps"], inputs["text"]

    chunk = torch.arange(6) // 2
    causal = chunk[:, None] >= chunk[None, :]
    both = torch.zeros(12, 12, dtype=torch.bool)  # [clean ; noisy]
    both[:6, :6] = causal
    both[6:, :6] = chunk[:, None] > chunk[None, :]
    both[6:, 6:] = chunk[:, None] == chunk[None, :]
    assert torch.equal(windows.boolean_mask(windows.chunk_causal_plan(config, 6), 6), causal)
    assert torch.equal(windows.boolean_mask(windows.teacher_forcing_plan(config, 6), 12), both)

    frames = list(range(6))
    ours = masked_forward(weights, config, latents, times, text, causal, frames)
    assert deviation(ours, network.forward("chunk_causal", weights, config, inputs)) <= FP64

    joined = torch.cat([inputs["clean_latents"], latents], 1)
    joined_times = torch.cat([torch.zeros_like(times), times], 1)
    ours = masked_forward(weights, config, joined, joined_times, text, both, frames * 2)[:, 6:]
    assert deviation(ours, network.forward("teacher_forcing", weights, config, inputs)) <= FP64


def test_one_chunk_is_bidirectional():
    config = LATENT.replace(num_frame_per_block=4)
    weights = to_double(random_weights(config, seed=4))
    inputs = double(random_inputs(config, **sizes(2, 4, 4, 4, 6)))
    expected = network.forward("bidirectional", weights, config, inputs)
    for mode in ("chunk_causal", "teacher_forcing", "cached"):
        assert deviation(network.forward(mode, weights, config, inputs), expected) <= FP64


def test_attended_sets():
    """The attended sets of docs/algorithms.md 3.5: window 6, sink 1 and window 12, sink 3, chunks of 3."""
    six = DENSE.replace(num_frame_per_block=3, local_attn_size=6, sink_size=1)
    assert windows.attended_frames(six, 9) == [0, 4, 5, 6, 7, 8]
    assert windows.attended_frames(six, 12) == [0, 7, 8, 9, 10, 11]
    twelve = DENSE.replace(num_frame_per_block=3, local_attn_size=12, sink_size=3)
    assert windows.attended_frames(twelve, 15) == [0, 1, 2, *range(6, 15)]
    assert windows.attended_frames(twelve, 12) == list(range(12))


def test_schedule_golden_values():
    """The printed values of docs/algorithms.md 7, to their last digit."""
    assert torch.allclose(
        schedule.warped_steps([1000, 750, 500, 250], 5),
        torch.tensor([1000, 937.5, 833.333, 625], dtype=torch.float64),
        atol=5e-4,
    )
    table = 1000 * schedule.sigma_table(5)
    assert abs(table[1] - 999.80) < 5e-3 and abs(table[999] - 4.980) < 5e-4
    times = torch.tensor([1000, 937.5, 2500 / 3, 625, 500, 300, 100, 20, 4.98], dtype=torch.float64)
    weights = torch.tensor([0, 0.398, 1.025, 1.914, 2.076, 1.671, 0.638, 0.126, 0.032], dtype=torch.float64)
    # the printed weights are those of the nearest table entry, ours are continuous in t
    nearest = table[(table[:, None] - times).abs().argmin(0)]
    assert torch.allclose(schedule.loss_weight(nearest, 5), weights, atol=6e-4)
    assert abs(float(schedule.loss_weight(table, 5).mean()) - 1) < 1e-12


def test_unipc_equals_diffusers():
    """Our UniPC on a nonlinear field against diffusers' UniPCMultistepScheduler with flow sigmas."""
    from diffusers import UniPCMultistepScheduler

    matrix = torch.randn(6, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    start = torch.randn(4, 6, generator=torch.Generator().manual_seed(6), dtype=torch.float64)

    def velocity(x, t):
        return torch.tanh(x @ matrix) * (0.5 + t / 1000) + 0.1 * x

    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, solver_order=2, solver_type="bh2",
        final_sigmas_type="zero", lower_order_final=True,
    )  # fmt: skip
    scheduler.set_timesteps(9)
    x = start.clone()
    for t in scheduler.timesteps:
        x = scheduler.step(velocity(x, float(int(t))), t, x, return_dict=False)[0]
    # diffusers keeps its sigmas in fp32
    assert deviation(samplers.unipc(velocity, start, 9, 5.0, integer_times=True), x) <= 1e-5


def test_euler_follows_a_straight_path_exactly():
    """A constant velocity is integrated without error: x1 - v * (1 - 0)."""
    x, v = torch.ones(3, dtype=torch.float64), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert torch.allclose(samplers.euler(lambda *_: v, x, 7, 5.0), x - v, atol=1e-14)


def test_adamw_equals_torch():
    config = DENSE.replace(num_layers=1)
    weights = to_double(random_weights(config, seed=7))
    parameters = {n: torch.nn.Parameter(t.clone()) for n, t in weights.items()}
    theirs = torch.optim.AdamW(parameters.values(), lr=1e-2, betas=(0.0, 0.999), weight_decay=0.01)
    ours = objectives.AdamW(weights, lr=1e-2)
    for step in range(3):
        g = torch.Generator().manual_seed(step)
        grads = {n: torch.randn(t.shape, generator=g, dtype=t.dtype) for n, t in weights.items()}
        for n, p in parameters.items():
            p.grad = grads[n].clone()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 10.0)
        theirs.step()
        ours.step(grads)
    for n, p in parameters.items():
        assert deviation(weights[n], p.detach()) <= 1e-12


def test_rank_measures_of_known_spectra():
    import numpy as np

    assert rank.r99(np.array([1.0, 0, 0])) == 1
    flat = np.ones(100)
    assert rank.r99(flat) == 99
    assert abs(rank.entropy_rank(flat) - 100) < 1e-9 and rank.stable_rank(flat) == 100
