"""`vmla sample` on several ranks: the videos of one process, stopped and gone on with, and what is refused."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from program import VMLA, run, vmla
from ranks import run_ranks, start_ranks

PROMPTS = ["a red circle moves left", "a blue square", "a green triangle moves up", "nothing", "a circle"]
QUICK = ["--frames", 9, "--sampler", "euler", "--steps", 1]


def asked(checkpoint, out, *flags):
    file = out.parent / "prompts.txt"
    file.write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    return ["sample", "--checkpoint", checkpoint, "--prompts", file, "--out", out, *QUICK, *flags]


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "samples.json"}


def listed(folder):
    return [(r["file"], r["prompt"], r["seed"], r["frames"]) for r in json.loads((folder / "samples.json").read_text())]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_make_the_videos_of_one_process(latent_run, tmp_path, ranks):
    flags = ("--save-latents", "--samples-per-prompt", 2)
    vmla(*asked(latent_run, tmp_path / "one", *flags))
    done = run_ranks(ranks, asked(latent_run, tmp_path / "ranks", *flags))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert content(tmp_path / "ranks") == content(tmp_path / "one")
    assert listed(tmp_path / "ranks") == listed(tmp_path / "one")
    assert len([line for line in done.stdout.splitlines() if "frames/s" in line]) == 10, "each video is said once"


def rank_with(number, argument):
    """The pid of a job's rank, one of whose arguments is given."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, settings = ((folder / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if str(argument).encode() in words and f"RANK={number}".encode() in settings:
            return int(folder.name)
    raise AssertionError(f"no rank {number}")


@pytest.mark.parametrize("whom", ["launcher", "one rank"])
def test_a_stopped_job_goes_on_with_another_number_of_ranks(latent_run, tmp_path, whom):
    names = tmp_path / "info.json"
    names.write_text(json.dumps([{"prompt_en": prompt, "dimension": ["color"]} for prompt in PROMPTS]))
    slow = ["--frames", 45, "--sampler", "euler", "--steps", 40]

    def command(out):
        flags = ["--layout", "vbench", "--prompts", names]
        return ["sample", "--checkpoint", latent_run, "--out", out, *slow, *flags]

    out = tmp_path / "v"
    job = start_ranks(2, command(out))
    deadline = time.monotonic() + 100
    while not (out / "samples.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(job.pid if whom == "launcher" else rank_with(1, out), signal.SIGTERM)
    said = job.communicate(timeout=60)[1]
    assert job.returncode == 75 and said.count("finished are kept") == 1, said
    kept = content(out)
    assert len(kept) == len(listed(out)) < 25 and not any(name.startswith(".tmp") for name in kept)
    times = {p.name: p.stat().st_mtime_ns for p in out.iterdir() if p.name in kept}
    vmla(*command(out))
    assert len(listed(out)) == len(content(out)) == 25
    assert all((out / name).stat().st_mtime_ns == at for name, at in times.items())


def test_ranks_that_were_asked_for_different_videos_remove_nothing(latent_run, tmp_path):
    vmla(*asked(latent_run, tmp_path / "v"))
    before = content(tmp_path / "v"), listed(tmp_path / "v")
    command = [VMLA, *asked(latent_run, tmp_path / "v", "--seed")]
    done = run_ranks(2, [" ".join(map(str, command)) + " $RANK"], program=("sh", "-c"))
    assert done.returncode == 2
    assert "ranks were asked for different videos: rank 0 has 'a prompt: 0 0" in done.stderr
    assert (content(tmp_path / "v"), listed(tmp_path / "v")) == before


def test_what_ranks_cannot_share_is_refused_in_one_line(latent_run, tmp_path):
    base = ["sample", "--checkpoint", latent_run, "--out", tmp_path / "v"]
    done = run_ranks(2, [*base, "--prompts-over-time", "a[1s] | b[1s]"])
    assert done.returncode == 2 and "--prompts-over-time makes one video" in done.stderr
    missing = run_ranks(2, [*base, "--prompts", tmp_path / "none.txt"])
    assert missing.returncode == 2
    (alone,) = run(*base, "--prompts", tmp_path / "none.txt").stderr.splitlines()
    assert [line for line in missing.stderr.splitlines() if "none.txt" in line] == [f"[0] {alone}"]
    assert not (tmp_path / "v").exists()
