"""vmla-launch with real processes: small programs of sh and Python stand in for ranks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from program import ENVIRONMENT, REPOSITORY, VMLA

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


def sh(script):
    return ("--", "sh", "-c", script)


def python(path, text):
    path.write_text(text)
    return ("--", sys.executable, "-I", "-S", path)


def own_lines(done):
    """What the launcher itself says."""
    return [line for line in done.stderr.splitlines() if line.startswith("vmla-launch: ")]


def root_cause(done):
    lines = [line for line in own_lines(done) if "root cause: " in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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


# ---- how it ends


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


# ---- signals

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


# ---- several nodes


def node(rank, port, *arguments, nodes=2, env=None):
    meeting = ("--nnodes", nodes, "--node-rank", rank, "--rdzv-endpoint", f"127.0.0.1:{port}")
    return Job(*meeting, *arguments, env=env)


def test_two_nodes_make_one_world(tmp_path):
    port = free_port()
    script = f'echo "$WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $GROUP_RANK $MASTER_PORT" >{tmp_path}/$RANK'
    with node(1, port, "--nproc-per-node", 1, *sh(script)) as second:
        time.sleep(0.3)  # it has to try again
        with node(0, port, "--nproc-per-node", 2, *sh(script)) as first:
            for job in (first, second):
                done = job.end()
                assert done.returncode == 0, done.stderr
    said = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [line[:4] for line in said] == [["3", "0", "2", "0"], ["3", "1", "2", "0"], ["3", "0", "1", "1"]]
    assert len({line[4] for line in said}) == 1


def test_a_failure_anywhere_stops_and_restarts_all_nodes(tmp_path):
    port = free_port()
    script = (
        f"echo x >>{tmp_path}/$RANK;"
        "[ $TORCHELASTIC_RESTART_COUNT = 1 ] && exit 75; sleep 0.3; [ $RANK = 1 ] && { echo oops >&2; exit 9; }; sleep 30"
    )
    with node(0, port, "--max-restarts", 1, *sh(script)) as first, node(1, port, *sh(script)) as second:
        for job in (first, second):
            done = job.end()
            assert done.returncode == 75, done.stderr
            assert "rank 1" in root_cause(done) and "oops" in root_cause(done)
            assert "restart 1 of 1" in done.stderr
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["x\nx\n"] * 2


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_launcher_ends_the_other_node_and_both_can_start_again(tmp_path, killed):
    port = free_port()
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        script = f"touch {folder}/ready$RANK; sleep {1 if attempt else 30}"
        with node(0, port, *sh(script)) as first, node(1, port, *sh(script)) as second:
            wait_for(ready(folder, 2))
            if attempt == 0:
                (first, second)[killed].process.kill()
                done = (second, first)[killed].end(5)
                assert done.returncode == 1
                assert f"launcher of node {killed}" in done.stderr and "is gone" in done.stderr
            else:
                assert [job.end().returncode for job in (first, second)] == [0, 0]
            for job in (first, second):
                job.process.wait()
                job.wait_until_nothing_is_left()


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_silent_launcher_is_lost(tmp_path, stopped):
    port = free_port()
    options = ("--heartbeat-timeout", 2, *sh(f"touch {tmp_path}/ready$RANK; sleep 30"))
    with node(0, port, *options) as first, node(1, port, *options) as second:
        wait_for(ready(tmp_path, 2))
        (first, second)[stopped].process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        done = (second, first)[stopped].end(10)
        assert done.returncode == 1
        assert 1 < time.monotonic() - begin < 4
        assert f"node {stopped}" in done.stderr and "silent for 2 s" in done.stderr


def test_a_signal_to_one_launcher_reaches_all_nodes(tmp_path):
    port = free_port()
    program = (*python(tmp_path / "w.py", WAITER), tmp_path)
    with node(0, port, *program) as first, node(1, port, *program) as second:
        wait_for(ready(tmp_path, 2))
        second.process.send_signal(signal.SIGUSR1)
        for rank, job in enumerate((first, second)):
            done = job.end()
            assert (done.returncode, done.stdout) == (75, f"[{rank}] {int(signal.SIGUSR1)}\n"), done.stderr


# ---- wrong input


def one_line(done, *mentions, status=2):
    assert done.returncode == status, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("vmla-launch: error: "), done.stderr
    for mention in mentions:
        assert str(mention) in lines[0], lines[0]


def test_wrong_input_is_one_line(tmp_path):
    one_line(run(), "no program given")
    one_line(run("--max-restart", 1, "--", "true"), "--max-restart", "valid: ")
    one_line(run("--", "no-such-program"), "no-such-program", "PATH")
    one_line(run("--", tmp_path / "missing"), tmp_path / "missing", "does not exist")
    (tmp_path / "text").write_text("x")
    one_line(run("--", tmp_path / "text"), "no executable")
    one_line(run("--log-dir", tmp_path / "text", "--", "true"), "--log-dir", tmp_path / "text")
    one_line(run("--", "true", env={"TMPDIR": str(tmp_path / "missing")}), "TMPDIR")


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with node(0, port, "--", "true") as job:
            one_line(job.end(), port, "is taken")


def test_a_host_that_does_not_resolve():
    options = ("--nnodes", 2, "--node-rank", 1, "--rdzv-endpoint", "no-such-host.invalid:29400", "--rdzv-timeout", 1)
    one_line(run(*options, "--", "true"), "no-such-host.invalid", "does not resolve")


def test_nobody_answers():
    port = free_port()
    with node(1, port, "--rdzv-timeout", 0.5, "--", "true") as job:
        one_line(job.end(), f"127.0.0.1:{port}", "nobody answers", "--node-rank 0")


def test_a_missing_node():
    port = free_port()
    with (
        node(0, port, "--rdzv-timeout", 1.5, "--", "true", nodes=3) as first,
        node(1, port, "--", "true", nodes=3) as second,
    ):
        one_line(first.end(), "node 2 of 3", "did not come", port)
        one_line(second.end(), "node 2 of 3", "did not come")


def test_two_nodes_with_one_rank(tmp_path):
    port = free_port()
    script = f"touch {tmp_path}/ready$RANK"
    with node(0, port, *sh(script), nodes=3) as first, node(1, port, *sh(script), nodes=3) as second:
        time.sleep(0.3)
        with node(1, port, *sh(script), nodes=3) as twin:
            # Which of the two comes second is a matter of luck.
            wait_for(lambda: twin.process.poll() is not None or second.process.poll() is not None)
            wrong = twin if twin.process.poll() is not None else second
            one_line(wrong.end(), "--node-rank 1 is taken", socket.gethostname())
            with node(2, port, *sh(script), nodes=3) as third:
                for job in (first, second if wrong is twin else twin, third):
                    assert job.end().returncode == 0
    assert ready(tmp_path, 3)()


def test_a_stranger_at_the_port_does_no_harm(tmp_path):
    port = free_port()
    with node(0, port, *sh(f"touch {tmp_path}/ready$RANK")) as first:
        wait_for(lambda: is_open(port))
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with node(1, port, *sh(f"touch {tmp_path}/ready$RANK")) as second:
                assert [first.end().returncode, second.end().returncode] == [0, 0]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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


def test_several_jobs_at_once_do_not_meet(tmp_path):
    jobs = [Job("--nproc-per-node", 2, *sh(f"echo $MASTER_PORT >{tmp_path}/{i}; sleep 0.5")) for i in range(6)]
    for job in jobs:
        with job:
            assert job.end().returncode == 0
    assert len({(tmp_path / str(i)).read_text() for i in range(6)}) == 6


def test_help_is_immediate():
    best = 1.0
    for _ in range(10):
        begin = time.perf_counter()
        subprocess.run([str(LAUNCH), "--help"], stdout=subprocess.DEVNULL, check=True)
        best = min(best, time.perf_counter() - begin)
    assert best < 0.02  # 0.003 on an idle machine, process start included


def test_error_files_are_json(tmp_path):
    """Ours ends a rank with such a file; the launcher reads what any program writes."""
    script = "printf '%s' '{\"message\": \"plain\"}' >$TORCHELASTIC_ERROR_FILE; exit 1"
    done = run("--log-dir", tmp_path, *sh(script))
    assert "plain" in root_cause(done)
    (file,) = tmp_path.glob("*/attempt_0/0/error.json")
    assert json.loads(file.read_text()) == {"message": "plain"}
