"""vmla-launch as a process: a job that the tests start, watch and clean up after, and small programs for its ranks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from program import ENVIRONMENT, VMLA

LAUNCH = VMLA.with_name("vmla-launch")
# What a worker must not inherit from whoever runs the tests.
BASE = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(("TORCH", "OMP_", "SLURM", "VMLA_"))}


def hear_signals():
    """A process that was started in the background ignores some signals, and its children inherit that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Job:
    """A launcher that runs, and everything that it ever started, by a mark in the environment."""

    def __init__(self, *arguments, env=None):
        self.mark = f"VMLA_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            [str(LAUNCH), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**BASE, **(env or {}), name: value},
            preexec_fn=hear_signals,
        )

    def end(self, timeout=20):
        """Waits for the end; returns the completed process."""
        out, err = self.process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)

    def left(self):
        """The pids that carry the mark, the launcher and its guardian among them."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes() and not is_zombie(folder):
                    found.append(int(folder.name))
            except OSError:
                pass
        return found

    def wait_until_nothing_is_left(self, seconds=3):
        wait_for(lambda: not self.left(), seconds, lambda: f"left: {[command(pid) for pid in self.left()]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def is_zombie(folder):
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def wait_for(condition, seconds=5, why=lambda: ""):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s. {why()}"
        time.sleep(0.01)


def run(*arguments, env=None, timeout=20):
    with Job(*arguments, env=env) as job:
        done = job.end(timeout)
        job.wait_until_nothing_is_left()
        return done


def node(rank, port, *arguments, nodes=2, env=None):
    meeting = ("--nnodes", nodes, "--node-rank", rank, "--rdzv-endpoint", f"127.0.0.1:{port}")
    return Job(*meeting, *arguments, env=env)


def sh(script):
    return ("--", "sh", "-c", script)


def python(path, text):
    path.write_text(text)
    return ("--", sys.executable, "-I", "-S", path)


WAITER = """
import os, signal, sys, time
got = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, lambda n, frame: got.append(n))
open(sys.argv[1] + "/ready" + os.environ["RANK"], "w").close()
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print(*got, flush=True)
sys.exit(75)
"""


def ready(folder, ranks):
    return lambda: all((folder / f"ready{rank}").exists() for rank in range(ranks))


def own_lines(done):
    """What the launcher itself says."""
    return [line for line in done.stderr.splitlines() if line.startswith("vmla-launch: ")]


def root_cause(done):
    lines = [line for line in own_lines(done) if "root cause: " in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def one_line(done, *mentions, status=2):
    assert done.returncode == status, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("vmla-launch: error: "), done.stderr
    for mention in mentions:
        assert str(mention) in lines[0], lines[0]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
