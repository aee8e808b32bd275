"""The whole way of docs/from_wan.md at small widths: a download of Wan in its own layout (random weights) and a folder of
videos, over a pretrained model, latent attention, consistency distillation and DMD, to videos and every export."""

from __future__ import annotations

import json

import h5py
import pytest
import tiny_umt5
import torch
from distilled_stage import distil
from program import vmla
from safetensors.torch import load_file
from tiny_stage import train
from wan_vae import ON_LATENTS, original_name, random_vae

TEXT_DIM, TEXT_LEN = 48, 16
SMALL = ON_LATENTS | {"model__text_dim": TEXT_DIM, "model__text_len": TEXT_LEN}


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    """A folder as it is downloaded: files of torch.save, in the original names, the text encoder in bf16."""
    folder = tmp_path_factory.mktemp("Wan2.1")
    vae = random_vae(base_dim=4)
    torch.save({original_name(name): t for name, t in vae.state_dict().items()}, folder / "Wan2.1_VAE.pth")
    encoder = tiny_umt5.encoder(dtype=torch.bfloat16)
    torch.save(tiny_umt5.wan_tensors(encoder), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    tiny_umt5.tokenizer(folder / "google" / "umt5-xxl")
    # Of the transformer, which lies beside them: neither codec nor text encoder may take it for theirs.
    (folder / "config.json").write_text(json.dumps({"model_type": "t2v", "dim": 64, "num_heads": 2}))
    return folder


def files(wan):
    weights = ["--text-weights", wan, "--tokenizer", wan / "google" / "umt5-xxl"]
    return [*weights, "--codec-weights", wan]


@pytest.fixture(scope="module")
def data(wan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    vmla("data", "synth", "--out", folder / "videos", "--count", 6, "--frames", 33)
    size = ["--frames", 33, "--height", 32, "--width", 32]
    vmla("data", "encode", "--videos", folder / "videos", "--out", folder / "clips.h5", "--codec", "wan-vae", "--text",
         f"umt5:{TEXT_LEN}", *size, *files(wan))  # fmt: skip
    with h5py.File(folder / "clips.h5") as file:
        assert file["latents"].shape == (6, 9, 16, 4, 4) and file["text/embeddings"].shape[1] == TEXT_DIM
    return folder / "clips.h5"


@pytest.fixture(scope="module")
def student(wan, data, tmp_path_factory):
    """(stage 0, the distilled model)."""
    runs = tmp_path_factory.mktemp("runs")
    text = {"data__text_weights": str(wan), "data__tokenizer": str(wan / "google" / "umt5-xxl")}
    settings = SMALL | text | {"data__codec_weights": str(wan)}
    dense = train("pretrain", runs / "dense", data, **settings)
    latent = train("teacher_forcing", runs / "latent", data, dense, **settings)
    consistent = distil("consistency", runs / "consistent", data, latent, dense, **settings)
    prompts = runs / "prompts.h5"
    (runs / "prompts.txt").write_text("a red circle moves left\na blue square moves up\n")
    vmla("data", "prompts", "--prompts", runs / "prompts.txt", "--out", prompts, "--text", f"umt5:{TEXT_LEN}", *files(wan)[:4])
    sampled = {"sample__every": 2, "sample__frames": 33, "sample__prompts": ["a red circle moves left"]}
    no_clips = {"data__validation_path": "", "rank__activation_clips": 0}
    return dense, distil("dmd", runs / "dmd", prompts, consistent, dense, **settings | sampled | no_clips)


def test_a_student_is_sampled_through_the_vae(wan, student, tmp_path):
    in_training = next((student[1] / "samples").glob("step_2/*.mp4"))
    assert in_training.stat().st_size > 0
    command = ["sample", "--checkpoint", student[1], "--prompt", "a red circle moves left", "--frames", 33, "--save-latents"]
    vmla(*command, "--out", tmp_path / "videos")
    assert (tmp_path / "videos" / "000.mp4").stat().st_size > 0
    latents = load_file(tmp_path / "videos" / "000.safetensors")["latents"]
    assert latents.shape == (9, 16, 4, 4) and latents.isfinite().all()


@pytest.mark.parametrize("which, formats", [(0, "pt wan wan_single lightx2v diffusers diffusers_causal videomla"), (1, "pt videomla")])
def test_every_export_is_written(student, tmp_path, which, formats):
    for name in formats.split():
        out = tmp_path / name
        vmla("export", "--checkpoint", student[which], "--format", name, "--out", out, "--dtype", "fp32")
        manifest = json.loads((out / "export_manifest.json").read_text())
        assert manifest["checks"] and all((out / file).is_file() for file in manifest["files"])
