"""What `vmla sample` leaves in a folder, how long its videos are, and which noise they come from."""

import json
import socket

import torch
from safetensors.torch import load_file

from program import vmla

QUICK = ["--sampler", "euler", "--steps", 1]


def sample(checkpoint, out, prompts, *flags):
    file = out.parent / "prompts.txt"
    file.write_text("".join(f"{prompt}\n" for prompt in prompts))
    return vmla("sample", "--checkpoint", checkpoint, "--prompts", file, "--out", out, *QUICK, *flags)


def test_a_used_folder_holds_what_its_list_names(latent_run, tmp_path):
    out = tmp_path / "v"
    sample(latent_run, out, ["a", "b", "c"], "--frames", 9, "--save-latents")
    (out / "mine.txt").write_text("not ours")
    (out / "777.mp4").write_text("in no list")
    killed = f".tmp-{socket.gethostname()}+999999999+1+0-1+002.mp4"  # no process has this number
    (out / killed).write_text("of a killed call")
    done = sample(latent_run, out, ["d"], "--frames", 9)
    assert "6 files of an earlier call are removed" in done.stdout and "777.mp4" in done.stderr
    extension = next(p.suffix for p in out.glob("000.*"))
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [f"000{extension}", "777.mp4", "mine.txt", "samples.json"]
    )
    assert [record["prompt"] for record in json.loads((out / "samples.json").read_text())] == ["d"]


def test_every_place_in_the_list_has_noise_of_its_own(latent_run, tmp_path):
    prompt = "a red circle moves left"
    flags = ["--frames", 9, "--seed", 3, "--save-latents"]
    sample(latent_run, tmp_path / "a", [prompt, prompt], *flags)
    sample(latent_run, tmp_path / "b", ["a blue square moves up", prompt], *flags)
    latents = {n: load_file(tmp_path / n[0] / f"{n[1:]}.safetensors")["latents"] for n in ("a000", "a001", "b001")}
    assert not torch.allclose(latents["a000"], latents["a001"], atol=0.1)
    assert torch.equal(latents["a001"], latents["b001"]), "the other prompts have no part in it"


def test_without_frames_a_video_is_as_long_as_a_training_clip(latent_run, dense_run, tmp_path):
    for name, run in (("causal", latent_run), ("dense", dense_run)):
        done = sample(run, tmp_path / name, ["a"])
        (record,) = json.loads((tmp_path / name / "samples.json").read_text())
        assert record["frames"] == 9 and done.stderr == ""


def test_a_model_of_whole_clips_warns_of_longer_ones(dense_run, latent_run, tmp_path):
    assert "trained on clips of 9" in sample(dense_run, tmp_path / "dense", ["a"], "--frames", 27).stderr
    assert sample(latent_run, tmp_path / "causal", ["a"], "--frames", 27).stderr == ""
