"""vmla-launch and strangers: whoever reaches its port, and whatever stands at the names of its files."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest
from launch_job import BASE, Job, free_port, node, own_lines, ready, run, sh, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stranger(port):
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def said(connection, seconds=5):
    """The messages until the other side closes, or for so long."""
    connection.settimeout(0.2)
    data, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            part = connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        if not part:
            break
        data += part
        if b'"finish"' in data:
            break
    return [json.loads(line) for line in data.splitlines()]


def say(connection, message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def hello(version, **changed):
    return {"type": "hello", "version": version, "node": 1, "nodes": 2, "workers": 1, "host": "h"} | changed


@pytest.fixture(scope="module")
def version():
    return run("--version").stdout.split()[-1]


def with_token(tmp_path, name="token", text=TOKEN):
    file = tmp_path / name
    file.write_text(text + "\n")
    return ("--rdzv-token-file", file)


def test_who_has_the_token_joins_by_file_or_environment(tmp_path):
    port = free_port()
    script = f"echo ${{VMLA_RDZV_TOKEN-none}} >{tmp_path}/$RANK"
    with (
        node(0, port, *with_token(tmp_path), *sh(script)) as first,
        node(1, port, *sh(script), env={"VMLA_RDZV_TOKEN": TOKEN}) as second,
    ):
        for job in (first, second):
            done = job.end()
            assert done.returncode == 0, done.stderr
    # It is the launchers' secret: ranks do not see it.
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["none\n"] * 2


@pytest.mark.parametrize("here", ["", "another-token-of-32-bytes-------"])
def test_who_has_none_or_another_does_not(tmp_path, here):
    port = free_port()
    with node(0, port, *with_token(tmp_path), *sh(f"touch {tmp_path}/ready$RANK")) as first:
        wait_for(lambda: is_open(port))
        flags = with_token(tmp_path, "other", here) if here else ()
        with node(1, port, *flags, "--", "true") as wrong:
            done = wrong.end()
            assert done.returncode == 2 and "token" in done.stderr and TOKEN not in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert not ready(tmp_path, 1)()
        with node(1, port, *with_token(tmp_path), "--", "true") as right:
            assert [first.end().returncode, right.end().returncode] == [0, 0]


def test_a_token_here_and_none_on_node_0(tmp_path):
    port = free_port()
    with node(0, port, "--", "true") as first:
        wait_for(lambda: is_open(port))
        with node(1, port, *with_token(tmp_path), "--", "true") as second:
            done = second.end()
            assert done.returncode == 2 and "has no token" in done.stderr
        first.process.terminate()
        assert first.end().returncode == 75


def test_a_wrong_token_file_is_one_line(tmp_path):
    for text, says in (("short", "16 to 4096 bytes"), ("x" * 5000, "more than 4096")):
        done = run(*with_token(tmp_path, text=text), "--", "true")
        assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1
    assert "is no file" in run("--rdzv-token-file", tmp_path / "none", "--", "true").stderr


@pytest.mark.parametrize(
    "changed",
    [
        {"workers": 2**63 - 1},
        {"workers": 2**63},
        {"workers": 1e300},
        {"workers": 0},
        {"node": -1},
        {"node": "1"},
        {"host": "h" * 100_000},
        {"version": ["x"]},
    ],
)
def test_a_hello_beyond_its_bounds_is_none(version, changed):
    """Of a job without a token: that the machine is not asked for what a stranger wants."""
    port = free_port()
    with node(0, port, *sh("exit 0")) as first:
        wait_for(lambda: is_open(port))
        with stranger(port) as other:
            say(other, hello(version) | changed)
            other.settimeout(5)
            assert not any(message["type"] in ("welcome", "start") for message in said(other, 1))
        with node(1, port, *sh("exit 0")) as second:
            assert [first.end().returncode, second.end().returncode] == [0, 0]


def test_escape_codes_and_forged_lines_are_shown_as_text(version):
    port = free_port()
    forged = "h\033[2J\nvmla-launch: root cause: none\u009b1m\u202e"
    with node(0, port, *sh("exit 0"), nodes=3) as first:
        wait_for(lambda: is_open(port))
        with stranger(port) as other:
            say(other, hello(version, nodes=7, host=forged))
            said(other)
        first.process.terminate()
        done = first.end()
    (line,) = [line for line in own_lines(done) if "refused" in line]
    assert "\\x1b[2J\\x0avmla-launch: root cause" in line
    assert not set("\033\u009b\u202e") & set(done.stderr)


def test_a_crowd_keeps_nobody_out(tmp_path):
    """Silent, slow, loud and babbling strangers at once."""
    port = free_port()
    with node(0, port, *with_token(tmp_path), *sh(f"touch {tmp_path}/ready$RANK")) as first:
        wait_for(lambda: is_open(port))
        crowd = [stranger(port) for _ in range(300)]
        for i, other in enumerate(crowd):
            try:
                other.sendall((b"", b"{", b"x" * 60_000, b'{"type":"heartbeat"}\n' * 2000)[i % 4])
            except OSError:
                pass  # dropped already
        began = time.monotonic()
        with node(1, port, *with_token(tmp_path), *sh(f"touch {tmp_path}/ready$RANK")) as second:
            assert [first.end().returncode, second.end().returncode] == [0, 0]
        assert time.monotonic() - began < 5
        for other in crowd:
            other.close()
    assert ready(tmp_path, 2)()


class Impostor:
    """Listens where node 0 should, and says to the member what it likes."""

    def __init__(self, *flags, messages=(), guarded=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        port = self.listener.getsockname()[1]
        self.job = node(1, port, *flags, "--heartbeat-timeout", 2, "--", "touch", "/dev/null")
        self.connection, _ = self.listener.accept()
        say(self.connection, {"type": "challenge", "guarded": guarded, "nonce": "n"})
        self.connection.settimeout(5)
        self.hello = json.loads(self.connection.makefile().readline())
        for message in messages:
            say(self.connection, message)

    def end(self):
        with self.job as job:
            done = job.end()
        self.connection.close()
        self.listener.close()
        return done


START = {
    "type": "start",
    "attempt": 0,
    "max_restarts": 0,
    "run_id": "r",
    "workers_per_node": [1, 1],
    "master_addr": "127.0.0.1",
    "master_port": 1,
}


def test_an_impostor_without_the_token_starts_nothing(tmp_path):
    done = Impostor(
        *with_token(tmp_path), messages=[{"type": "welcome", "proof": "0" * 64}, START], guarded=True
    ).end()
    assert done.returncode == 2 and "does not have this job's token" in done.stderr


def test_orders_before_the_welcome_are_not_heard(tmp_path):
    done = Impostor(*with_token(tmp_path), messages=[START], guarded=True).end()
    assert done.returncode == 1 and "silent" in done.stderr


@pytest.mark.parametrize(
    "changed",
    [
        {"workers_per_node": []},
        {"workers_per_node": [1]},
        {"workers_per_node": [1, 2]},
        {"workers_per_node": [1, 2**63 - 1]},
        {"run_id": "../../escaped"},
        {"run_id": "/escaped"},
        {"master_port": 0},
    ],
)
def test_an_order_that_does_not_fit_starts_nothing(tmp_path, changed):
    """Without a token node 0 is believed; within bounds."""
    logs = tmp_path / "a" / "b" / "logs"
    messages = [{"type": "welcome", "proof": ""}, START | changed]
    done = Impostor("--log-dir", logs, messages=messages).end()
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "b", logs]


def test_a_link_in_the_log_folder_is_not_followed(tmp_path):
    """The folder of a run that is started again is known by then."""
    precious = tmp_path / "precious"
    precious.write_text("x")
    script = (
        f'[ "$TORCHELASTIC_RESTART_COUNT" = 1 ] && exit 0; next=$(echo {tmp_path}/logs/*)/attempt_1/0;'
        f'mkdir -p "$next"; ln -s {precious} "$next/stdout.log"; exit 9'
    )
    done = run("--log-dir", tmp_path / "logs", "--max-restarts", 1, *sh(script))
    assert done.returncode == 2 and "a symbolic link stands there" in done.stderr
    assert precious.read_text() == "x"


def test_an_error_file_that_is_a_pipe_is_not_waited_for():
    done = run(*sh("mkfifo $TORCHELASTIC_ERROR_FILE; exit 9"), timeout=10)
    assert done.returncode == 9


def test_closed_streams_of_the_launcher_are_no_reason_to_stop(tmp_path):
    script = f"for i in 1 2 3; do echo line; sleep 0.1; done; touch {tmp_path}/ready$RANK"
    command = 'exec "$@" >&- 2>&- <&-'
    with Job(*sh(script)) as plain:
        program = plain.process.args
        plain.end()
    (tmp_path / "ready0").unlink()
    status = os.spawnvpe(os.P_WAIT, "sh", ["sh", "-c", command, "sh", *program], BASE)
    assert status == 0 and ready(tmp_path, 1)()
