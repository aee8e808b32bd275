"""`vmla sample` on the stand-in accelerator: with a CUDA graph, and what a chunk makes the host wait for."""

import collections

import pytest
from standin import PROGRAM, run_standin, succeeded

TWO = "a red circle moves left[3s]|a blue square moves up[3s]"
SAMPLER = ["--sampler", "few_step", "--steps", 4, "--device", "cuda", "--save-latents"]


def sample(checkpoint, folder, *flags, trace=None):
    command = [PROGRAM, "sample", "--checkpoint", checkpoint, "--out", folder, *SAMPLER, *flags]
    succeeded(run_standin(command, trace=trace))
    return sorted(file.read_bytes() for file in folder.glob("*.safetensors"))


def tallies(folder, name):
    """{kind: {what: count}} of a trace."""
    found = collections.defaultdict(collections.Counter)
    for file in folder.glob(f"{name}.*"):
        for line in file.read_text().splitlines():
            count, _, _, kind, what, *_ = line.split()
            found[kind][what] += int(count)
    return found


@pytest.mark.parametrize(
    "flags",
    [
        ["--prompt", "a red circle moves left", "--frames", 72],
        ["--prompt", "a red circle moves left", "--frames", 72, "--kv-cache-dtype", "int8"],
        ["--prompt", "a red circle moves left", "--frames", 72, "--guidance", 2],
        ["--prompts-over-time", TWO],
        ["--prompts-over-time", TWO, "--prompt-switch", "recache"],
    ],
    ids=["plain", "int8", "guided", "flush", "recache"],
)
def test_a_replayed_video_is_the_computed_one(latent_run, tmp_path, flags):
    computed = sample(latent_run, tmp_path / "computed", *flags)
    replayed = sample(latent_run, tmp_path / "replayed", *flags, "--cuda-graph", trace=tmp_path / "trace")
    assert computed == replayed and len(computed) == 1
    assert tallies(tmp_path, "trace")["launch"]["graph"] >= 4


def test_later_videos_are_replayed_while_their_windows_grow(latent_run, tmp_path):
    """Three short videos: a chunk's shape comes first in the first one, and is recorded in the second."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle moves left\na blue square moves up\na green circle moves down\n")
    flags = ["--prompts", prompts, "--frames", 9]
    computed = sample(latent_run, tmp_path / "computed", *flags)
    replayed = sample(latent_run, tmp_path / "replayed", *flags, "--cuda-graph", trace=tmp_path / "trace")
    assert computed == replayed and len(computed) == 3
    # Of three chunks two are denoised, and one of those is put into the cache.
    assert tallies(tmp_path, "trace")["launch"]["graph"] == 2 * (2 + 1)


def test_a_chunk_makes_the_host_wait_for_its_latents_alone(latent_run, tmp_path):
    """Noise is on its way before the device needs it."""
    for name, frames in (("short", 45), ("long", 48)):
        flags = ["--prompt", "a red circle moves left", "--frames", frames]
        sample(latent_run, tmp_path / name, *flags, trace=tmp_path / f"trace_{name}")
    short, long = tallies(tmp_path, "trace_short"), tallies(tmp_path, "trace_long")
    waits = {kind: sum((long[kind] - short[kind]).values()) for kind in ("item", "d2h", "h2d", "sync", "waiting_op")}
    assert waits == {"item": 0, "d2h": 1, "h2d": 0, "sync": 0, "waiting_op": 0}
