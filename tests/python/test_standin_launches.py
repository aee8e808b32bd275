"""How many kernels a GPU starts for one layer in one pass of a streamed video, counted on the stand-in accelerator.

A pass of few tokens is bound by the host that starts kernels, so their number is kept in tests/standin/launches.json.
After a change: VMLA_WRITE_LAUNCHES=1 pytest tests/python/test_standin_launches.py, and look at the difference.
"""

from __future__ import annotations

import collections
import dataclasses
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


@dataclasses.dataclass
class Video:
    """Kernels by name, those that were recorded for a graph, and what the host waited for by kind."""

    launches: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    recorded: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    waits: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def counted(folder: Path, symbols, attention: str, layers: int, chunks: int, *settings: str) -> Video:
    trace = folder / f"{attention}_{layers}_{chunks}"
    sizes = [word for key, value in WAN_HEADS.items() for word in ("--set", f"model.{key}={value}")]
    command = [PROGRAM, "bench", "stream", "--config", "configs/tiny/dmd.yaml", "--set", "train.device=cuda"]
    command += ["--set", "train.precision=bf16", "--set", f"model.attention={attention}", *sizes]
    command += ["--set", f"model.num_layers={layers}", "--set", "data.clip_shape=[3,12,16,16]"]
    command += ["--chunks", chunks, "--repeats", 1, "--warm-up", 0]
    command += [word for setting in settings for word in ("--set", setting)]
    succeeded(run_standin(command, trace=trace))
    video = Video()
    for file in folder.glob(f"{trace.name}.*"):
        for line in file.read_text().splitlines():
            count, _, _, kind, what, *frames = line.split()
            if kind == "launch":
                video.launches[what] += int(count)
            elif kind == "recorded":
                video.recorded[what] += int(count)
            # The machine's rates are measured as often as the clock allows.
            elif not any("doctor::fastest" in symbols.name(int(frame, 16)) for frame in frames):
                video.waits[kind] += int(count)
    assert video.launches
    return video


@pytest.mark.parametrize("attention", ["mla", "dense"])
def test_launches_of_a_layer_in_a_pass(tmp_path, symbols, attention):
    found = {(n, c): counted(tmp_path, symbols, attention, n, c) for n in (1, 2) for c in (4, 5)}
    # What the fifth chunk, whose window is full, has more of with a second layer.
    chunk = {n: found[n, 5].launches - found[n, 4].launches for n in (1, 2)}
    layer = {name: count / PASSES for name, count in sorted((chunk[2] - chunk[1]).items())}
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    if os.environ.get("VMLA_WRITE_LAUNCHES"):
        row = {**layer, "all": round(sum(layer.values()), 1)}
        TABLE.write_text(json.dumps(table | {attention: row}, indent=2, sort_keys=True) + "\n")
        return
    assert {**layer, "all": round(sum(layer.values()), 1)} == table[attention]
    # Of what a chunk makes the host wait for, the benchmark's own clock is all.
    assert found[2, 5].waits - found[2, 4].waits == {"sync": 1}


@pytest.mark.parametrize("cache", ["auto", "int8"])
def test_a_replayed_chunk_starts_as_many_kernels_for_any_depth(tmp_path, symbols, cache):
    settings = ["sample.cuda_graph=true", f"sample.kv_cache_dtype={cache}"]
    found = {(n, c): counted(tmp_path, symbols, "mla", n, c, *settings) for n in (1, 2) for c in (8, 9)}
    chunk = {n: found[n, 9].launches - found[n, 8].launches for n in (1, 2)}
    assert chunk[1] == chunk[2]
    assert chunk[1]["graph"] == 2
    assert sum(chunk[1].values()) <= 18, chunk[1]
    assert found[2, 9].waits - found[2, 8].waits == {"sync": 1}
    # What is recorded, once, is what a chunk is otherwise computed by.
    assert found[2, 9].recorded == found[2, 8].recorded
    usual = counted(tmp_path, symbols, "mla", 2, 6, settings[1]).launches - counted(tmp_path, symbols, "mla", 2, 5, settings[1]).launches
    for name in ("aten::addmm", "flash", "vmla"):
        assert found[2, 9].recorded[name] == usual[name] > 0
