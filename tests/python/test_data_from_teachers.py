"""Datasets that networks make: clips of a bidirectional teacher, ODE paths of a causal one."""

import signal
import time

import h5py
import numpy as np
import pytest
import torch
import yaml

from program import one_line_error, overrides, run, start, vmla
from tiny_stage import CONFIGS, SHORT, make_dataset, metrics, train

LIST = [1000, 750, 500, 250]
# The list after a shift of 5: 1000 s u / (1 + (s - 1) u).
TIMES = [1000 * 5 * (t / 1000) / (1 + 4 * (t / 1000)) for t in LIST] + [0.0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("teacher_data"), 6)


@pytest.fixture(scope="module")
def pretrained(clips, tmp_path_factory):
    return train("pretrain", tmp_path_factory.mktemp("pretrain") / "run", clips)


@pytest.fixture(scope="module")
def causal(clips, pretrained, tmp_path_factory):
    return train("teacher_forcing", tmp_path_factory.mktemp("causal") / "run", clips, pretrained)


def bf16(values):
    return (values[:].astype(np.uint32) << 16).view(np.float32)


def refused(*arguments):
    return one_line_error(run(*arguments))


def ode(causal, clips, out, *flags):
    return vmla("data", "ode", "--checkpoint", causal, "--data", clips, "--out", out, "--batch", 3, *flags)


def close_not_equal(a, b, relative):
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    assert not np.array_equal(a, b)
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(a)


def test_precision_and_device(causal, pretrained, clips, tmp_path):
    """bf16 has 8 bits: a few roundings a layer of a path of few steps stay below some hundredths."""
    steps = ("--steps", 4, "--dtype", "fp32", "--limit", 3)
    ode(causal, clips, tmp_path / "fp32.h5", *steps)
    ode(causal, clips, tmp_path / "bf16.h5", *steps, "--precision", "bf16")
    with h5py.File(tmp_path / "fp32.h5") as a, h5py.File(tmp_path / "bf16.h5") as b:
        close_not_equal(a["ode"][:, -1], b["ode"][:, -1], 0.05)
        assert "bf16 on cpu" in b.attrs["origin"]

    prompts = tmp_path / "p.txt"
    prompts.write_text("a red circle moves left\n")
    generate = ("data", "generate", "--weights", pretrained, "--prompts", prompts, "--steps", 2)
    vmla(*generate, "--out", tmp_path / "g32.h5")
    vmla(*generate, "--out", tmp_path / "g16.h5", "--precision", "bf16")
    with h5py.File(tmp_path / "g32.h5") as a, h5py.File(tmp_path / "g16.h5") as b:
        close_not_equal(bf16(a["latents"]), bf16(b["latents"]), 0.05)

    if torch.cuda.is_available():
        return
    for command in (generate, ("data", "ode", "--checkpoint", causal, "--data", clips)):
        assert "--device: cuda" in refused(*command, "--out", tmp_path / "no.h5", "--device", "cuda")
        assert not (tmp_path / "no.h5").exists()


def test_ode_set(causal, clips, tmp_path):
    """Both ways give the same states, between the seed's noise and an end that is the flow's own."""
    said = ode(causal, clips, tmp_path / "cached.h5", "--steps", 8, "--dtype", "fp32").stdout
    assert "s a clip" in said
    ode(causal, clips, tmp_path / "doubled.h5", "--steps", 8, "--dtype", "fp32", "--way", "doubled")
    with h5py.File(tmp_path / "cached.h5") as a, h5py.File(tmp_path / "doubled.h5") as b, h5py.File(clips) as of:
        states = a["ode"]
        assert states.shape == (6, 5, 9, 12, 8, 8) and states.dtype == np.float32
        assert states.chunks == (1, 5, 9, 12, 8, 8) and states.compression is None
        assert np.allclose(a["ode_times"][:], TIMES, rtol=0, atol=1e-9)
        assert np.array_equal(a["latents"][:], of["latents"][:]) and list(a["captions"]) == list(of["captions"])
        assert np.array_equal(a["text/embeddings"][:], of["text/embeddings"][:])
        assert "guidance 6" in a.attrs["origin"]
        first = states[:, 0]
        assert abs(first.mean()) < 0.02 and abs(first.std() - 1) < 0.02, "standard normals"
        assert np.array_equal(first, b["ode"][:, 0])
        for k in range(5):
            wanted = b["ode"][:, k]
            # fp32 roundings of 6e-8 through eight guided steps
            assert np.abs(states[:, k] - wanted).max() / np.sqrt((wanted**2).mean()) < 1e-5, k
        assert not np.allclose(states[:, 4], states[:, 3])


def test_ode_set_in_bf16_is_the_rounded_one(causal, clips, tmp_path):
    ode(causal, clips, tmp_path / "a.h5", "--steps", 4, "--dtype", "fp32", "--limit", 3)
    ode(causal, clips, tmp_path / "b.h5", "--steps", 4, "--limit", 3)
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert a["ode"].shape[0] == b["ode"].shape[0] == 3
        rounded = torch.from_numpy(a["ode"][:]).bfloat16().float().numpy()
        assert np.array_equal(bf16(b["ode"]), rounded)


def test_ode_set_is_refused_where_it_makes_no_sense(causal, pretrained, clips, tmp_path):
    arguments = ("--data", clips, "--out", tmp_path / "x.h5")
    assert "causal" in refused("data", "ode", "--checkpoint", pretrained, *arguments)
    said = refused("data", "ode", "--checkpoint", causal, *arguments, "--steps", 50)
    assert "step 750 is no point of a grid of 50 steps" in said
    assert "must decrease" in refused("data", "ode", "--checkpoint", causal, *arguments, "--denoising-steps", "500,750")
    (tmp_path / "p.txt").write_text("a\n")
    vmla("data", "prompts", "--prompts", tmp_path / "p.txt", "--out", tmp_path / "p.h5")
    said = refused("data", "ode", "--checkpoint", causal, "--data", tmp_path / "p.h5", "--out", tmp_path / "x.h5")
    assert "p.h5" in said
    assert not (tmp_path / "x.h5").exists()


def test_ode_regression_trains_on_it(causal, clips, tmp_path):
    """And refuses clips without states, or states of other steps than the student's."""
    ode(causal, clips, tmp_path / "ode.h5", "--steps", 4)
    stage = yaml.safe_load((CONFIGS / "teacher_forcing.yaml").read_text())
    stage |= {"stage": "ode", "objective": {"name": "ode_regression"}}
    stage["data"] = {"path": str(tmp_path / "ode.h5"), "validation_path": str(tmp_path / "ode.h5")}
    del stage["init"]
    (tmp_path / "ode.yaml").write_text(yaml.safe_dump(stage))

    def arguments(**changed):
        settings = SHORT | {"init_from.generator": str(causal), "validation.every": 3} | changed
        return "train", "--config", tmp_path / "ode.yaml", "--run-dir", tmp_path / "run", *overrides(settings)

    assert "no states of ODE paths" in refused(*arguments(**{"data.path": str(clips)}))
    said = refused(*arguments(**{"objective.ode_regression.denoising_step_list": [1000, 500]}))
    assert "ODE states at timesteps" in said and "denoising_step_list" in said
    (tmp_path / "p.txt").write_text("a\n")
    vmla("data", "prompts", "--prompts", tmp_path / "p.txt", "--out", tmp_path / "p.h5")
    assert "holds no clips" in refused(*arguments(**{"data.validation_path": str(tmp_path / "p.h5")}))
    vmla(*arguments())
    lines = metrics(tmp_path / "run")
    assert len(lines) == 6 and all(np.isfinite(m["loss"]) for m in lines)


def generate(pretrained, prompts, out, *flags):
    vmla("data", "generate", "--weights", pretrained, "--prompts", prompts, "--out", out, "--steps", 3, *flags)


def test_generated_clips_are_a_dataset(pretrained, clips, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle moves left\n\na blue square moves up\n")
    generate(pretrained, prompts, tmp_path / "a.h5", "--count-per-prompt", 2)
    with h5py.File(tmp_path / "a.h5") as made, h5py.File(clips) as trained_on:
        assert made["latents"].shape == (6, 9, 12, 8, 8)
        for name in ("codec", "codec_hash", "text_encoder", "text_encoder_hash", "fps", "pixel_frames"):
            assert made.attrs[name] == trained_on.attrs[name]
        assert [s[0].decode() for s in made["source"]] == [f"prompts.txt:{i}" for i in (1, 1, 2, 2, 3, 3)]
        values = bf16(made["latents"])
        assert np.isfinite(values).all()
        assert not np.allclose(values[0], values[1]), "clips of one prompt have noise of their own"
    # A clip is a function of its number: fewer clips a prompt, the same noise for the first.
    generate(pretrained, prompts, tmp_path / "b.h5")
    with h5py.File(tmp_path / "a.h5") as two, h5py.File(tmp_path / "b.h5") as one:
        assert np.array_equal(two["latents"][0], one["latents"][0])
    # The result trains like any other dataset.
    train("pretrain", tmp_path / "run", tmp_path / "a.h5")


def test_generate_says_what_it_needs(pretrained, causal, clips, tmp_path):
    prompts, out = tmp_path / "prompts.txt", tmp_path / "x.h5"
    prompts.write_text("a\n")
    assert "chunk by chunk" in refused("data", "generate", "--weights", causal, "--prompts", prompts, "--out", out)
    vmla("export", "--checkpoint", pretrained, "--format", "wan", "--out", tmp_path / "wan", "--dtype", "fp32")
    said = refused("data", "generate", "--weights", tmp_path / "wan", "--prompts", prompts, "--out", out)
    assert "--codec" in said and "--fps" in said
    known = "--codec space_to_depth:2 --text hashing:32x8 --fps 8 --frames 9 --height 16 --width 16".split()
    generate(tmp_path / "wan", prompts, out, *known)
    generate(pretrained, prompts, tmp_path / "y.h5")
    with h5py.File(out) as a, h5py.File(tmp_path / "y.h5") as b:
        assert np.array_equal(a["latents"][:], b["latents"][:]), "equal weights, equal clips"
    said = refused("data", "generate", "--weights", pretrained, "--prompts", prompts, "--out", tmp_path / "z.h5", "--height", 18)
    assert "18x16 does not divide" in said


def test_killed_and_resumed_is_uninterrupted(pretrained, tmp_path):
    """SIGKILL in the middle, run again: the same file, byte for byte."""
    prompts, out = tmp_path / "prompts.txt", tmp_path / "killed.h5"
    prompts.write_text("a red circle moves left\n" * 600)
    arguments = ("data", "generate", "--weights", pretrained, "--prompts", prompts, "--steps", 2, "--batch", 16)
    process = start(*arguments, "--out", out)
    parts = tmp_path / "killed.h5.parts"
    while process.poll() is None and not (parts.exists() and any(p.name.startswith("part-") for p in parts.iterdir())):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists() and parts.exists()
    assert "going on" in vmla(*arguments, "--out", out).stdout
    vmla(*arguments, "--out", tmp_path / "whole.h5")
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not parts.exists()
