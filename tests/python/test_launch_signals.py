"""Signals to vmla-launch: every worker hears them once, and nothing is left when the launcher itself is killed."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from launch_job import BASE, LAUNCH, WAITER, Job, python, ready, sh, wait_for
from test_no_gpu import shared_library


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_signals_reach_every_worker_once(tmp_path, number):
    with Job("--nproc-per-node", 2, "--max-restarts", 3, *python(tmp_path / "w.py", WAITER), tmp_path) as job:
        wait_for(ready(tmp_path, 2))
        job.process.send_signal(number)
        if number != signal.SIGINT:
            time.sleep(0.1)
            job.process.send_signal(number)
        done = job.end()
        assert (done.returncode, done.stdout) == (75, f"[0-1] {int(number)}\n"), done.stderr
        job.wait_until_nothing_is_left()


def test_a_second_interrupt_kills_at_once(tmp_path):
    script = f'trap "" INT TERM; touch {tmp_path}/ready$RANK; while true; do sleep 0.05; done'
    with Job("--nproc-per-node", 2, *sh(script)) as job:
        wait_for(ready(tmp_path, 2))
        job.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert job.process.poll() is None
        begin = time.monotonic()
        job.process.send_signal(signal.SIGINT)
        assert job.end().returncode == 130
        assert time.monotonic() - begin < 2
        job.wait_until_nothing_is_left()


def test_a_program_without_a_handler_ends_with_the_signal(tmp_path):
    with Job("--max-restarts", 3, *sh(f"touch {tmp_path}/ready0; sleep 30")) as job:
        wait_for(ready(tmp_path, 1))
        job.process.terminate()
        done = job.end()
        assert done.returncode == 128 + signal.SIGTERM
        assert "restart" not in done.stderr and "root cause" not in done.stderr


def test_an_ignored_hangup_stays_ignored(tmp_path):
    """nohup vmla-launch ..."""
    script = f"touch {tmp_path}/ready0; sleep 0.5; echo survived"
    process = subprocess.Popen(
        ["nohup", str(LAUNCH), *sh(script)], env=BASE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(ready(tmp_path, 1))
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "[0] survived\n")


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.3])
def test_when_the_launcher_is_killed_nothing_is_left(tmp_path, delay):
    """Nor what the workers have started, nor the temporary folder."""
    script = f"trap '' TERM HUP; sleep 300 & sh -c 'sleep 301 & wait' & touch {tmp_path}/ready$RANK; wait"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Job("--nproc-per-node", 3, *sh(script), env={"TMPDIR": str(scratch)}) as job:
        if delay:
            wait_for(ready(tmp_path, 3))
        time.sleep(delay)
        job.process.kill()
        job.process.wait()
        job.wait_until_nothing_is_left()
        if delay:  # the guardian comes a moment after the folder
            assert not list(scratch.iterdir())


# A fork() after which the parent, at its DIE_AT-th call, leaves the child time for a start, and is killed.
DIES_AFTER_FORK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
pid_t fork(void) {
  static int calls;
  pid_t (*original)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
  unsetenv("LD_PRELOAD");
  const pid_t child = original();
  if (child > 0 && ++calls == atoi(getenv("DIE_AT"))) {
    usleep(100000);
    kill(getpid(), SIGKILL);
  }
  return child;
}
"""


@pytest.fixture(scope="module")
def dies_after_fork(tmp_path_factory):
    return shared_library(tmp_path_factory.mktemp("fork") / "dies_after_fork.so", DIES_AFTER_FORK, "-ldl")


@pytest.mark.parametrize("fork", [1, 2, 3, 4])  # of the guardian, then of each worker
def test_a_launcher_that_is_killed_right_after_a_fork_leaves_nothing(fork, dies_after_fork):
    """A worker tells the guardian of itself: the launcher does not get to."""
    environment = {"LD_PRELOAD": str(dies_after_fork), "DIE_AT": str(fork)}
    with Job("--nproc-per-node", 3, *sh("sleep 300 & sleep 301; wait"), env=environment) as job:
        assert job.process.wait(20) == -signal.SIGKILL
        job.wait_until_nothing_is_left()
