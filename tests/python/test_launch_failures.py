"""How a job of vmla-launch ends: its exit status, the root cause, who is killed, what is started or queued again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time

import pytest
from launch_job import BASE, python, root_cause, run, sh
from program import REPOSITORY


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 75", 75),
        ("[ $RANK = 0 ] || exit 75", 75),
        ("[ $RANK = 0 ] || exit 9; sleep 30", 9),
        ("[ $RANK = 0 ] || kill -SEGV $$; sleep 30", 128 + signal.SIGSEGV),
        ("[ $RANK = 0 ] || kill -KILL $$; sleep 30", 128 + signal.SIGKILL),
    ],
)
def test_exit_status(script, status):
    done = run("--nproc-per-node", 2, *sh(script))
    assert done.returncode == status, done.stderr
    assert ("root cause" in done.stderr) == (status not in (0, 75))


def test_the_root_cause_in_one_line(tmp_path):
    """Rank 0 loses its peer and ends first; rank 2 is why."""
    program = python(
        tmp_path / "worker.py",
        """
import json, os, sys, time
rank = os.environ["RANK"]
if rank == "0":
    sys.exit(3)
if rank == "2":
    time.sleep(0.3)
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
        json.dump({"message": {"message": "ValueError: boom", "extraInfo": {"timestamp": "0"}}}, file)
    print("step 7", file=sys.stderr)
    print("last words", file=sys.stderr)
    sys.exit(9)
time.sleep(30)
""",
    )
    done = run("--nproc-per-node", 3, *program)
    assert done.returncode == 9
    line = root_cause(done)
    for part in ("rank 2", socket.gethostname(), "status 9", "ValueError: boom", "step 7 | last words"):
        assert part in line


def test_error_files_are_json(tmp_path):
    """Ours ends a rank with such a file; the launcher reads what any program writes."""
    script = "printf '%s' '{\"message\": \"plain\"}' >$TORCHELASTIC_ERROR_FILE; exit 1"
    done = run("--log-dir", tmp_path, *sh(script))
    assert "plain" in root_cause(done)
    (file,) = tmp_path.glob("*/attempt_0/0/error.json")
    assert json.loads(file.read_text()) == {"message": "plain"}


def test_who_does_not_end_is_killed_after_the_grace(tmp_path):
    begin = time.monotonic()
    # Rank 1 is stopped as well: only SIGKILL and SIGCONT reach such a process.
    script = (
        f'if [ $RANK = 0 ]; then until [ -e {tmp_path}/1 ] && [ -e {tmp_path}/2 ]; do sleep 0.02; done; exit 4; fi;'
        f'trap "" TERM; touch {tmp_path}/$RANK; [ $RANK = 1 ] && kill -STOP $$; while true; do sleep 0.1; done'
    )
    done = run("--nproc-per-node", 3, "--grace", 0.5, *sh(script))
    assert done.returncode == 4
    assert 0.5 < time.monotonic() - begin < 5


def test_nothing_a_worker_started_is_left():
    done = run(*sh("sleep 300 & (sleep 301 &) ; exit 0"))  # run() looks for what is left
    assert done.returncode == 0


def test_a_users_mistake_is_not_tried_again(tmp_path):
    done = run("--nproc-per-node", 2, "--max-restarts", 3, *sh(f"echo x >>{tmp_path}/$RANK; echo wrong >&2; sleep 0.5; exit 2"))
    assert done.returncode == 2
    assert (tmp_path / "0").read_text() == "x\n"
    assert done.stderr.count("wrong\n") == 1  # said once for both


def test_restarts(tmp_path):
    script = (
        f'echo "$MASTER_PORT $TORCHELASTIC_RESTART_COUNT" >>{tmp_path}/$RANK;'
        "[ $TORCHELASTIC_RESTART_COUNT = 1 ] && exit 0; sleep 0.3; [ $RANK = 1 ] && exit 5; sleep 30"
    )
    begin = time.monotonic()
    done = run("--nproc-per-node", 2, "--max-restarts", 3, "--log-dir", tmp_path / "logs", *sh(script))
    assert done.returncode == 0, done.stderr
    assert 1 < time.monotonic() - begin < 6  # the pause
    assert "restart 1 of 3" in done.stderr
    assert root_cause(done)
    ports, counts = zip(*(line.split() for line in (tmp_path / "0").read_text().splitlines()))
    assert counts == ("0", "1")
    assert len(set(ports)) == 2  # a fresh port
    (run_folder,) = (tmp_path / "logs").iterdir()
    assert sorted(f.name for f in run_folder.iterdir()) == ["attempt_0", "attempt_1"]


def test_restarts_end(tmp_path):
    done = run("--max-restarts", 1, *sh(f"echo x >>{tmp_path}/count; exit 5"))
    assert done.returncode == 5
    assert (tmp_path / "count").read_text() == "x\nx\n"


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (1, False), (2, False), (75, True), (137, False)])
def test_slurm_queues_a_saved_job_again(tmp_path, status, requeued):
    """The batch script with a cluster's commands made of sh."""
    for name, text in {"srun": f"echo srun $@; exit {status}", "scontrol": "echo scontrol $@"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = {**BASE, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "42"}
    script = REPOSITORY / "launch" / "slurm.sbatch"
    done = subprocess.run([script, "c.yaml", "--set", "a b=1"], env=env, capture_output=True, text=True, timeout=10)
    assert done.returncode == status
    assert "build/vmla train --config c.yaml --set a b=1\n" in done.stdout
    assert ("scontrol requeue 42" in done.stdout) == requeued
    assert subprocess.run([script], env=env, capture_output=True, timeout=10).returncode != 0
