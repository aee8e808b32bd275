"""vmla-launch with real processes: what workers are started with, what is shown and written, and its command line.

Small programs of sh and Python stand in for ranks. The other test_launch_*.py have failures, signals and several nodes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from launch_job import BASE, LAUNCH, Job, one_line, python, run, sh, wait_for


# ---- what a worker is started with


def test_torchruns_environment(tmp_path):
    done = run("--nproc-per-node", 3, "--max-restarts", 2, *sh(f"env >{tmp_path}/$RANK; cat"), env={"RANK": "77"})
    assert done.returncode == 0, done.stderr
    ports = set()
    for rank in range(3):
        env = dict(line.split("=", 1) for line in (tmp_path / str(rank)).read_text().splitlines() if "=" in line)
        expected = {
            "RANK": rank, "LOCAL_RANK": rank, "ROLE_RANK": rank, "WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 3,
            "ROLE_WORLD_SIZE": 3, "GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1, "ROLE_NAME": "default",
            "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RESTART_COUNT": 0, "TORCHELASTIC_MAX_RESTARTS": 2,
            "TORCHELASTIC_USE_AGENT_STORE": "False", "OMP_NUM_THREADS": 1, "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip
        assert {name: env.get(name) for name in expected} == {k: str(v) for k, v in expected.items()}
        assert env["TORCHELASTIC_RUN_ID"] and env["TORCHELASTIC_ERROR_FILE"].endswith("error.json")
        assert ("VMLA_STORE_LISTEN_FD" in env) == (rank == 0)
        ports.add(env["MASTER_PORT"])
    assert len(ports) == 1 and int(ports.pop()) > 0


def test_no_variable_of_torchruns_is_missing():
    """Whatever the installed torchrun sets, this launcher sets too."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python", "--nproc-per-node", "2"]
    theirs = subprocess.run([*torchrun, "env"], capture_output=True, text=True, env=BASE, timeout=120, check=True)
    ours = run("--nproc-per-node", 2, "--", "env").stdout

    def names(text):
        lines = (line.split("] ", 1)[-1] for line in text.splitlines())
        return {line.split("=", 1)[0] for line in lines if "=" in line} - set(BASE)

    # The one that is left out is what torchrun's agent tells itself.
    expected = names(theirs.stdout) - {"TORCHELASTIC_SIGNALS_TO_HANDLE"}
    assert "RANK" in expected and expected <= names(ours)


def test_the_users_threads_stay():
    done = run("--nproc-per-node", 2, *sh("echo $OMP_NUM_THREADS"), env={"OMP_NUM_THREADS": "3"})
    assert done.stdout == "[0-1] 3\n"
    assert run(*sh("echo x$OMP_NUM_THREADS")).stdout == "[0] x\n"


def test_rank_zero_inherits_the_masters_port(tmp_path):
    program = python(
        tmp_path / "worker.py",
        """
import os, socket
fd = os.environ.get("VMLA_STORE_LISTEN_FD")
if fd is not None:
    inherited = socket.socket(fileno=int(fd))
    assert inherited.getsockname()[1] == int(os.environ["MASTER_PORT"])
    inherited.listen()
    inherited.accept()[0].sendall(b"hello")
else:
    import time
    while True:
        try:
            peer = socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])))
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    print(peer.recv(5).decode(), flush=True)
""",
    )
    done = run("--nproc-per-node", 2, *program)
    assert (done.returncode, done.stdout) == (0, "[1] hello\n"), done.stderr


@pytest.mark.parametrize("inherited", [True, False])
def test_pytorchs_store(tmp_path, inherited):
    """A program that knows only torchrun's contract binds the port itself; ours takes the inherited socket."""
    script = tmp_path / "worker.py"
    script.write_text(
        f"""
import os
from datetime import timedelta
from torch.distributed import TCPStore
rank = int(os.environ["RANK"])
fd = int(os.environ.get("VMLA_STORE_LISTEN_FD", -1)) if {inherited} and rank == 0 else None
store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["WORLD_SIZE"]), rank == 0,
                 timedelta(seconds=60), master_listen_fd=fd)
store.set(f"from {{rank}}", "hello")
print(store.get(f"from {{1 - rank}}").decode(), flush=True)
store.add("done", 1)
while rank == 0 and store.add("done", 0) < 2:
    pass
"""
    )
    done = run("--nproc-per-node", 2, "--", sys.executable, script, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("hello") in (1, 2)


def test_several_jobs_at_once_do_not_meet(tmp_path):
    jobs = [Job("--nproc-per-node", 2, *sh(f"echo $MASTER_PORT >{tmp_path}/{i}; sleep 0.5")) for i in range(6)]
    for job in jobs:
        with job:
            assert job.end().returncode == 0
    assert len({(tmp_path / str(i)).read_text() for i in range(6)}) == 6


def test_cores_are_divided():
    cores = sorted(os.sched_getaffinity(0))
    script = "sleep 0.3; grep Cpus_allowed_list /proc/self/status"
    done = run("--nproc-per-node", len(cores), "--cpu-bind", "cores", *sh(script))
    said = sorted(int(line.split(":")[1]) for line in done.stdout.splitlines())
    assert said == cores, done.stdout + done.stderr


# ---- what is shown and written


def test_lines_that_ranks_share_are_shown_once():
    done = run("--nproc-per-node", 3, *sh("sleep 0.1; echo all; echo all >&2; sleep 0.3; echo rank $RANK; sleep 0.3; printf unfinished"))
    lines = done.stdout.splitlines()
    assert lines[0] == "[0-2] all" and "[0-2] all" in done.stderr.splitlines()
    assert sorted(lines[1:4]) == ["[0] rank 0", "[1] rank 1", "[2] rank 2"]
    assert lines[-1] == "[0-2] unfinished"


def test_log_files(tmp_path):
    done = run("--nproc-per-node", 2, "--log-dir", tmp_path / "logs", *sh("echo out $RANK; printf 'err %s' $RANK >&2"))
    assert done.returncode == 0, done.stderr
    (run_folder,) = (tmp_path / "logs").iterdir()
    for rank in range(2):
        folder = run_folder / "attempt_0" / str(rank)
        assert (folder / "stdout.log").read_text() == f"out {rank}\n"
        assert (folder / "stderr.log").read_text() == f"err {rank}"


def test_much_output_is_complete(tmp_path):
    lines = 20000
    done = run("--nproc-per-node", 2, "--log-dir", tmp_path, *sh(f"seq $((RANK * {lines} + 1)) $((RANK * {lines} + {lines}))"))
    for rank in range(2):
        expected = list(range(rank * lines + 1, rank * lines + lines + 1))
        assert [int(line[4:]) for line in done.stdout.splitlines() if line.startswith(f"[{rank}]")] == expected
        (log,) = tmp_path.glob(f"*/attempt_0/{rank}/stdout.log")
        assert list(map(int, log.read_text().split())) == expected


def test_a_reader_that_stops_does_not_stop_the_workers(tmp_path):
    """Nobody reads the pipe: the worker must come to its end nevertheless."""
    job = Job("--", "sh", "-c", f"seq 100000; touch {tmp_path}/done")
    with job:
        wait_for((tmp_path / "done").exists, 10)
        job.process.stdout.close()
        job.process.stdout = open(os.devnull)
        assert job.process.wait(10) == 0


# ---- its own command line


def test_wrong_input_is_one_line(tmp_path):
    one_line(run(), "no program given")
    one_line(run("--max-restart", 1, "--", "true"), "--max-restart", "valid: ")
    one_line(run("--", "no-such-program"), "no-such-program", "PATH")
    one_line(run("--", tmp_path / "missing"), tmp_path / "missing", "does not exist")
    (tmp_path / "text").write_text("x")
    one_line(run("--", tmp_path / "text"), "no executable")
    one_line(run("--log-dir", tmp_path / "text", "--", "true"), "--log-dir", tmp_path / "text")
    one_line(run("--", "true", env={"TMPDIR": str(tmp_path / "missing")}), "TMPDIR")


def test_help_is_immediate():
    best = 1.0
    for _ in range(10):
        begin = time.perf_counter()
        subprocess.run([str(LAUNCH), "--help"], stdout=subprocess.DEVNULL, check=True)
        best = min(best, time.perf_counter() - begin)
    assert best < 0.02  # 0.003 on an idle machine, process start included
