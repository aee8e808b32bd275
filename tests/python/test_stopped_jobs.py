"""Ctrl-C and friends during commands that take long: within two seconds, one line, and nothing is lost."""

import json
import os
import signal
import subprocess
import time

import pytest

from program import ENVIRONMENT, REPOSITORY, VMLA, vmla
from tiny_stage import CONFIGS, saved_steps, train_arguments

STOPPED = 75


def start_group(*arguments, **environment):
    """In a process group of its own, as a terminal starts it: a signal goes to all of its processes."""
    command = [str(VMLA), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
                            env={**ENVIRONMENT, **environment}, start_new_session=True)  # fmt: skip


def stop(job, ready, number=signal.SIGINT):
    """Waits for `ready()`, sends the signal to the whole group, and returns (stderr, seconds until the end)."""
    deadline = time.monotonic() + 60
    while not ready() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert job.poll() is None, job.communicate()
    begin = time.monotonic()
    os.killpg(job.pid, number)
    _, said = job.communicate(timeout=30)
    return said, time.monotonic() - begin


def answers(pid, number):
    """Whether the process holds the signal back or has a handler for it, instead of being ended by it."""
    with open(f"/proc/{pid}/status") as status:
        masks = dict(line.split(":") for line in status if line.startswith(("SigBlk", "SigCgt")))
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks.values())


@pytest.fixture(scope="module")
def long_videos(tmp_path_factory):
    """Videos of many frames, so that encoding them takes some seconds."""
    folder = tmp_path_factory.mktemp("long") / "v"
    vmla("data", "synth", "--out", folder, "--count", 2, "--frames", 1500, "--size", 16, "--format", "y4m")
    return folder


def test_encoding_stops_saved_and_goes_on(long_videos, tmp_path):
    whole, stopped = tmp_path / "whole.h5", tmp_path / "stopped.h5"
    arguments = ["data", "encode", "--videos", long_videos, "--stride", 1, "--out"]
    job = start_group(*arguments, stopped)
    said, seconds = stop(job, (tmp_path / "stopped.h5.parts").exists)
    assert job.returncode == STOPPED and seconds < 2
    (line,) = said.splitlines()
    assert "stopped" in line and "clips are stored" in line and not stopped.exists()
    done = vmla(*arguments, stopped)
    assert "skipped" not in done.stdout.replace("0 skipped", ""), "a stopped decoder is no damaged video"
    vmla(*arguments, whole)
    assert stopped.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "stopped.h5.parts").exists()


def test_an_ode_set_stops_within_a_batch(latent_run, dataset, tmp_path):
    """One batch takes minutes: the teacher's passes are not waited for."""
    job = start_group("data", "ode", "--checkpoint", latent_run, "--data", dataset, "--out", tmp_path / "o.h5",
                      "--steps", 48_000, "--batch", 12)  # fmt: skip
    begin = time.monotonic()
    said, seconds = stop(job, lambda: (tmp_path / "o.h5.lock").exists() and time.monotonic() > begin + 2, signal.SIGTERM)
    assert job.returncode == STOPPED and seconds < 2
    assert "0 of 12 clips are stored" in said and not (tmp_path / "o.h5").exists()


def test_sampling_stops_without_leftovers(latent_run, tmp_path):
    prompts, out = tmp_path / "p.txt", tmp_path / "v"
    prompts.write_text("a red circle moves left\n" * 3000)
    job = start_group("sample", "--checkpoint", latent_run, "--prompts", prompts, "--frames", 9, "--out", out,
                      "--sampler", "euler", "--steps", 2)  # fmt: skip
    _, seconds = stop(job, lambda: any(out.glob("001.*")))
    assert job.returncode == STOPPED and seconds < 2
    names = sorted(p.name for p in out.iterdir())
    assert not [name for name in names if name.startswith(".")]
    listed = [record["file"] for record in json.loads((out / "samples.json").read_text())]
    assert listed and sorted([*listed, "samples.json"]) == names


def one_line(job, said, seconds):
    assert job.returncode == STOPPED, said
    assert seconds < 2
    (line,) = said.splitlines()
    assert line.startswith("vmla: stopped: SIG") and "the same command" in line
    return line


def test_rendering_stops_and_goes_on(tmp_path):
    out, whole = tmp_path / "v", tmp_path / "whole"
    arguments = ["data", "synth", "--count", 40, "--frames", 200, "--size", 64, "--out"]
    job = start_group(*arguments, out)
    said, seconds = stop(job, lambda: len(list(out.glob("shape_*"))) > 1)
    assert "of 40 clips are there" in one_line(job, said, seconds)
    assert not list(out.glob(".*")) and not (out / "captions.csv").exists()
    vmla(*arguments, out)
    vmla(*arguments, whole)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("after", [0, 0.2, 0.6])  # seconds: the front program, loading the libraries, the set-up
def test_the_set_up_of_a_run_stops(tmp_path, dataset, number, after):
    run_dir = tmp_path / "run"
    wide = {"model__dim": 768, "model__num_heads": 12, "model__num_layers": 12, "model__ffn_dim": 3072}
    job = start_group(*train_arguments("pretrain", run_dir, dataset, **wide))
    begin = time.monotonic()
    # Until the front program has read its command line, a signal ends it as it ends any program.
    said, seconds = stop(job, lambda: answers(job.pid, number) and time.monotonic() >= begin + after, number)
    one_line(job, said, seconds)
    assert not saved_steps(run_dir)


def test_making_the_data_of_a_run_stops(tmp_path):
    job = start_group("train", "--config", CONFIGS / "pretrain.yaml", "--run-dir", tmp_path / "run",
                      "--set", f"data.path={tmp_path / 'd.h5'}", "--set", "data.make.synth_count=4000",
                      "--set", f"data.make.videos={tmp_path / 'dv'}")  # fmt: skip
    said, seconds = stop(job, lambda: list(tmp_path.glob("d*/*")), signal.SIGTERM)
    one_line(job, said, seconds)


