"""A run that is asked to stop, whose output nobody reads any more, or whose folder is not what it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from launch_job import Job, wait_for
from program import ENVIRONMENT, REPOSITORY, VMLA, run, vmla
from tiny_stage import last_checkpoint, metrics, saved_steps, start_training, train_arguments

LONG = {"train__steps": 2000, "checkpoint__every": 1000}


def wait_for_step(run_dir, process, step=1):
    file = run_dir / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (file.exists() and len(file.read_text().splitlines()) >= step):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_saves(tmp_path, dataset, number):
    run_dir = tmp_path / "run"
    process = start_training("pretrain", run_dir, dataset, **LONG)
    wait_for_step(run_dir, process)
    process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75, err
    assert time.monotonic() - began < 2
    assert f"stopped: {number.name}: saved step" in err
    assert saved_steps(run_dir)


# `sh` makes the pipe, so that its reader can go.
@pytest.mark.parametrize("rest", ["| head -n 1", ">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_an_output_that_nobody_takes_is_no_reason_to_stop(tmp_path, dataset, rest):
    run_dir = tmp_path / "run"
    arguments = train_arguments("pretrain", run_dir, dataset)
    script = f'"$@" {rest}'
    subprocess.run(
        ["sh", "-c", script, "sh", str(VMLA), *map(str, arguments)],
        env=ENVIRONMENT,
        cwd=REPOSITORY,
        timeout=120,
        stdout=subprocess.DEVNULL,
        check=not rest.startswith("|"),
    )
    assert (run_dir / "summary.json").exists()
    assert [line["step"] for line in metrics(run_dir)] == list(range(1, 7))
    # No file got the number of a closed stream, and with it the lines of the log.
    assert (run_dir / "report.html").read_text().startswith("<!")
    assert "step 6/6" in (run_dir / "log.txt").read_text()


def test_the_end_of_a_stage_stops_and_is_made_up_for(tmp_path, dataset):
    run_dir = tmp_path / "run"
    many = {"sample__measure_clips": 2000, "sample__steps": 50}
    process = start_training("pretrain", run_dir, dataset, **many)
    begun = next(line for line in process.stdout if line.startswith("measuring"))
    assert "2000 videos of 9 frames" in begun
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert process.returncode == 75, err
    assert "step 6 of 6 is saved" in err and "again to measure" in err
    assert saved_steps(run_dir)[-1] == 6
    assert not (run_dir / "summary.json").exists()
    before = (run_dir / "metrics.jsonl").read_bytes()
    vmla(*train_arguments("pretrain", run_dir, dataset, sample__measure_clips=4))
    assert json.loads((run_dir / "summary.json").read_text())["adherence"]["clips"] == 4
    assert (run_dir / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "emptied"])
def test_a_run_folder_that_is_gone_is_a_fault(tmp_path, dataset, how):
    run_dir, aside = tmp_path / "run", tmp_path / "aside"
    process = start_training("pretrain", run_dir, dataset, **LONG)
    wait_for_step(run_dir, process)
    if how == "emptied":
        (run_dir / "config.yaml").unlink()
    else:
        run_dir.rename(aside)
    if how == "removed":
        shutil.rmtree(aside)
    if how == "replaced":
        run_dir.mkdir()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1, err
    assert str(run_dir) in err and "while the run was going on" in err and len(err.splitlines()) == 1
    assert "done" not in out
    if how in ("removed", "moved"):
        assert not run_dir.exists()
    if how == "replaced":
        assert not list(run_dir.iterdir())


@pytest.mark.parametrize("name", ["run.lock", "log.txt", "metrics.jsonl"])
def test_files_that_others_put_there_stay_as_they_are(tmp_path, dataset, name):
    run_dir, foreign = tmp_path / "run", tmp_path / "foreign"
    vmla(*train_arguments("pretrain", run_dir, dataset))
    foreign.write_text("precious\n")
    (run_dir / name).unlink(missing_ok=True)
    (run_dir / name).symlink_to(foreign)
    done = run(*train_arguments("pretrain", run_dir, dataset, train__steps=8))
    assert foreign.read_text() == "precious\n"
    if name != "metrics.jsonl":  # which is written anew when a run goes on
        assert done.returncode in (1, 2) and "a symbolic link stands there" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def rank_alone(tmp_path, dataset, host, port):
    """Rank 1 of 2 with the four variables that are enough, as on a machine of its own."""
    where = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": host, "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [str(VMLA), *map(str, train_arguments("pretrain", tmp_path / "run", dataset))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | where,
        cwd=REPOSITORY,
    )


def test_a_rank_that_cannot_join_says_so(tmp_path, dataset):
    process = rank_alone(tmp_path, dataset, "no-such-host.invalid", 29511)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no-such-host.invalid" in err and "does not resolve" in err and len(err.splitlines()) == 1


def test_a_rank_that_waits_says_for_what(tmp_path, dataset):
    process = rank_alone(tmp_path, dataset, "127.0.0.1", 9)
    try:
        os.set_blocking(process.stderr.fileno(), True)
        line = process.stderr.readline()
        assert "rank 1 on host" in line and "127.0.0.1:9 yet" in line
    finally:
        process.kill()
        process.wait()


# One step of this is several seconds of one core, and what is saved of it little.
SLOW = {"train__batch_size": 640, "train__micro_batch_size": 640, "checkpoint__every": 1000, "train__steps": 2}


def weights_of(run_dir):
    folder = last_checkpoint(run_dir)
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.safetensors"))}


def losses(run_dir):
    return {line["step"]: line["loss"] for line in metrics(run_dir) if "loss" in line}


def interrupt(process, number=signal.SIGTERM):
    process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert time.monotonic() - began < 2
    (line,) = err.splitlines()
    return line


def test_a_long_step_is_given_up_for_the_state_before_it(tmp_path, dataset):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    vmla(*train_arguments("pretrain", whole, dataset, **SLOW))
    assert metrics(whole)[1]["time_step"] > 1.5, "the step is too short to be interrupted"
    process = start_training("pretrain", parts, dataset, **SLOW)
    wait_for_step(parts, process)
    time.sleep(0.3)
    assert "saved step 1 of 2" in interrupt(process)
    assert saved_steps(parts) == [1]
    vmla(*train_arguments("pretrain", parts, dataset, **SLOW))
    assert losses(parts) == losses(whole)
    assert weights_of(parts) == weights_of(whole)


@pytest.mark.parametrize("what", ["validation", "samples"])
def test_what_was_to_be_measured_after_a_step_is_made_up_for(tmp_path, dataset, what):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    if what == "validation":
        long = {"validation__every": 4, "validation__clips": 12}
    else:
        long = {"sample__every": 4, "sample__steps": 20, "sample__frames": 33}
    settings = {"checkpoint__every": 1000, "train__batch_size": 32, "train__micro_batch_size": 32, **long}
    process = start_training("pretrain", parts, dataset, **settings)
    # The fourth step's line comes after its validation and before its samples.
    wait_for_step(parts, process, 3 if what == "validation" else 4)
    if what == "validation":
        time.sleep(metrics(parts)[-1]["time_step"] * 0.3)
    assert "saved step" in interrupt(process)
    (saved,) = saved_steps(parts)
    vmla(*train_arguments("pretrain", parts, dataset, **settings))
    vmla(*train_arguments("pretrain", whole, dataset, **settings))
    assert losses(parts) == losses(whole)
    assert weights_of(parts) == weights_of(whole)
    found = {line["step"]: line["validation_loss"] for line in metrics(parts) if "validation_loss" in line}
    assert found == {line["step"]: line["validation_loss"] for line in metrics(whole) if "validation_loss" in line}
    for file in (whole / "samples").glob("*/*.*"):
        if file.suffix in (".mp4", ".y4m"):
            assert (parts / file.relative_to(whole)).read_bytes() == file.read_bytes()
    assert saved == 4


def test_several_ranks_drop_a_long_step_together(tmp_path, dataset):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    slow = SLOW | {"train__micro_batch_size": 4}

    def start_ranks(run_dir):
        return Job("--nproc-per-node", 2, "--", VMLA, *train_arguments("pretrain", run_dir, dataset, **slow))

    with start_ranks(parts) as job:
        wait_for(lambda: (parts / "metrics.jsonl").exists() and metrics(parts), 60)
        time.sleep(0.3)
        os.kill(job.process.pid, signal.SIGTERM)
        began = time.monotonic()
        done = job.end(60)
        seconds = time.monotonic() - began
    assert done.returncode == 75, done.stderr
    assert "saved step 1 of 2" in done.stderr and saved_steps(parts) == [1]
    assert seconds < metrics(parts)[0]["time_step"], "the step was not waited for"
    for run_dir in (parts, whole):
        with start_ranks(run_dir) as job:
            assert job.end(120).returncode == 0
    assert losses(parts) == losses(whole)
    assert weights_of(parts) == weights_of(whole)
