"""`vmla sample` with given noise against the reference's samplers, rolled out chunk by chunk over a cache."""

import json
from pathlib import Path

import h5py
import pytest
import torch
from safetensors.torch import load_file

from parity import deviation
from program import vmla, write_tensors
from reference import network, samplers
from reference.weights import to_double
from test_checkpoint_format import generator_weights, model_of, read_manifest
from tiny_stage import last_checkpoint

SHIFT = 5.0
# Every step multiplies the network's fp32 error (1e-6 of the rms) by at most a few; guidance doubles it.
TOLERANCE = 5e-4


@pytest.fixture(scope="module")
def prompts(dataset):
    """Two captions and the empty prompt with their embeddings, as the dataset stores them."""
    with h5py.File(dataset) as file:
        offsets, rows = file["text/offsets"][:], file["text/embeddings"][:]
        texts = [c.decode() if isinstance(c, bytes) else c for c in file["captions"][:]]
        empty = torch.from_numpy(file["text/empty"][:])
    first = {}
    for i, text in enumerate(texts):
        first.setdefault(text, torch.from_numpy(rows[offsets[i] : offsets[i + 1]]))
    chosen = list(first.items())[:2]
    return chosen, empty


def rollout(weights, config, solve, noise_BFCHW, text, empty, guidance):
    """Chunk after chunk: sample it against the caches of the prompt and of the empty prompt, then store it clean in both."""
    branches = [(text, network.Cache(config.num_layers)), (empty, network.Cache(config.num_layers))]
    video = []
    for begin in range(0, noise_BFCHW.shape[1], config.num_frame_per_block):
        chunk = list(range(begin, begin + config.num_frame_per_block))

        def run(branch, x, t, store):
            words, cache = branch
            times = torch.full((1, len(chunk)), t, dtype=x.dtype)
            return network.run_chunk(weights, config, cache, chunk, x, times, words, store=store)

        def velocity(x, t):
            positive, negative = (run(branch, x, t, False) for branch in branches)
            return negative + guidance * (positive - negative)

        x = solve(velocity, noise_BFCHW[:, chunk])
        for branch in branches:
            run(branch, x, 0.0, True)
        video.append(x)
    return torch.cat(video, dim=1)


SOLVERS = {"euler": samplers.euler, "unipc": samplers.unipc}


def sampled(checkpoint, folder, prompts_text, noise, frames, *flags):
    file = folder / "prompts.txt"
    file.write_text("\n".join(prompts_text) + "\n", encoding="utf-8")
    source = write_tensors(folder / "noise.safetensors", {"noise": noise})
    out = folder / "videos"
    vmla("sample", "--checkpoint", checkpoint, "--prompts", file, "--frames", frames, "--out", out,
         "--noise", source, "--save-latents", *flags)  # fmt: skip
    latents = [load_file(f)["latents"] for f in sorted(out.glob("*.safetensors"))]
    return out, [t if t.dim() == 5 else t.unsqueeze(0) for t in latents]


@pytest.mark.parametrize("sampler", SOLVERS)
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_causal_rollout(sampler, guidance, latent_run, prompts, tmp_path):
    """15 frames: two chunks beyond the window of 7, so frames are evicted and positions re-indexed."""
    checkpoint = last_checkpoint(latent_run)
    config = model_of(read_manifest(checkpoint))
    weights = to_double(generator_weights(checkpoint, "generator"))
    chosen, empty = prompts
    noise = torch.randn(2, 15, 12, 8, 8, generator=torch.Generator().manual_seed(101))
    out, latents = sampled(
        checkpoint, tmp_path, [text for text, _ in chosen], noise, 15,
        "--sampler", sampler, "--steps", 4, "--guidance", guidance, "--weights", "raw",
    )  # fmt: skip
    videos = sorted(p for p in out.iterdir() if p.suffix in (".mp4", ".y4m"))  # .y4m: built without OpenCV
    assert [p.stem for p in videos] == ["000", "001"] and len({p.suffix for p in videos}) == 1
    for i, (_, embedding) in enumerate(chosen):
        expected = rollout(
            weights, config, lambda v, x: SOLVERS[sampler](v, x, 4, SHIFT), noise[i : i + 1].double(),
            embedding.double()[None], empty.double()[None], guidance,
        )  # fmt: skip
        assert deviation(latents[i], expected) <= TOLERANCE


def test_bidirectional_sampling(dense_run, prompts, tmp_path):
    """The dense model samples the whole clip at once."""
    checkpoint = last_checkpoint(dense_run)
    config = model_of(read_manifest(checkpoint))
    weights = to_double(generator_weights(checkpoint, "generator"))
    chosen, empty = prompts
    text, embedding = chosen[0]
    noise = torch.randn(1, 9, 12, 8, 8, generator=torch.Generator().manual_seed(102))
    _, (latents,) = sampled(
        checkpoint, tmp_path, [text], noise, 9, "--sampler", "euler", "--steps", 5, "--guidance", 2.0, "--weights", "raw"
    )

    def velocity(x, t):
        times = torch.full((1, 9), t, dtype=x.dtype)
        positive, negative = (
            network.bidirectional(weights, config, x, times, words.double()[None]) for words in (embedding, empty)
        )
        return negative + 2.0 * (positive - negative)

    assert deviation(latents, samplers.euler(velocity, noise.double(), 5, SHIFT)) <= TOLERANCE


def test_prompts_do_not_influence_each_other(latent_run, prompts, tmp_path):
    chosen, _ = prompts
    texts = [text for text, _ in chosen]
    flags = ["--sampler", "euler", "--steps", 2, "--save-latents", "--frames", 9, "--seed", 3]
    both, alone = tmp_path / "both", tmp_path / "alone"
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(texts) + "\n")
    vmla("sample", "--checkpoint", latent_run, "--prompts", file, "--out", both, *flags)
    vmla("sample", "--checkpoint", latent_run, "--prompt", texts[0], "--out", alone, *flags)
    a, b = (load_file(folder / "000.safetensors")["latents"] for folder in (both, alone))
    # batched matrix products may sum in another order
    assert deviation(a, b) <= 1e-5


def test_videos_sampled_at_once_are_those_sampled_alone(latent_run, prompts, tmp_path):
    chosen, _ = prompts
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(text for text, _ in (*chosen, chosen[0])) + "\n")
    flags = ["--sampler", "euler", "--steps", 2, "--save-latents", "--frames", 9, "--seed", 3, "--prompts", file]
    made = {}
    for name, more in (("alone", []), ("together", ["--batch", len(chosen)]), ("all", ["--batch", 9])):
        vmla("sample", "--checkpoint", latent_run, "--out", tmp_path / name, *flags, *more)
        made[name] = json.loads((tmp_path / name / "samples.json").read_text())
    count = len(chosen)
    assert [entry["batch_size"] for entry in made["alone"]] == [1] * (count + 1)
    assert [entry["batch_size"] for entry in made["together"]] == [count] * count + [1], "the last one is left over"
    assert [entry["batch_size"] for entry in made["all"]] == [count + 1] * (count + 1)
    for name in ("together", "all"):
        for one, other in zip(made["alone"], made[name], strict=True):
            assert all(one[key] == other[key] for key in ("file", "prompt", "seed", "frames", "cache_bytes"))
            latents = Path(one["file"]).with_suffix(".safetensors")
            a, b = (load_file(tmp_path / folder / latents)["latents"] for folder in ("alone", name))
            assert deviation(a, b) <= 1e-5  # batched matrix products may sum in another order


def test_first_frames_of_a_long_sample_are_the_short_sample(latent_run, tmp_path):
    flags = ["--sampler", "euler", "--steps", 2, "--save-latents", "--seed", 4, "--prompt", "a red circle moves left"]
    latents = []
    for frames in (9, 18):
        out = tmp_path / str(frames)
        vmla("sample", "--checkpoint", latent_run, "--frames", frames, "--out", out, *flags)
        t = load_file(out / "000.safetensors")["latents"]
        latents.append(t.flatten(0, 1) if t.dim() == 5 else t)
    assert latents[0].shape[0] == 9 and latents[1].shape[0] == 18
    assert torch.equal(latents[0], latents[1][:9])


def test_samples_json(latent_run, tmp_path):
    """Rounded up to whole chunks inside, trimmed outside."""
    vmla("sample", "--checkpoint", latent_run, "--prompt", "", "--frames", 10, "--out", tmp_path / "v",
         "--sampler", "euler", "--steps", 1)  # fmt: skip
    (entry,) = [e for e in [json.loads((tmp_path / "v" / "samples.json").read_text())]]
    records = entry if isinstance(entry, list) else entry["samples"]
    (record,) = records
    assert record["prompt"] == "" and record["frames"] == 10 and record["fps"] == 8
    assert any("seed" in key for key in record)
    said = json.dumps(entry)
    for part in ("chunk", "first", "cache"):
        assert part in said
