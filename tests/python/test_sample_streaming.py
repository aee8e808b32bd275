"""`vmla sample` as a streaming few-step sampler: schedules, windows, prompts over time, and what it refuses."""

import json

import pytest
import torch
from safetensors.torch import load_file

from parity import deviation
from program import one_line_error, run, vmla, write_tensors
from reference.weights import to_double
from test_checkpoint_format import generator_weights, model_of, read_manifest
from test_sample import SHIFT, TOLERANCE, prompts, rollout  # noqa: F401  (a fixture among them)
from tiny_stage import last_checkpoint

PROMPT = "a red circle moves left"
FEW = ("--sampler", "few_step", "--denoising-steps", "1000,500")


def sample(checkpoint, out, *flags):
    """Runs the program; returns the latents and the record of the only video."""
    done = vmla("sample", "--checkpoint", checkpoint, "--out", out, "--save-latents", *flags)
    (record,) = json.loads((out / "samples.json").read_text())
    return load_file(out / "000.safetensors")["latents"], record, done


def warped(steps):
    return [SHIFT * t / 1000 / (1 + (SHIFT - 1) * t / 1000) for t in steps]


def few_step(velocity, x, sigmas, renoise):
    """Predict the clean chunk, add the next step's noise, and so on (docs/algorithms.md 8.1)."""
    for k, sigma in enumerate(sigmas):
        clean = x - sigma * velocity(x, 1000 * sigma)
        if k + 1 < len(sigmas):
            x = (1 - sigmas[k + 1]) * clean + sigmas[k + 1] * renoise[k]
    return clean


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_few_step_rollout(guidance, latent_run, prompts, tmp_path):  # noqa: F811
    """A stage-1 model forced to a few steps, more of them in the first chunk; frames are evicted."""
    checkpoint = last_checkpoint(latent_run)
    config = model_of(read_manifest(checkpoint))
    weights = to_double(generator_weights(checkpoint, "generator"))
    (text, embedding), empty = prompts[0][0], prompts[1]
    g = torch.Generator().manual_seed(103)
    noise, renoise = torch.randn(15, 12, 8, 8, generator=g), torch.randn(3, 15, 12, 8, 8, generator=g)
    given = write_tensors(tmp_path / "noise.safetensors", {"noise": noise, "renoise": renoise})
    latents, record, _ = sample(
        checkpoint, tmp_path / "v", "--prompt", text, "--frames", 15, "--noise", given, "--weights", "raw",
        *FEW, "--first-chunk-denoising-steps", "1000,750,500,250", *(("--guidance", guidance) if guidance != 1 else ()),
    )  # fmt: skip
    assert len(record["seconds_per_chunk"]) == 5
    block = config.num_frame_per_block
    chunk = iter(range(0, 15, block))

    def solve(velocity, x):
        first = next(chunk)
        sigmas = warped([1000, 750, 500, 250] if first == 0 else [1000, 500])
        again = renoise.double()[:, None, first : first + block]
        return few_step(velocity, x, sigmas, again)

    expected = rollout(
        weights, config, solve, noise.double()[None], embedding.double()[None], empty.double()[None], guidance
    )
    assert deviation(latents[None], expected) <= TOLERANCE


def test_steps_of_the_few_step_sampler_are_evenly_spaced(latent_run, tmp_path):
    flags = ("--prompt", PROMPT, "--frames", 9, "--sampler", "few_step")
    even, _, _ = sample(latent_run, tmp_path / "a", *flags, "--steps", 2)
    listed, _, _ = sample(latent_run, tmp_path / "b", *flags, "--denoising-steps", "1000,500")
    assert torch.equal(even, listed)


def test_another_window_is_taken_when_asked_for_and_said(latent_run, tmp_path):
    flags = ("--prompt", PROMPT, "--frames", 15, *FEW)
    own, record, done = sample(latent_run, tmp_path / "own", *flags)
    assert not done.stderr
    same, _, done = sample(latent_run, tmp_path / "same", *flags, "--local-attn-size", 7, "--sink-size", 1)
    assert torch.equal(own, same) and not done.stderr
    other, wider, done = sample(latent_run, tmp_path / "other", *flags, "--local-attn-size", 12)
    (warning,) = done.stderr.strip().splitlines()
    assert "local_attn_size 12, sink_size 1" in warning and "local_attn_size 7, sink_size 1" in warning
    # The window of 7 fills with the third chunk, so the first two chunks are the same.
    assert torch.equal(own[:6], other[:6]) and not torch.equal(own, other)
    assert wider["cache_bytes"] == record["cache_bytes"] * (12 - 3) // (7 - 3)


def test_latents_in_eight_bits(latent_run, tmp_path):
    """The cache's numbers are in tests/model/network/kv_cache_test.cpp; here what a video is like with them."""
    flags = ("--prompt", PROMPT, "--frames", 15, *FEW)
    own, record, _ = sample(latent_run, tmp_path / "own", *flags)
    eight, smaller, _ = sample(latent_run, tmp_path / "eight", *flags, "--kv-cache-dtype", "int8")
    # The first chunk reads no cache. Half a step of the largest of 24 numbers, 1 / 254 of it, is what a latent is off.
    assert torch.equal(own[:3], eight[:3]) and not torch.equal(own, eight)
    assert deviation(eight, own) < 0.05
    model = model_of(read_manifest(last_checkpoint(latent_run)))
    numbers, layers = 4 * 16, model.num_layers
    assert record["cache_bytes"] == numbers * layers * 4 * (model.kv_lora_rank + model.qk_rope_head_dim)
    assert smaller["cache_bytes"] == numbers * layers * (model.kv_lora_rank + 2 + 4 * model.qk_rope_head_dim)
    assert json.loads((tmp_path / "eight" / "samples.json").read_text())[0] == smaller


def test_only_latents_are_kept_in_eight_bits(dense_run, tmp_path):
    flags = (*ONE, "--frames", 9, "--kv-cache-dtype", "int8")
    one_line_error(run("sample", "--checkpoint", dense_run, "--out", tmp_path / "v", *flags), "int8", "keeps no latents")


def test_records(latent_run, tmp_path):
    _, record, done = sample(latent_run, tmp_path / "v", "--prompt", PROMPT, "--frames", 20, *FEW)
    assert record["frames"] == 20 and len(record["seconds_per_chunk"]) == 7
    assert 0 < record["seconds_per_chunk"][0] <= record["time_to_first_chunk"]
    assert record["cache_seconds"] > 0
    network = sum(record["seconds_per_chunk"]) + record["cache_seconds"]
    assert 0 < record["frames_per_second"] <= 20 / network
    manifest = read_manifest(last_checkpoint(latent_run))
    model = model_of(manifest)
    values = model.kv_lora_rank + model.qk_rope_head_dim
    # 7 - 3 frames of 16 tokens, fp32
    assert record["cache_bytes"] == 4 * 16 * values * model.num_layers * 4
    for said in ("frames/s", "first chunk after", f"cache {record['cache_bytes']} bytes"):
        assert said in done.stdout


TWO = "a red circle moves left[2s] | a blue square moves up[2s]"


def test_prompts_over_time(latent_run, tmp_path):
    one, _, _ = sample(latent_run, tmp_path / "one", "--prompt", PROMPT, "--frames", 32, *FEW)
    videos = {}
    for kind in ("flush", "recache", "keep"):
        flags = ("--prompts-over-time", TWO, "--prompt-switch", kind, *FEW)
        videos[kind], record, _ = sample(latent_run, tmp_path / kind, *flags)
        assert record["frames"] == 32 and record["prompt"] == PROMPT
        # 2 s are 16 frames; the first chunk at or after that begins with frame 18
        assert record["later_prompts"] == [{"prompt": "a blue square moves up", "first_frame": 18}]
        assert torch.equal(videos[kind][:18], one[:18])
        assert not torch.equal(videos[kind][18:21], one[18:21])
    assert not torch.equal(videos["flush"], videos["keep"])
    assert not torch.equal(videos["recache"], videos["keep"])
    default, _, _ = sample(latent_run, tmp_path / "default", "--prompts-over-time", TWO, *FEW)
    assert torch.equal(default, videos["flush"])


def test_the_same_prompt_twice_is_one_prompt(latent_run, tmp_path):
    one, _, _ = sample(latent_run, tmp_path / "one", "--prompt", PROMPT, "--frames", 24, *FEW)
    twice = ("--prompts-over-time", f"{PROMPT}[1s]|{PROMPT}", "--frames", 24, "--prompt-switch", "keep", *FEW)
    assert torch.equal(sample(latent_run, tmp_path / "twice", *twice)[0], one)


ONE = ("--prompt", PROMPT)
REFUSED = {
    "too long": ((*ONE, "--frames", 1200, "--local-attn-size", -1, "--sink-size", 0), ["1200", "--local-attn-size"]),
    "window below a chunk": ((*ONE, "--frames", 9, "--local-attn-size", 3), ["local_attn_size", "--local-attn-size"]),
    "sink as large as the window": ((*ONE, "--frames", 9, "--sink-size", 7), ["sink_size"]),
    "steps of a many-step model": ((*ONE, "--frames", 9, "--denoising-steps", "1000"), ["--sampler few_step"]),
    "a prompt shorter than a chunk": (
        ("--prompts-over-time", "a[0.1s] | b[0.1s] | c[1s]"),
        ["prompt 2", "shorter than a chunk"],
    ),
    "several at once of one": (("--prompts-over-time", "a[1s] | b[1s]", "--batch", 2), ["--batch 2"]),
    "a prompt after the end": (("--prompts-over-time", "a[9s] | b", "--frames", 9), ["prompt 2", "--frames"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(case, latent_run, tmp_path):
    flags, mentions = REFUSED[case]
    done = run("sample", "--checkpoint", latent_run, "--out", tmp_path / "v", *flags)
    one_line_error(done, *mentions)
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("flags", [(*ONE, "--frames", 9, "--local-attn-size", 7), ("--prompts-over-time", TWO)])
def test_a_bidirectional_model_has_no_window_and_one_prompt(flags, dense_run, tmp_path):
    one_line_error(run("sample", "--checkpoint", dense_run, "--out", tmp_path / "v", *flags), "at once")


def test_prompts_that_are_no_utf8(latent_run, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"a red circle\nbl\xff\n")
    done = run("sample", "--checkpoint", latent_run, "--prompts", file, "--frames", 9, "--out", tmp_path / "v")
    one_line_error(done, "prompts.txt", "line 2")
    assert not (tmp_path / "v").exists()
