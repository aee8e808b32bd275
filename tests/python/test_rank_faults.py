"""Faults of training on several ranks: killed, stopped, cut off. The job ends or goes on, and the bits are the same."""

import os
import re
import signal
import time

import pytest
from rank_faults import (
    Kills,
    Stage,
    expect_same_run,
    expect_whole_checkpoints,
    last_step,
    life_times,
    ranks_of,
    said_by_ranks,
    saves_under_way,
)
from test_launch import root_cause, wait_for

STEPS = 24
# Checkpoints are written all the time, so that kills fall into them.
BUSY = {"train__steps": STEPS, "ema__decay": 0.9, "checkpoint__every": 1, "checkpoint__keep_last": 3}
# How two ranks share each stage.
SHARED = {
    "pretrain": {"sharding": "zero1"},
    "teacher_forcing": {"sharding": "full"},
    "consistency": {"sequence_parallel_size": 2},
    "dmd": {"sharding": "zero2"},
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, dataset, dense_run, latent_run):
    """Makes a stage that writes checkpoints all the time, and its undisturbed run, which keeps them all."""
    made = {}

    def make(name, **changed):
        key = name, *changed.items()
        if key not in made:
            weights = {"pretrain": None, "teacher_forcing": dense_run}.get(name, latent_run)
            shared = {f"distributed__{key}": value for key, value in SHARED[name].items()}
            found = Stage(name, dataset, weights, dense_run, **(BUSY | shared | changed))
            made[key] = found, found.finish(tmp_path_factory.mktemp(name) / "whole", checkpoint__keep_last=1000)
        return made[key]

    return make


def kill(name, stage, run, record_property, seed, count, launchers, **changed):
    found, whole = stage(name, **changed)
    steps = found.settings["train__steps"]
    kills = Kills(found, run, seed=seed, count=count, steps=steps, launchers=launchers)
    seconds = kills.carry_out(lambda killed: expect_whole_checkpoints(killed, whole))
    record_property("seconds_to_next_step", seconds)
    print(f"\n{name}:", *(f"{k} after {s:.1f} s;" for k, s in zip(kills.plan, seconds, strict=True)))
    assert max(seconds) <= 15
    expect_same_run(run, whole, steps)


@pytest.mark.parametrize("name, seed, count", [("pretrain", 1, 3), ("teacher_forcing", 2, 2), ("consistency", 3, 2), ("dmd", 4, 3)])  # fmt: skip
def test_killed_at_any_moment(name, seed, count, stage, tmp_path, record_property):
    """kill -9 of ranks, started again by the launcher, and once of the launcher, started again here."""
    kill(name, stage, tmp_path / "run", record_property, seed, count, launchers=1)


@pytest.mark.soak
@pytest.mark.parametrize("name", SHARED)
def test_killed_again_and_again(name, stage, tmp_path, record_property):
    """25 times each."""
    kill(name, stage, tmp_path / "run", record_property, seed=5, count=25, launchers=12, train__steps=250)


def test_stopped_on_request(stage, tmp_path):
    """SIGTERM to one rank, to all, to the launcher: all save the same step and end with 75, "run me again"."""
    found, whole = stage("pretrain")
    run = tmp_path / "run"
    for to in ("rank 1", "all ranks", "launcher"):
        with found.start(run, checkpoint__every=1000) as job:
            begun = last_step(run)
            wait_for(lambda: last_step(run) > max(begun, 0), 30)
            pids = ranks_of(job)
            for pid in {"rank 1": [pids[1]], "all ranks": pids.values(), "launcher": [job.process.pid]}[to]:
                os.kill(pid, signal.SIGTERM)
            done = job.end(30)
            job.wait_until_nothing_is_left()
        assert done.returncode == 75, done.stderr
        assert len(said_by_ranks(done)) == 1 and "saved step" in said_by_ranks(done)[0], done.stderr
        assert last_step(run) == int((run / "checkpoints/latest").resolve().name.removeprefix("step_")) < STEPS
        expect_whole_checkpoints(run, whole)
    found.finish(run)
    expect_same_run(run, whole, STEPS)


@pytest.mark.parametrize(
    "rank, when",
    [
        (0, "in a step"),
        (1, "in the last save"),
        pytest.param(1, "in a step", marks=pytest.mark.soak),
        pytest.param(0, "in the last save", marks=pytest.mark.soak),
    ],
)
def test_a_stopped_rank_is_found_and_named(rank, when, stage, tmp_path):
    """SIGSTOP: the others name the rank when its time is up, and the job starts again without it."""
    seconds = 5
    found, whole = stage("pretrain", distributed__timeout_seconds=seconds)
    run = tmp_path / "run"
    last_save = {"checkpoint__every": 1000} if when == "in the last save" else {}
    with found.start(run, "--max-restarts", 1, "--grace", 1, **last_save) as job:
        wait_for(lambda: last_step(run) >= 1, 30)
        pid = ranks_of(job)[rank]
        if last_save:
            wait_for(lambda: saves_under_way(run) or (run / "checkpoints/latest").exists(), 30)
        stopped = time.time()
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: life_times(run, "pretrain")[0][-1] > stopped, 30)
        assert time.time() - stopped < seconds + 10  # to find out 3 s, to end 1, to wait 1; the start
        done = job.end(60)
        job.wait_until_nothing_is_left()
    assert done.returncode == 0, done.stderr
    line = said_by_ranks(done)[0]
    assert f"rank {rank} on host" in line, done.stderr
    assert abs(int(re.search(r"has not answered for (\d+) s", line)[1]) - seconds) <= 4, line
    assert line.split("] ", 1)[1] in root_cause(done)
    expect_same_run(run, whole, STEPS)
