"""Jobs of one machine meet on its loopback interface, and nowhere else."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from launch_job import free_port
from program import ENVIRONMENT, REPOSITORY, VMLA
from ranks import launch_command
from tiny_stage import train_arguments

# A network of its own, whose loopback interface has no IPv4 address.
ONLY_IPV6 = 'ip link set lo up && ip addr del 127.0.0.1/8 dev lo && exec "$@"'


def listeners(port):
    """The addresses on which somebody listens at the port, as the kernel writes them."""
    lines = [line.split() for file in ("tcp", "tcp6") for line in Path(f"/proc/net/{file}").read_text().splitlines()]
    local = [line[1].split(":") for line in lines[1:] if line[3] == "0A"]
    return [address for address, number in local if int(number, 16) == port]


def test_without_a_launcher_the_store_listens_where_master_addr_says(tmp_path, dataset):
    port = free_port()
    where = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    rank = subprocess.Popen(
        [str(VMLA), *map(str, train_arguments("pretrain", tmp_path / "run", dataset))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT | where,
        cwd=REPOSITORY,
    )
    try:
        deadline = time.monotonic() + 20
        while not listeners(port):
            assert rank.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert listeners(port) == ["0100007F"]
    finally:
        rank.kill()
        rank.wait()


def test_a_loopback_without_ipv4_is_enough(tmp_path, dataset):
    unshare = ["unshare", "--map-root-user", "--net", "sh", "-c", ONLY_IPV6, "sh"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("the system makes no network namespaces for this user")
    arguments = train_arguments("pretrain", tmp_path / "run", dataset, train__micro_batch_size=2)
    done = subprocess.run(
        [*unshare, *launch_command(2, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
