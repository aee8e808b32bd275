#!/usr/bin/env python3
"""Builds the fuzz targets and runs each of them on mutations of its seeds.

    run.py [--runs N | --seconds S] [--jobs J] [--list] [TARGET ...]

Without TARGET: all of them, J at a time. Inputs are at most 64 KiB; hdf5_index takes a tenth as many as the others. A
target fails at an input that makes it crash, take longer than a second, allocate more than 256 MiB, or refuse with
anything but one line; the input is kept under build-fuzz/found/, and

    build-fuzz/fuzz/fuzz_TARGET FILE

shows what it does. Needs clang with libFuzzer (Debian: clang libclang-rt-dev). Status 1 where a target failed, 2 where
nothing could be run.
"""

import argparse
import concurrent.futures
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build-fuzz"
MOST_BYTES = 64 * 1024
# Of one input: memory that no honest file of 64 KiB needs, and a second of time. HDF5's own process has half a second of
# processor time, which on a busy machine takes longer.
LIMITS = ["-malloc_limit_mb=256", "-rss_limit_mb=2048", f"-max_len={MOST_BYTES}"]
SECONDS = {"hdf5_index": 20}
# Each of its inputs starts a process, so that it takes a tenth of the others' inputs.
FEWER = {"hdf5_index": 10}


def targets():
    return sorted(path.name.removesuffix("_fuzz.cpp") for path in HERE.glob("*_fuzz.cpp"))


def seed_folders(target):
    """The target's own seeds; a configuration's are those that are shipped, too."""
    folders = [HERE / "seeds" / target]
    if target == "config":
        folders += sorted({path.parent for path in (ROOT / "configs").rglob("*.yaml")})
    return [folder for folder in folders if folder.is_dir()]


def build(names):
    if not shutil.which("clang++"):
        sys.exit("fuzz: clang++ is missing; install clang and libclang-rt-dev")
    ninja = ROOT / ".venv" / "bin" / "ninja"
    make = [f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja.is_file() else []
    quiet = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    steps = [["cmake", "--preset", "fuzz", *make], ["cmake", "--build", "--preset", "fuzz", "--target", *(f"fuzz_{n}" for n in names)]]
    for step in steps:
        done = subprocess.run(step, check=False, **quiet)
        if done.returncode != 0:
            print(done.stdout)
            print(f"fuzz: {' '.join(map(str, step[:3]))} failed")
            sys.exit(2)


def prepare_hdf5(folder):
    """The process that HDF5 runs in is the program's own, without sanitizers, which HDF5 itself does not pass."""
    link = BUILD / "fuzz" / "vmla-hdf5"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "build" / "vmla-hdf5")
    if not link.exists():
        sys.exit(f"fuzz: hdf5_index needs {ROOT / 'build' / 'vmla-hdf5'}; run launch/setup")
    subprocess.run([ROOT / ".venv" / "bin" / "python", HERE / "hdf5_seeds.py", folder], check=True)


def run(target, runs, seconds):
    """Runs one target from its seeds; returns whether it held, and how many inputs it took."""
    found = BUILD / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    amount = f"-max_total_time={seconds}" if seconds else f"-runs={runs // FEWER.get(target, 1)}"
    with tempfile.TemporaryDirectory() as grown:  # what libFuzzer finds interesting goes here, not to the seeds
        if target == "hdf5_index":
            prepare_hdf5(Path(grown))
        done = subprocess.run(
            [BUILD / "fuzz" / f"fuzz_{target}", amount, f"-timeout={SECONDS.get(target, 1)}", *LIMITS, "-seed=1", "-print_final_stats=1", "-close_fd_mask=1",
             f"-artifact_prefix={found}/", grown, *seed_folders(target)],
            check=False, capture_output=True, text=True, errors="replace", cwd=BUILD)
    inputs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    memory = re.search(r"stat::peak_rss_mb:\s*(\d+)", done.stderr)
    slowest = re.search(r"stat::slowest_unit_time_sec:\s*(\d+)", done.stderr)
    count = int(inputs[1]) if inputs else 0
    if done.returncode == 0:
        print(f"fuzz: {target}: {count} inputs, slowest {slowest[1]} s, {memory[1]} MiB at most", flush=True)
        return True, count
    print(done.stderr[-6000:])
    print(f"fuzz: {target}: FAILED; the input is in {found}", flush=True)
    return False, count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--runs", type=int, default=200_000, metavar="N", help="inputs for each target (default 200000)")
    amount.add_argument("--seconds", type=int, metavar="S", help="seconds for each target, instead")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="targets that run side by side (default 1)")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(targets()))
        return 0
    unknown = set(arguments.targets) - set(targets())
    if unknown:
        print(f"fuzz: unknown target {', '.join(sorted(unknown))}; there are {', '.join(targets())}")
        return 2
    names = arguments.targets or targets()
    build(names)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda name: run(name, arguments.runs, arguments.seconds), names))
    failed = sum(not held for held, _ in results)
    print(f"fuzz: {len(results) - failed} of {len(results)} targets held, {sum(count for _, count in results)} inputs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
