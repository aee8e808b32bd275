#!/usr/bin/env python3
"""What the host waited for and copied on the stand-in accelerator: report.py TRACE... PROGRAM [--steps]

TRACE is what STANDIN_TRACE wrote, PROGRAM the vmla-core that ran. Prints a line for each place in the program: phase, kind,
count a step, bytes, and the functions that led to it, the innermost first. --steps: counts of each step by phase and kind.
"""

import bisect
import collections
import json
import re
import subprocess
import sys
from pathlib import Path

# The host waits for these; the others it queues.
WAITS = ("item", "d2h", "h2d", "sync", "waiting_op")
# What a chain of calls is part of: the first that fits, by functions with a symbol of their own.
PHASES = [
    ("CheckpointWriter", "save"), ("StageSaver", "save"), ("HostCopy", "save"), ("StepLog", "log"),
    ("validate", "validation"), ("VideoSampler", "samples"), ("RankObserver", "ranks"), ("place_inputs", "data"),
    ("StageData", "data"), ("UpdateReduction", "report"), ("UpdateReport", "report"), ("AdamW", "optimizer"),
    ("update_average", "average"), ("Objective", "objective"), ("evaluate", "objective"), ("PlayerUpdate", "update"),
]


class Symbols:
    """The functions of a program by address."""

    def __init__(self, program):
        listing = subprocess.run(["nm", "-C", "--defined-only", program], capture_output=True, text=True, check=True)
        found = []
        for line in listing.stdout.splitlines():
            address, kind, name = line.split(" ", 2)
            if kind in "tTwWuU":
                found.append((int(address, 16), name))
        self.table = sorted(found)
        self.starts = [address for address, _ in self.table]

    def name(self, address):
        name = self.table[bisect.bisect(self.starts, address) - 1][1]
        name = name.replace("vmla::", "").replace("(anonymous namespace)::", "")
        name = re.sub(r"\[clone[^]]*\]", "", name)
        return re.sub(r"\(.*", "", re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", name))).strip() or name


def phase_of(names):
    if names and any("backward" in name.lower() for name in names) and not any("PlayerUpdate" in n for n in names):
        return "backward"
    return next((phase for mark, phase in PHASES if any(mark in name for name in names)), "other")


def read(traces, symbols):
    """Rows (step, kind, what, phase, chain, count, bytes); step 0 is what happened between steps."""
    for trace in traces:
        for line in Path(trace).read_text().splitlines():
            count, size, step, kind, what, *frames = line.split(" ")
            names = [symbols.name(int(frame, 16)) for frame in frames]
            yield int(step), kind, what, phase_of(names), " < ".join(names[:5]), int(count), int(size)


def waits_of_step(rows, step):
    """{"phase kind": count} of what the host waited for in a step."""
    sums = collections.Counter()
    for of, kind, _, phase, _, count, _ in rows:
        if of == step and kind in WAITS:
            sums[f"{phase} {kind}"] += count
    return dict(sorted(sums.items()))


def main():
    arguments = [word for word in sys.argv[1:] if word != "--steps"]
    if len(arguments) < 2:
        sys.exit(__doc__)
    rows = list(read(arguments[:-1], Symbols(arguments[-1])))
    steps = sorted({row[0] for row in rows if row[0] > 0})
    if "--steps" in sys.argv:
        print(json.dumps({step: waits_of_step(rows, step) for step in steps}, indent=2))
        return
    sums = collections.defaultdict(lambda: [0, 0])
    for step, kind, what, phase, chain, count, size in rows:
        cell = sums[step > 0, kind in WAITS, phase, kind, what, chain]
        cell[0] += count
        cell[1] += size
    print(f"{len(steps)} steps")
    for (inside, waits, phase, kind, what, chain), (count, size) in sorted(sums.items(), reverse=True):
        per = f"{count / len(steps):9.2f} a step" if inside else f"{count:9d} in all"
        print(f"{per}  {'waits ' if waits else 'queues'} {phase:11} {kind:12} {what:22} {size // count:10} B  {chain}")


if __name__ == "__main__":
    main()
