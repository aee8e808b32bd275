"""The arithmetic of bench/scaling.py, on plans made up here and on one that the program counted."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from program import ENVIRONMENT, REPOSITORY, vmla
from tiny_stage import CONFIGS

sys.path.insert(0, str(REPOSITORY / "bench"))

from scaling import Machine, cycle_flops, estimate  # noqa: E402

MACHINE = Machine(flops=1e15, nvlink=100e9, infiniband=10e9, hop=0.0, hidden=0.5)
NOTHING = {"bytes": 0, "collectives": {}, "tokens": {}}


def sends(tokens: dict | None = None, **collectives) -> dict:
    def entries(found: dict) -> dict:
        return {kind: {"bytes": size, "calls": calls} for kind, (size, calls) in found.items()}

    return {
        "bytes": sum(size for size, _ in collectives.values()),
        "collectives": entries(collectives),
        "tokens": entries(tokens or {}),
    }


def plan(gpus: int, shard: int, sent: dict, **changed) -> dict:
    return {
        "gpus": gpus,
        "shard_size": shard,
        "sequence_parallel_size": 1,
        "gradient_accumulation": "local",
        "recompute": "none",
        "cycle": {"steps": 1, "sent": sent["bytes"]},
        "roles": {"generator": {"training": "trained"}, "teacher": {"training": "frozen"}},
        "updates": {"generator": {"sent": sent, "sent_between": NOTHING}},
        "flops": {
            "step": gpus * 3e15,
            "phases": [
                {"phase": "forward", "role": "generator", "flops": gpus * 1e15},
                {"phase": "backward", "role": "generator", "flops": gpus * 2e15},
                {"phase": "forward", "role": "teacher", "flops": 0},
            ],
        },
    } | changed


def test_one_gpu_computes_and_sends_nothing():
    alone = estimate(plan(1, 1, NOTHING), MACHINE)
    assert alone.compute == 3.0 and alone.transfers == alone.overlapped == 0 and alone.efficiency == 1
    assert cycle_flops(plan(1, 1, NOTHING, recompute="block")) == 4e15
    assert estimate(plan(1, 1, NOTHING), MACHINE, step_seconds=7.0).compute == 7.0


def test_links_follow_from_where_a_group_lies():
    sent = sends(all_gather=(20e9, 10), reduce_scatter=(10e9, 10))
    assert estimate(plan(8, 8, sent), MACHINE).transfers == pytest.approx(0.3)
    assert estimate(plan(16, 16, sent), MACHINE).transfers == pytest.approx(3.0)
    # Two blocks of eight: what is gathered stays in a node, the sum over them crosses.
    both = sends(all_gather=(20e9, 10), reduce_scatter=(10e9, 10), all_reduce=(5e9, 10))
    assert estimate(plan(16, 8, both), MACHINE).transfers == pytest.approx(0.3 + 0.5)
    # A ring that enters a node once spreads its bytes over eight adapters.
    rings = Machine(flops=1e15, nvlink=100e9, infiniband=10e9, hop=0.0, node_rings=True)
    assert estimate(plan(16, 16, sent), rings).transfers == pytest.approx(30e9 / 8 / 10e9)
    slow = Machine(flops=1e15, nvlink=100e9, infiniband=10e9, hop=1e-3)
    assert estimate(plan(8, 8, sent), slow).transfers == pytest.approx(0.3 + 20 * math.log2(8) * 1e-3)


def test_what_overlaps_hides_under_a_share_of_the_computing():
    little = sends(all_gather=(20e9, 10), reduce_scatter=(10e9, 10))
    guess = estimate(plan(8, 8, little), MACHINE)
    assert guess.overlapped == pytest.approx(2 * 0.3 / 20)  # the first and the last collective
    assert guess.exposed_efficiency == pytest.approx(3.0 / 3.3)
    much = sends(all_gather=(200e9, 10), reduce_scatter=(100e9, 10))
    assert estimate(plan(8, 8, much), MACHINE).overlapped == pytest.approx(3.0 - 0.5 * 3.0)
    # Scattered gradients are waited for; so are tokens.
    scattered = estimate(plan(8, 8, little, gradient_accumulation="scattered"), MACHINE)
    assert scattered.overlapped == pytest.approx(0.1 + 2 * 0.2 / 20)
    tokens = sends({"all_gather": (4e9, 4)}, all_gather=(24e9, 14), reduce_scatter=(10e9, 10))
    shared = estimate(plan(8, 8, tokens, sequence_parallel_size=2), MACHINE)
    assert shared.overlapped == pytest.approx(0.04 + 2 * 0.3 / 20)


def test_a_cycle_adds_the_steps_between():
    first, between = sends(all_gather=(30e9, 10)), sends(all_gather=(10e9, 5))
    cycle = plan(8, 8, first, cycle={"steps": 5, "sent": 70e9})
    cycle["updates"]["generator"]["sent_between"] = between
    guess = estimate(cycle, MACHINE)
    assert guess.transfers == pytest.approx(0.7) and guess.compute == 15.0 and guess.sent == 70e9
    assert guess.overlapped == pytest.approx(2 * 5 * 0.7 / 30)


def test_the_bench_says_that_it_is_a_model(tmp_path):
    file, rows = tmp_path / "memory.json", tmp_path / "rows.json"
    sharded = ["--set", "distributed.sharding=full", "--set", "distributed.sequence_parallel_size=2"]
    vmla("analyze", "memory", "--config", CONFIGS / "dmd.yaml", "--gpus", "4", "--json", file, *sharded)
    command = [sys.executable, REPOSITORY / "bench" / "scaling.py", "--plan", file, "--json", rows, "--gpu", "h200"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MODEL, not a measurement")
    (row,) = json.loads(rows.read_text())["rows"]
    counted = json.loads(file.read_text())
    assert row["sent_bytes"] == counted["cycle"]["sent"] > 0 and row["steps"] == 5
    assert 0 < row["model_overlapped_seconds"] <= row["model_transfer_seconds"]
    assert 0 < row["model_efficiency_exposed"] <= row["model_efficiency"] < 1
