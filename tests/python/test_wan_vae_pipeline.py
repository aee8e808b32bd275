"""Datasets, training and sampling with a codec that has weights: encode, train with samples, sample with each decoder."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from program import one_line_error, run, vmla, write_tensors
from safetensors.torch import load_file
from tiny_decoder import random_tensors
from tiny_stage import train, train_arguments
from wan_vae import ON_LATENTS, random_vae, write_diffusers, write_original


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A VAE, the same one in the other layout, another one, and a dataset that the first encoded."""
    folder = tmp_path_factory.mktemp("pipeline")
    vae = random_vae(base_dim=4)
    made = {
        "vae": write_original(vae, folder / "vae.safetensors"),
        "same": write_diffusers(vae, folder / "same"),
        "other": write_original(random_vae(seed=1, base_dim=4), folder / "other.safetensors"),
        "data": folder / "clips.h5",
        "videos": folder / "videos",
        "folder": folder,
    }
    vmla("data", "synth", "--out", made["videos"], "--count", 8)
    vmla(*encode_arguments(made, made["data"]), "--codec-weights", made["vae"])
    return made


def encode_arguments(place, out, frames=9, height=32, codec="wan-vae"):
    size = ["--frames", frames, "--height", height, "--width", 32, "--codec", codec]
    return ["data", "encode", "--videos", place["videos"], "--out", out, *size]


def samples(folder):
    return json.loads((folder / "samples.json").read_text())


def test_datasets_say_by_which_weights_they_were_encoded(place, tmp_path):
    with h5py.File(place["data"]) as file:
        assert file.attrs["codec"] == "wan-vae" and len(file.attrs["codec_hash"]) == 64
        assert file["latents"].shape[1:] == (3, 16, 4, 4)
        stored = file["latents"][:]
        first = file.attrs["codec_hash"]
    # Another layout of the same weights makes the same dataset.
    vmla(*encode_arguments(place, tmp_path / "same.h5"), "--codec-weights", place["same"])
    with h5py.File(tmp_path / "same.h5") as file:
        assert file.attrs["codec_hash"] == first
        assert np.array_equal(file["latents"][:], stored)
    one_line_error(run(*encode_arguments(place, tmp_path / "no.h5")), "wan-vae", "--codec-weights")
    assert not (tmp_path / "no.h5").exists()
    sheet = ["data", "inspect", place["data"], "--sheet", tmp_path / "sheet.png"]
    one_line_error(run(*sheet), "--codec-weights")
    one_line_error(run(*sheet, "--codec-weights", place["other"]), "another wan-vae")
    vmla(*sheet, "--codec-weights", place["vae"])
    done = vmla("data", "inspect", place["data"])
    assert "no contact sheet" in done.stdout + done.stderr


def test_clips_that_the_codec_cannot_encode_are_one_line(place, tmp_path):
    def refused(*mentions, weights=place["vae"], **changed):
        arguments = encode_arguments(place, tmp_path / "no.h5", **changed)
        one_line_error(run(*arguments, "--codec-weights", weights), *mentions)
        assert not (tmp_path / "no.h5").exists()

    refused("9 frames", "wan-vae", frames=8)
    refused("36x32", "multiple of 8", height=36)
    refused("none", weights=tmp_path / "none")
    refused("taew2_1", "encode with wan-vae", codec="taew2_1")


def test_training_needs_the_weights_only_for_pixels(place, tmp_path):
    train("pretrain", tmp_path / "quiet", place["data"], **ON_LATENTS)
    sampling = ON_LATENTS | {"sample__every": 2, "sample__prompts": ["a red circle moves left"]}
    arguments = train_arguments("pretrain", tmp_path / "no", place["data"], **sampling)
    one_line_error(run(*arguments), "data.codec_weights", "sample.every 2")
    one_line_error(run(*arguments, "--set", f"data.codec_weights={place['other']}"), "data.codec_weights", "other.safetensors", "hash")
    one_line_error(run(*arguments, "--set", f"data.codec_weights={tmp_path / 'none'}"), "data.codec_weights", "no such file")


def test_samples_in_training_and_by_each_decoder(place, tmp_path):
    settings = {"sample__every": 2, "sample__prompts": ["a red circle moves left"], "data__codec_weights": str(place["same"])}
    stage = train("pretrain", tmp_path / "run", place["data"], **ON_LATENTS, **settings)
    assert samples(stage / "samples" / "step_2")[0]["frames"] == 9

    tiny = write_tensors(tmp_path / "tiny.safetensors", random_tensors())
    command = ["sample", "--checkpoint", stage, "--prompt", "a circle", "--steps", 2]
    for decoder, weights in (("", []), ("wan-vae", place["other"]), ("taew2_1", tiny), ("lighttaew2_1", tiny)):
        out = tmp_path / f"out_{decoder}"
        extra = ["--decoder", decoder, "--decoder-weights", weights] if decoder else []
        vmla(*command, "--out", out, "--save-latents", *extra)
        assert samples(out)[0]["frames"] == 9
        assert load_file(out / "000.safetensors")["latents"].shape == (3, 16, 4, 4)
    latents = [load_file(p)["latents"] for p in sorted(tmp_path.glob("out_*/000.safetensors"))]
    assert all(torch.equal(latents[0], other) for other in latents), "the decoder changed what is sampled"

    no = ["--out", tmp_path / "no"]
    one_line_error(run(*command, *no, "--decoder", "taew2_1"), "taew2_1", "--decoder-weights")
    one_line_error(run(*command, *no, "--decoder-weights", place["other"]), "other.safetensors", "--decoder wan-vae")
    assert not (tmp_path / "no").exists()


def test_a_decoder_of_other_latents_is_refused(place, tmp_path):
    vmla("data", "encode", "--videos", place["videos"], "--out", tmp_path / "plain.h5")
    stage = train("pretrain", tmp_path / "plain", tmp_path / "plain.h5", **{"train__steps": 1})
    done = run("sample", "--checkpoint", stage, "--prompt", "x", "--out", tmp_path / "no", "--decoder", "wan-vae", "--decoder-weights", place["vae"])
    one_line_error(done, "--decoder wan-vae", "space_to_depth:2")
