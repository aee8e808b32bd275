"""bench/RESULTS.md from the measurements in bench/results/: results_page.py [--check]

Each file there is what a benchmark wrote with `--json`: a comparison of bench/*.py (rows of pairs, measure.py), or a
page of `vmla bench`, whose command stands in COMMANDS. --check writes nothing; status 1 where the page says something
else than the files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
RESULTS, PAGE = BENCH / "results", (BENCH / "RESULTS").with_suffix(".md")

COMPARISONS = {
    "pipeline": "The tiny pipeline",
    "steps": "Training steps of stages 0 and 1",
    "distillation": "Consistency distillation and DMD",
    "sampling": "Few-step streaming",
}
COMMANDS = {
    "init": "vmla bench init --repeats 5 --warm-up 0",
    "rank": "OMP_NUM_THREADS=1 vmla bench rank",
    "data": "vmla bench data --repeats 15 --set data.path=clips.h5",
    "stream": "vmla bench stream --chunks 1600 --repeats 9 --warm-up 1 --set train.threads=1",
}
# What a command needs before it.
BEFORE = {
    "data": "Clips of `vmla data synth --out videos --count 4 --size 256 --frames 81` and `vmla data encode --videos videos "
    "--out clips.h5 --height 240 --width 416 --frames 21`. "
}
HEAD = """# Results

<!-- Written by bench/results_page.py from the files of bench/results/. -->

The program beside the same algorithm in Python, on a CPU. `eager` is PyTorch as it comes with fused AdamW, `compiled`
the same through torch.compile with fixed shapes, both with the number of threads that the program has and all tokens
that public trainers compute, of which the program leaves out what nobody reads. Both sides compute the same losses or
latents, which every benchmark checks. Sides are interleaved, ratios are taken within a pair: median [range]. Above 1
the program is faster. Processor time is that of all threads of a process, which keeps its meaning on a machine that
others use too.
"""
GPU = """## With a GPU

Not measured: no row of these has been run on a GPU. [docs/gpu.md](../docs/gpu.md#wan-13b-at-its-true-size) has the
commands and what arithmetic says.

| | |
|---|---|
| teacher-forcing step, consistency step, DMD cycle of Wan-1.3B | not measured |
| streaming at the windows of Wan-1.3B, time to the first chunk, latent beside dense | not measured |
| memory of a step on one GPU | not measured |
| optimizer, of the copy's rate | not measured |
| wait of a step for a checkpoint | not measured |
"""


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"


def machine(found: dict) -> str:
    after = found["rates"].get("after", {})  # not of a run that was stopped
    rates = "; ".join(
        f"{threads} thread{'s' if threads != '1' else ''}: product of 512 x 512 in fp32 "
        + " and ".join(f"{r[threads]['gemm_gflops']:.0f}" for r in (found["rates"]["before"], after) if r)
        + " GFLOP/s, copy "
        + " and ".join(f"{r[threads]['copy_gib_s']:.1f}" for r in (found["rates"]["before"], after) if r)
        + " GiB/s"
        for threads in found["rates"]["before"]
    )
    about = found["machine"]
    return (
        f"`{found['command']}`, {found['date'][:10]}, {about['processor']}, {about['cores']} cores, torch "
        f"{found['torch']}, Python {found['python']}. The machine before and after, {rates}.\n"
    )


def comparison(name: str, found: dict) -> str:
    cells = []
    for case in dict.fromkeys((row["stage"], row["width"], row["threads"]) for row in found["rows"]):
        stage, width, threads = case
        rows = [row for row in found["rows"] if (row["stage"], row["width"], row["threads"]) == case]
        for peer in [side for side in rows[0]["sides"] if side != "vmla"]:
            sides = [(row["sides"]["vmla"], row["sides"][peer]) for row in rows]
            ours, theirs = (statistics.median(pair[i]["cpu_ms"] for pair in sides) for i in (0, 1))
            ratios = (spread([b[figure] / a[figure] for a, b in sides]) for figure in ("cpu_ms", "wall_ms"))
            cells.append([stage, str(width), str(threads), peer, str(len(sides)), f"{ours:.2f}", f"{theirs:.2f}", *ratios])
    head = ["", "width", "threads", "peer", "pairs", "vmla, ms", "peer, ms", "processor time", "wall time"]
    text = f"## {COMPARISONS[name]}\n\n{machine(found)}\nMilliseconds of processor time of {found['unit']}.\n\n"
    return text + table(head, cells) + (pipeline(found) if "units" in found else "")


def pipeline_seconds(rows: list[dict], count: dict[str, int]) -> dict[str, list[float]]:
    """Processor time of the whole pipeline by side, in each pair: its units as often as `count` says."""
    sums: dict[str, list[float]] = {side: [] for side in rows[0]["sides"]}
    for pair in sorted({row["pair"] for row in rows}):
        of_pair = [row for row in rows if row["pair"] == pair]
        if len(of_pair) < len(count):  # the last one of a run that was stopped
            continue
        for side, values in sums.items():
            values.append(sum(count[row["stage"]] * row["sides"][side]["cpu_ms"] for row in of_pair) / 1000)
    return sums


def pipeline(found: dict) -> str:
    count = found["units"]
    sums = pipeline_seconds(found["rows"], count)
    peers = [side for side in sums if side != "vmla"]
    units = ", ".join(f"{number} of {name}" for name, number in count.items())
    text = f"\nAs often as the pipeline runs them ({units}; what that leaves out: bench/pipeline.py), rollouts of one clip: "
    text += f"{statistics.median(sums['vmla']):.0f} s of processor time; " + "; ".join(
        f"{peer} {statistics.median(sums[peer]):.0f} s, {spread([b / a for a, b in zip(sums['vmla'], sums[peer])])}"
        for peer in peers
    )
    return text + ".\n"


def seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def program_page(name: str, page: dict) -> str:
    cells = []
    for row in page["rows"]:
        wall = row["seconds"]
        figures = [f"{key} {value:.4g}" for key, value in row["figures"].items()]
        if "mfu" in row:
            figures.insert(0, f"mfu {row['mfu']:.3g}")
        if "share_of_copy" in row:
            figures.insert(0, f"{row['bytes_per_second'] / 1e6:.0f} MB/s")
        text = f"{seconds(wall['median'])} [{seconds(wall['least'])}, {seconds(wall['most'])}]"
        cells.append([row["name"], text, seconds(row["processor_seconds"]["median"]), "; ".join(figures)])
    rates = page["machine"]
    return (
        f"## `{COMMANDS[name]}`\n\n{BEFORE.get(name, '')}{page['subject']}. {page['device']} ({page['processor']}), threads: "
        f"{page['threads']}, {page['precision']}; product {rates['gemm_flops_before'] / 1e9:.0f} and "
        f"{rates['gemm_flops_after'] / 1e9:.0f} GFLOP/s, copy {rates['copy_bytes_before'] / 1e9:.1f} and "
        f"{rates['copy_bytes_after'] / 1e9:.1f} GB/s.\n\n"
        + table(["", "wall time", "processor time", "figures"], cells)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    parts = [HEAD]
    for name in COMPARISONS:
        if (file := RESULTS / f"{name}.json").exists():
            parts.append(comparison(name, json.loads(file.read_text())))
    for name in COMMANDS:
        if (file := RESULTS / f"vmla_{name}.json").exists():
            parts.append(program_page(name, json.loads(file.read_text())))
    page = "\n".join([*parts, GPU])
    if check:
        if not PAGE.exists() or PAGE.read_text() != page:
            sys.exit(f"{PAGE} does not say what {RESULTS} has: write it with bench/results_page.py")
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
