"""What every peer does alike: arguments, threads, torch.compile with fixed shapes, and times of its steady state."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any, Callable


def arguments(about: str) -> argparse.Namespace:
    """Of a peer. Called before torch loads, whose threads it chooses; `spec` is what the file holds."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=lambda path: json.load(open(path)), help="JSON file, written by the benchmark")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--units", type=int, default=50, help="measured")
    parser.add_argument("--warmup", type=int, default=10, help="units before them")
    parser.add_argument("--exact-cuts", action="store_true", help="leave out what nobody reads")
    parser.add_argument("--compile", action="store_true", help="the transformer through torch.compile")
    parser.add_argument("--check", help="draws, under the names of `vmla step`: print the losses on them, and stop")
    args = parser.parse_args()
    # Idle OpenMP threads sleep, so that a peer running beside is not slowed by spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return args


def compiled(function: Callable) -> Callable:
    """Compiled once for each set of shapes. Without the limits raised, the ninth would silently run eagerly."""
    import torch
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 256
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    torch._inductor.config.compile_threads = 1  # no processes of a compiler beside what is measured
    return torch.compile(function, dynamic=False)


def packed(x):
    """A copy whose strides follow from its shape, also where an axis is of one: a graph is for strides as well."""
    import torch

    return x.clone(memory_format=torch.contiguous_format)


def compiled_graphs() -> int:
    if "torch._dynamo.utils" not in sys.modules:
        return 0
    return sys.modules["torch._dynamo.utils"].counters["stats"]["unique_graphs"]


def measured(unit: Callable[[int], Any], warmup: int, units: int) -> tuple[list, dict]:
    """What unit(0), unit(1), ... returned, and wall and processor milliseconds of those after the warm-up."""
    results, wall_ms, processor, graphs = [], [], 0.0, 0
    for i in range(warmup + units):
        if i == warmup:
            graphs, processor = compiled_graphs(), time.process_time()
        begin = time.perf_counter()
        results.append(unit(i))
        wall_ms.append(1000 * (time.perf_counter() - begin))
    processor = time.process_time() - processor
    if compiled_graphs() != graphs:
        sys.exit(f"{compiled_graphs() - graphs} graphs were compiled in what is measured: take a longer warm-up")
    steady = wall_ms[warmup:]
    times = {"median_ms": statistics.median(steady), "mean_ms": statistics.mean(steady)}
    return results, times | {"cpu_ms": 1000 * processor / units, "graphs": graphs}
