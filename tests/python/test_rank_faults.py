"""Faults of training on several ranks: killed, stopped, cut off. The job ends or goes on, and the bits are the same."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from launch_job import BASE, free_port, node, root_cause, wait_for
from program import REPOSITORY, VMLA
from rank_faults import (
    Kills,
    Stage,
    environment_of,
    expect_same_run,
    expect_whole_checkpoints,
    last_step,
    life_times,
    ranks_of,
    said_by_ranks,
    saves_under_way,
)

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


def kill(name, stage, run, record_property, seed, count, **changed):
    found, whole = stage(name, **changed)
    steps = found.settings["train__steps"]
    kills = Kills(found, run, seed=seed, count=count, steps=steps)
    seconds = kills.carry_out(lambda killed: expect_whole_checkpoints(killed, whole))
    record_property("seconds_to_next_step", seconds)
    print(f"\n{name}:", *(f"{k} after {s:.1f} s;" for k, s in zip(kills.plan, seconds, strict=True)))
    expect_same_run(run, whole, steps)
    assert max(seconds) <= 15


@pytest.mark.parametrize(
    "name, seed, count", [("pretrain", 1, 3), ("teacher_forcing", 2, 2), ("consistency", 3, 2), ("dmd", 4, 3)]
)
def test_killed_at_any_moment(name, seed, count, stage, tmp_path, record_property):
    """kill -9 of ranks, started again by the launcher, and once of the launcher, started again here."""
    kill(name, stage, tmp_path / "run", record_property, seed, count)


@pytest.mark.soak
@pytest.mark.parametrize("name", SHARED)
def test_killed_again_and_again(name, stage, tmp_path, record_property):
    """25 times each."""
    kill(name, stage, tmp_path / "run", record_property, seed=5, count=25, train__steps=250)


@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.soak)])
def test_killed_at_the_start(rounds, stage, tmp_path):
    """kill -9 of a rank while the ranks meet, load and make their first steps."""
    found, whole = stage("pretrain")
    moments = random.Random(8)
    for number in range(rounds):
        run = tmp_path / str(number)
        with found.start(run, "--max-restarts", 1) as job:
            wait_for(lambda: len(ranks_of(job)) == 2, 10)
            pid = ranks_of(job)[moments.randrange(2)]
            time.sleep(moments.uniform(0, 0.5))
            os.kill(pid, signal.SIGKILL)
            done = job.end(60)
            job.wait_until_nothing_is_left()
        assert done.returncode == 0 and "was killed by SIGKILL" in root_cause(done), done.stderr
        expect_same_run(run, whole, STEPS)


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
    seconds = 3
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


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.soak)])
def test_two_nodes_and_a_launcher_that_is_killed(killed, stage, tmp_path):
    """The other node ends; both start again and go on to the bits of one node with as many ranks."""
    found, whole = stage("pretrain")
    run = tmp_path / "run"
    program = ("--", VMLA, *found.arguments(run))
    port = free_port()
    for attempt in range(2):
        with node(0, port, *program) as first, node(1, port, *program) as second:
            jobs = [first, second]
            if attempt == 0:
                wait_for(lambda: last_step(run) >= 5, 30)
                jobs[killed].process.kill()
                done = jobs[1 - killed].end(15)  # of which 10 s are the grace
                assert done.returncode == 1 and f"launcher of node {killed}" in done.stderr, done.stderr
            else:
                ends = [job.end(60) for job in jobs]
                assert [done.returncode for done in ends] == [0, 0], ends
            for job in jobs:
                job.process.wait()
                job.wait_until_nothing_is_left()
        expect_whole_checkpoints(run, whole)
    expect_same_run(run, whole, STEPS)


def started_by_hand(arguments, *environments) -> list[subprocess.CompletedProcess]:
    """A process for each of these environments, all at once."""
    processes = [
        subprocess.Popen(
            [str(VMLA), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**BASE, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in environment.items()}},
        )
        for environment in environments
    ]
    texts = [process.communicate(timeout=60) for process in processes]
    return [subprocess.CompletedProcess(p.args, p.returncode, *text) for p, text in zip(processes, texts, strict=True)]


def torchruns(rank, port, **more):
    return {
        "RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port, **more,
    }  # fmt: skip


def open_mpis(rank, port):
    return {
        "OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": 2, "OMPI_COMM_WORLD_LOCAL_RANK": rank,
        "OMPI_COMM_WORLD_LOCAL_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port,
    }  # fmt: skip


def slurms(rank, port):
    return {
        "SLURM_PROCID": rank, "SLURM_NTASKS": 2, "SLURM_LOCALID": rank, "SLURM_NODEID": 0, "SLURM_TASKS_PER_NODE": 2,
        "SLURM_JOB_ID": port, "SLURM_STEP_ID": 0, "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": port,
    }  # fmt: skip


@pytest.mark.parametrize("starter", [open_mpis, slurms])
def test_what_others_start_trains_the_same(starter, stage, tmp_path):
    found, whole = stage("pretrain")
    port = free_port()
    for done in started_by_hand(found.arguments(tmp_path / "run"), starter(0, port), starter(1, port)):
        assert done.returncode == 0, done.stderr
    expect_same_run(tmp_path / "run", whole, STEPS)


def test_torchrun_trains_the_same(stage, tmp_path):
    found, whole = stage("pretrain")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python", "--nproc-per-node", "2"]
    command = [str(part) for part in (*torchrun, VMLA, *found.arguments(tmp_path / "run"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=BASE, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    expect_same_run(tmp_path / "run", whole, STEPS)


def test_out_of_memory_is_said_with_the_plan(stage, tmp_path):
    """Rank 1 may have 1.5 GB of addresses, of which LibTorch takes two thirds; 256 clips need 0.9 GB."""
    found, _ = stage("pretrain")
    limited = ("sh", "-c", '[ "$RANK" = 1 ] && ulimit -v 1500000; exec "$0" "$@"', VMLA)
    batch = {"train__batch_size": 512, "train__micro_batch_size": 512}
    with found.start(tmp_path / "run", program=limited, **batch) as job:
        done = job.end(60)
        job.wait_until_nothing_is_left()
    assert done.returncode == 1, done.stderr
    (line,) = said_by_ranks(done)
    assert "rank 1" in line and "out of memory" in line, line
    planned = re.search(r"the plan gives this rank up to (\d+) MB of tensors", line)
    offers = re.findall(r"(\d+) MB with (train.micro_batch_size 128|train.recompute block)", line)
    assert planned and len(offers) == 2 and all(int(less) < 0.7 * int(planned[1]) for less, _ in offers), line


def test_a_folder_that_takes_no_checkpoints_is_said_at_once(stage, tmp_path):
    """sysfs, where not even root can make a folder, stands in for a read-only disk."""
    found, _ = stage("pretrain")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.lock").touch()
    (run / "checkpoints").symlink_to("/sys/kernel")
    with found.start(run, "--max-restarts", 3) as job:
        done = job.end(30)
    assert done.returncode == 2, done.stderr
    (line,) = said_by_ranks(done)
    assert f"{run}/checkpoints: checkpoints cannot be written here" in line
    assert last_step(run) == -1


def one_line(ends, *mentions):
    """Every process ended with 2, one of them with a line that says why."""
    assert [done.returncode for done in ends] == [2] * len(ends), ends
    (line,) = [line for done in ends for line in done.stderr.splitlines()]
    for mention in mentions:
        assert str(mention) in line, line


def test_an_address_that_does_not_resolve(stage, tmp_path):
    found, _ = stage("pretrain")
    environments = [torchruns(rank, free_port(), MASTER_ADDR="no-such-host.invalid") for rank in range(2)]
    one_line(started_by_hand(found.arguments(tmp_path / "run"), *environments), "MASTER_ADDR", "no-such-host.invalid")
    assert not (tmp_path / "run").exists()


def test_two_jobs_on_one_port(stage, tmp_path):
    found, _ = stage("pretrain")
    one, other = tmp_path / "one", tmp_path / "other"
    with found.start(one, train__steps=100000) as job:
        wait_for(lambda: last_step(one) >= 1, 30)
        port = environment_of(ranks_of(job)[0])["MASTER_PORT"]
        environments = [torchruns(rank, port, TORCHELASTIC_RUN_ID="x") for rank in range(2)]
        ends = started_by_hand(found.arguments(other), *environments)
        one_line(ends, port, "MASTER_PORT")
        step = last_step(one)
        wait_for(lambda: last_step(one) > step, 10)  # the first job did not notice
    assert not other.exists()
