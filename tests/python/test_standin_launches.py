"""How many kernels a GPU starts for one layer in one pass of a streamed video, counted on the stand-in accelerator.

A pass of few tokens is bound by the host that starts kernels, so their number is kept in tests/standin/launches.json.
After a change: VMLA_WRITE_LAUNCHES=1 pytest tests/python/test_standin_launches.py, and look at the difference.
"""

from __future__ import annotations

import collections
import json
import os
import sys
from pathlib import Path

import pytest
from program import REPOSITORY
from standin import PROGRAM, run_standin, succeeded

sys.path.append(str(REPOSITORY / "tests" / "standin"))
import report  # noqa: E402

TABLE = REPOSITORY / "tests" / "standin" / "launches.json"
# Heads as Wan's have them; the latent is wide enough that keys and values are rebuilt from it.
WAN_HEADS = {
    "dim": 256,
    "ffn_dim": 512,
    "num_heads": 2,
    "q_lora_rank": 128,
    "kv_lora_rank": 192,
    "qk_nope_head_dim": 96,
    "qk_rope_head_dim": 32,
    "v_head_dim": 128,
}
PASSES = 5  # four denoising steps, and the pass that fills the cache


@pytest.fixture(scope="module")
def symbols():
    return report.Symbols(PROGRAM.with_name("vmla-core"))


def counted(
    folder: Path, symbols, attention: str, layers: int, chunks: int
) -> tuple[collections.Counter, collections.Counter]:
    """Kernels by name, and what the host waited for by kind, of a whole video."""
    trace = folder / f"{attention}_{layers}_{chunks}"
    sizes = [word for key, value in WAN_HEADS.items() for word in ("--set", f"model.{key}={value}")]
    command = [PROGRAM, "bench", "stream", "--config", "configs/tiny/dmd.yaml", "--set", "train.device=cuda"]
    command += ["--set", "train.precision=bf16", "--set", f"model.attention={attention}", *sizes]
    command += ["--set", f"model.num_layers={layers}", "--set", "data.clip_shape=[3,12,16,16]"]
    command += ["--chunks", chunks, "--repeats", 1, "--warm-up", 0]
    succeeded(run_standin(command, trace=trace))
    launches, waits = collections.Counter(), collections.Counter()
    for file in folder.glob(f"{trace.name}.*"):
        for line in file.read_text().splitlines():
            count, _, _, kind, what, *frames = line.split()
            if kind == "launch":
                launches[what] += int(count)
            # The machine's rates are measured as often as the clock allows.
            elif not any("doctor::fastest" in symbols.name(int(frame, 16)) for frame in frames):
                waits[kind] += int(count)
    assert launches
    return launches, waits


@pytest.mark.parametrize("attention", ["mla", "dense"])
def test_launches_of_a_layer_in_a_pass(tmp_path, symbols, attention):
    found = {(n, c): counted(tmp_path, symbols, attention, n, c) for n in (1, 2) for c in (4, 5)}
    # What the fifth chunk, whose window is full, has more of with a second layer.
    chunk = {n: found[n, 5][0] - found[n, 4][0] for n in (1, 2)}
    layer = {name: count / PASSES for name, count in sorted((chunk[2] - chunk[1]).items())}
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    if os.environ.get("VMLA_WRITE_LAUNCHES"):
        row = {**layer, "all": round(sum(layer.values()), 1)}
        TABLE.write_text(json.dumps(table | {attention: row}, indent=2, sort_keys=True) + "\n")
        return
    assert {**layer, "all": round(sum(layer.values()), 1)} == table[attention]
    # Of what a chunk makes the host wait for, the benchmark's own clock is all.
    assert found[2, 5][1] - found[2, 4][1] == {"sync": 1}
