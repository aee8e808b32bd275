"""Training on several ranks that is killed, stopped and started again: what the tests of faults watch and compare."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from datetime import datetime
from pathlib import Path

import torch
from distilled_stage import settings as distilled
from launch_job import Job, is_zombie, wait_for
from program import VMLA
from test_checkpoint_format import assemble, expect_hashes, read_manifest, tensors_of
from tiny_stage import metrics, train_arguments


class Stage:
    """A tiny stage, and how its ranks share it."""

    def __init__(self, name, dataset, weights, dense_run, ranks=2, **changed):
        self.name, self.ranks, self.dataset, self.weights = name, ranks, dataset, weights
        self.settings = distilled(name, dense_run, **changed)

    def arguments(self, run: Path, **more) -> list:
        return train_arguments(self.name, run, self.dataset, self.weights, **(self.settings | more))

    def start(self, run: Path, *flags, program=(VMLA,), **more) -> Job:
        return Job("--nproc-per-node", self.ranks, *flags, "--", *program, *self.arguments(run, **more))

    def finish(self, run: Path, *flags, **more) -> Path:
        """Trains to the end."""
        with self.start(run, *flags, **more) as job:
            done = job.end(timeout=120)
            job.wait_until_nothing_is_left()
        assert done.returncode == 0, done.stderr
        return run


def environment_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(variable.split("=", 1) for variable in text.split("\0") if "=" in variable)


def ranks_of(job: Job) -> dict[int, int]:
    """The pid of each rank that lives."""
    found = {}
    for pid in job.left():
        folder = Path("/proc") / str(pid)
        try:
            if (folder / "comm").read_text().strip() != "vmla-core" or is_zombie(folder):
                continue
            found[int(environment_of(pid)["RANK"])] = pid
        except OSError:
            pass
    return found


def last_step(run: Path) -> int:
    """The last step in the metrics; -1 before the first."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return int(re.match(r'{"step":(\d+)', lines[-1])[1]) if lines else -1


def said_by_ranks(done) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("[")]


def saves_under_way(run: Path) -> list[Path]:
    return list((run / "checkpoints").glob(".saving-*/step_*/*.safetensors"))


class Kills:
    """kill -9 at seeded moments: of a rank, or of the launcher; between steps, in a step, in a save, at the start."""

    def __init__(self, stage: Stage, run: Path, seed: int, count: int, steps: int):
        random_numbers = random.Random(seed)
        self.stage, self.run, self.random = stage, run, random_numbers
        moments = sorted(random_numbers.sample(range(1, steps - 5), count))
        # One of three is the launcher's: a new one begins with its shortest pause between restarts again.
        who = ["launcher" if i % 3 == 1 else random_numbers.randrange(stage.ranks) for i in range(count)]
        when = [random_numbers.choice(["in a step", "in a save", "at a step's end"]) for _ in range(count)]
        self.plan = list(zip(moments, who, when, strict=True))
        self.times = []

    def wait_for_moment(self, job: Job, step: int, when: str):
        wait_for(lambda: last_step(self.run) >= step or job.process.poll() is not None, 60)
        if when == "in a save":
            wait_for(lambda: saves_under_way(self.run) or job.process.poll() is not None, 20)
        elif when == "in a step":
            time.sleep(self.random.uniform(0, 0.06))
        assert job.process.poll() is None, job.end().stderr

    def wait_for_life(self, job: Job, number: int) -> dict[int, int]:
        """The ranks' pids once this life trains."""
        wait_for(lambda: self.lives() >= number or job.process.poll() is not None, 30)
        pids = ranks_of(job)
        assert sorted(pids) == list(range(self.stage.ranks)), f"{pids} {job.process.poll()}"
        return pids

    def carry_out(self, check) -> list[float]:
        """Trains to the end through all kills; returns the seconds from each to the next optimizer step."""
        plan = list(self.plan)
        while True:
            lived = self.lives()
            with self.stage.start(self.run, "--max-restarts", len(plan)) as job:
                who = None
                while plan and who != "launcher":
                    pids = self.wait_for_life(job, lived + 1)
                    step, who, when = plan.pop(0)
                    self.wait_for_moment(job, step, when)
                    # Before the kill: the next life may have begun by the time that the check below is through.
                    lived = self.lives()
                    self.times.append(time.time())
                    os.kill(job.process.pid if who == "launcher" else pids[who], signal.SIGKILL)
                    check(self.run)
                done = job.end(timeout=120)
                job.wait_until_nothing_is_left()
                check(self.run)
            if who != "launcher":
                assert done.returncode == 0, done.stderr
                return self.seconds_to_next_step()

    def lives(self) -> int:
        return len(life_times(self.run, self.stage.name)[0])

    def seconds_to_next_step(self) -> list[float]:
        starts, steps = life_times(self.run, self.stage.name)
        seconds = []
        for killed in self.times:
            start = min(t for t in starts if t > killed)
            seconds.append(min(t for t in steps if t > start) - killed)
        return seconds


def life_times(run: Path, stage: str) -> tuple[list[float], list[float]]:
    """When training began, in each life, and when each step ended, from the run's log."""
    starts, steps = [], []
    file = run / "log.txt"
    for line in file.read_text(errors="replace").splitlines() if file.exists() else []:
        found = re.match(rf"(\S+ \S+) info (?:(stage {stage}:)|{stage} step \d+/)", line)
        if found:
            (starts if found[2] else steps).append(datetime.fromisoformat(found[1]).timestamp())
    return starts, steps


def load(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every tensor of every role, by a reader that is not ours, its hashes checked."""
    expect_hashes(checkpoint)
    manifest = read_manifest(checkpoint)
    return {
        f"{role}/{entry['name']}": assemble(checkpoint, entry)
        for role, content in manifest["roles"].items()
        for entry in tensors_of(content)
    }


def expect_whole_checkpoints(run: Path, whole: Path) -> int:
    """Every checkpoint that is there holds the bits of the run that nobody disturbed; returns their number."""
    folders = list((run / "checkpoints").glob("step_*"))
    for folder in folders:
        try:
            found = load(folder)
        except FileNotFoundError:
            assert not folder.exists(), f"{folder} is incomplete"  # removed meanwhile, which is one rename
            continue
        expected = load(whole / "checkpoints" / folder.name)
        assert found.keys() == expected.keys()
        different = [name for name in found if not torch.equal(found[name], expected[name])]
        assert not different, f"{folder.name}: {len(different)} of {len(found)} tensors differ, e.g. {different[:3]}"
    return len(folders)


def expect_same_run(run: Path, whole: Path, steps: int):
    """The last weights, averages and optimizer states to the bit, and the losses of every step."""
    assert (run / "checkpoints/latest").resolve().name == f"step_{steps}"
    assert expect_whole_checkpoints(run, whole) > 0
    keys = ("step", "loss", "loss_fake_score")
    losses = [[[m.get(key) for key in keys] for m in metrics(folder)] for folder in (run, whole)]
    assert losses[0] == losses[1]
