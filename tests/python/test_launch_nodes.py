"""vmla-launch on several nodes, all on this machine: how they meet, end and fail together, and who may not join."""

from __future__ import annotations

import signal
import socket
import time

import pytest
from launch_job import WAITER, free_port, node, one_line, python, ready, root_cause, run, sh, wait_for


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


# ---- who may not join, or does not come


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
