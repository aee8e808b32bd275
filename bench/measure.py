"""What the benchmarks measure with: commands and their processor time, the machine's own rates, ratios of pairs.

A row is one pair of one case: {"stage", "width", "threads", "pair", "sides": {"vmla": {...}, PEER: {...}}}. A side has
`wall_ms` and `cpu_ms` of a unit, both of its steady state; a compiled peer has `graphs`, how many were compiled for it.
"""

from __future__ import annotations

import ctypes
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import torch

ROOT = Path(__file__).resolve().parents[1]
VMLA = Path(os.environ.get("VMLA", ROOT / "build" / "vmla"))
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def run(command: list, what: str, threads: int | None = None) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(texts(command), capture_output=True, text=True, env=environment(threads), cwd=ROOT)
    if done.returncode != 0:
        fail(what, done.returncode, done.stderr)
    return done.stdout


def run_watched(command: list, what: str, threads: int, done: Callable[[], int], begin: int, end: int) -> float:
    """Processor milliseconds, of all threads together, that the command spends on a unit.

    `done` says how many units are finished, from files that the command writes. The command's processor clock is read
    when `begin` and when `end` of them are, some 2 ms late, so that set-up, warm-up and what follows the last unit do
    not count. What the command does between two units counts.
    """
    readings: list[tuple[int, float]] = []
    with tempfile.TemporaryFile("w+") as errors:
        output = {"stdout": subprocess.DEVNULL, "stderr": errors}
        process = subprocess.Popen(texts(command), **output, env=environment(threads), cwd=ROOT)
        clock = processor_clock(process.pid)
        while process.poll() is None:
            if len(readings) < 2 and (units := done()) >= (end if readings else begin):
                readings.append((units, time.clock_gettime(clock)))
            time.sleep(0.002)  # looking costs a hundredth of this
        if process.returncode != 0:
            errors.seek(0)
            fail(what, process.returncode, errors.read())
    if len(readings) < 2 or readings[0][0] == readings[1][0]:
        sys.exit(f"{what}: fewer than {end} units were seen")
    (first, start), (last, stop) = readings
    return 1000 * (stop - start) / (last - first)


def texts(command: list) -> list[str]:
    return [str(part) for part in command]


def environment(threads: int | None) -> dict[str, str]:
    return ENVIRONMENT if threads is None else {**ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}


def fail(what: str, status: int, errors: str) -> None:
    sys.exit(f"{what} ended with status {status}: {errors.strip()[-800:]}")


def processor_clock(pid: int) -> int:
    """The clock of another process: its processor time in nanoseconds, threads that have ended included."""
    clock = ctypes.c_int()
    if problem := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(problem, os.strerror(problem))
    return clock.value


def machine_rates(threads: int) -> dict[str, float]:
    """What the machine reaches with this number of threads, outside of both sides."""
    torch.set_num_threads(threads)
    size, megabytes = 512, 256
    a, b, product = (torch.randn(size, size) for _ in range(3))
    source = torch.randn(megabytes << 18)
    target = torch.empty_like(source)
    gemm = median_seconds(lambda: torch.mm(a, b, out=product), 50)
    copy = median_seconds(lambda: target.copy_(source), 7)
    return {"gemm_gflops": 2 * size**3 / gemm / 1e9, "copy_gib_s": 2 * megabytes / 1024 / copy}


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(3 + repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[3:])


def processor_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} [{min(values):.2f}, {max(values):.2f}]"


class Report:
    """The rows of a benchmark, between two measurements of the machine's own rates.

    `unit`: what the milliseconds are of. The file, where there is one, is written anew after every row, so that a run
    that is stopped leaves what it has measured.
    """

    def __init__(self, unit: str, threads: list[int], file: Path | None):
        self.unit, self.threads, self.file = unit, threads, file
        self.rows: list[dict] = []
        self.about = {
            "command": shlex.join(arg for arg in sys.argv if arg not in ("--json", str(file))),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": {"processor": processor_name(), "cores": os.cpu_count()},
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        self.rates = {"before": {t: machine_rates(t) for t in threads}}

    def add(self, row: dict) -> None:
        self.rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
        self.write()

    def finish(self) -> None:
        """Measures the rates again and prints the table: medians, and the spread of the ratios within pairs."""
        self.rates["after"] = {t: machine_rates(t) for t in self.threads}
        self.write()
        machine = self.about["machine"]
        print(f"{machine['processor']}, {machine['cores']} cores, torch {self.about['torch']}, {self.about['date']}")
        for t in self.threads:
            before, after = (self.rates[when][t] for when in ("before", "after"))
            gemm, copy = (f"{before[n]:.1f} before, {after[n]:.1f} after" for n in before)
            print(f"{t} thread(s): fp32 GEMM 512^3 {gemm} GFLOP/s; copy of 256 MiB {copy} GiB/s, read and written")
        print(f"ms of {self.unit}; ratios are peer / vmla: median [range over pairs], above 1 vmla is faster")
        columns = f"{'vmla':>9}{'peer':>9}  {'ratio':22}"
        print(f"{'':52}{'wall time':42}processor time, all threads")
        print(f"{'stage':16}{'width':>5}  {'threads':8}{'peer':21}{columns}{columns}graphs")
        for stage, width in dict.fromkeys((r["stage"], r["width"]) for r in self.rows):
            rows = [r for r in self.rows if (r["stage"], r["width"]) == (stage, width)]
            for peer in [name for name in rows[0]["sides"] if name != "vmla"]:
                for threads in self.threads:
                    self._line(rows, peer, str(threads), (threads, threads))
                if len(self.threads) > 1:  # each side with the number of threads that suits it
                    best = (min(self.threads, key=lambda t: middle(rows, t, s, "wall_ms")) for s in ("vmla", peer))
                    self._line(rows, peer, "best", tuple(best))

    def _line(self, rows: list[dict], peer: str, label: str, threads: tuple[int, int]) -> None:
        text = f"{rows[0]['stage']:16}{rows[0]['width']:5}  {label:8}{peer:21}"
        for figure in ("wall_ms", "cpu_ms"):
            pairs = zip(figures(rows, threads[0], "vmla", figure), figures(rows, threads[1], peer, figure), strict=True)
            ours, theirs = (middle(rows, t, side, figure) for t, side in zip(threads, ("vmla", peer)))
            text += f"{ours:9.2f}{theirs:9.2f}  {spread([b / a for a, b in pairs]):22}"
        print(text + str(rows[0]["sides"][peer].get("graphs", "")))

    def write(self) -> None:
        if self.file:
            content = self.about | {"unit": self.unit, "rates": self.rates, "rows": self.rows}
            self.file.write_text(json.dumps(content, indent=1) + "\n")


def figures(rows: list[dict], threads: int, side: str, figure: str) -> list[float]:
    return [r["sides"][side][figure] for r in rows if r["threads"] == threads]


def middle(rows: list[dict], threads: int, side: str, figure: str) -> float:
    return statistics.median(figures(rows, threads, side, figure))
