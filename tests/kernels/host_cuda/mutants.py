#!/usr/bin/env python3
"""Do the checks of the kernels notice faults? Plants each of them in a copy of the sources, compiles the kernel that has
it, links it with the tests (host_kernels_*_test), and expects the run to fail.

    mutants.py FOLDER [NAME ...]     FOLDER: the build's folder with mutants.json; names: only these faults

Prints a line for each fault. Status 0 when every one was noticed and the sources without a fault pass."""
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
CUDA = "kernels/cuda"
OF_ROWS = "Elements/RmsNormKernel*"
OF_MODULATION = "Elements/ModulateKernels*"
OF_ELEMENTS = "Elements/ElementKernels*"
OF_ADAMW = "AdamwKernel*"
OF_LARGE = "KernelsPastTwoToThe31.*"


class Fault(NamedTuple):
    name: str
    file: str    # in kernels/cuda, where the fault is planted
    old: str     # its only occurrence is replaced
    new: str
    kernel: str  # the source that is compiled with it
    tests: str   # of which some must fail
    variant: str = "plain"


FAULTS = [
    Fault("none", "rows.cuh", "kWarpSize = 32", "kWarpSize = 32", "rms_norm.cu", OF_ROWS),
    Fault("first barrier missing", "token_sums.cuh", "__syncthreads();\n    if (row", "if (row", "rms_norm.cu", OF_ROWS),
    Fault("second barrier missing", "token_sums.cuh", "__syncthreads();  // before", "// before", "gated_residual.cu",
          OF_LARGE),
    Fault("barrier in a branch", "token_sums.cuh", "if (row == 0 && d < D) {", "if (row == 0 && d < D) {\n __syncthreads();",
          "rms_norm.cu", OF_ROWS),
    Fault("mask of half a warp", "rows.cuh", "0xFFFFFFFFu", "0x0000FFFFu", "rms_norm.cu", OF_ROWS),
    Fault("sum over half a warp", "rows.cuh", "distance = kWarpSize / 2", "distance = kWarpSize / 4",
          "layer_norm_modulate.cu", OF_MODULATION),
    Fault("lanes leave before a shuffle", "rms_norm.cu", "float squares = 0;",
          "float squares = 0;\n if (lane_index() * N >= r.D) return;", "rms_norm.cu", OF_ROWS),
    Fault("row one too long", "gated_residual.cu", "d < p.D; d += kWarpSize * N) {\n      read_pack(x",
          "d <= p.D; d += kWarpSize * N) {\n      read_pack(x", "gated_residual.cu", OF_MODULATION),
    Fault("read behind the end", "adamw.cu", "const float g = grad[k] * scale", "const float g = (0 * a.grad[i + N] + grad[k]) * scale",
          "adamw.cu", OF_ADAMW, "asan"),
    Fault("last pack left out", "gelu.cu", "v[k] = gelu(v[k]);", "v[k] = i + N < p.count ? gelu(v[k]) : v[k];", "gelu.cu",
          OF_ELEMENTS),
    Fault("packs beside each other overlap", "layer_norm_modulate.cu", "constexpr int kStep = kWarpSize * N;\n  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {\n    const int64_t f = row / p.S;\n    const int64_t s = row % p.S;\n    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;\n    const W* shift",
          "constexpr int kStep = kWarpSize;\n  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {\n    const int64_t f = row / p.S;\n    const int64_t s = row % p.S;\n    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;\n    const W* shift",
          "layer_norm_modulate.cu", OF_MODULATION),
    Fault("packs of a place that does not allow them", "rows.cuh", "if (reinterpret_cast<uintptr_t>(r.first) % 16 != 0) return false;",
          "", "gelu.cu", OF_ELEMENTS, "asan"),
    Fault("packs of rows that begin between them", "rows.cuh", "if (r.stride % kPack != 0 || r.outer_stride % kPack != 0) return false;",
          "", "rms_norm.cu", OF_ROWS, "asan"),
    Fault("gap between rows forgotten", "rms_norm.cu", "row * r.x_stride;\n    T* y", "row * r.D;\n    T* y", "rms_norm.cu",
          OF_ROWS),
    Fault("shift of another frame", "layer_norm_modulate.cu", "f * p.shift_stride", "0 * p.shift_stride",
          "layer_norm_modulate.cu", OF_MODULATION),
    Fault("gate of another frame", "layer_norm_modulate.cu", "static_cast<const W*>(p.gate) + f * p.gate_stride",
          "static_cast<const W*>(p.gate) + 0 * p.gate_stride", "layer_norm_modulate.cu", OF_MODULATION),
    Fault("gradient of the sum left out", "layer_norm_modulate.cu", "+ other[k];", ";", "layer_norm_modulate.cu",
          OF_MODULATION),
    Fault("norm of what the sum was before", "layer_norm_modulate.cu", "if (p.update) x = row_sum", "if (p.update) row_sum",
          "layer_norm_modulate.cu", OF_MODULATION),
    Fault("second rows by the first weight", "rms_norm.cu", "static_cast<const W*>(r.weight)", "static_cast<const W*>(p.first.weight)",
          "rms_norm.cu", OF_ROWS),
    Fault("rotated by another token's angle", "rope.cu", "2 * p.num_pairs, 1.0f}, l, to + p.R", "2 * p.num_pairs, 1.0f}, m, to + p.R",
          "rope.cu", OF_ELEMENTS),
    Fault("pack turned by half", "rope.cu", "first_channel % kPack == 0 &&", "true &&", "rope.cu", OF_ELEMENTS),
    Fault("pack turned by the angles of the first", "rope.cu", "r.cos), l * r.num_pairs + pair, cos", "r.cos), l * r.num_pairs, cos",
          "rope.cu", OF_ELEMENTS),
    Fault("packs behind the rotation turned", "rope.cu", "&& pair < r.num_pairs) {", ") {", "rope.cu", OF_ELEMENTS),
    Fault("eight bits without their factor", "rope.cu", "v[k] *= scale;", "v[k] *= 1.0f;", "rope.cu", OF_ELEMENTS),
    Fault("written before all have read", "merge_part.cu", "__syncwarp();  // all", "// all", "merge_part.cu", OF_ELEMENTS),
    Fault("index of 32 bits", "adamw.cu", "for (int64_t i = first_item() * N", "for (int i = static_cast<int>(first_item() * N)",
          "adamw.cu", OF_LARGE),
    Fault("row offset of 32 bits", "rope.cu", "T* y = static_cast<T*>(p.y) + row * p.K",
          "T* y = static_cast<T*>(p.y) + static_cast<int>(row * p.K)", "rope.cu", OF_LARGE),
    Fault("chunk counted twice", "token_sums.cuh", "tokens * (chunk + 1) / chunks;", "tokens * (chunk + 1) / chunks + 1;",
          "gated_residual.cu", OF_MODULATION),
    Fault("order of blocks decides", "token_sums.cuh", "write_pack(partial, ((k * frames + f) * chunks + chunk) * D + d, total);",
          "for (int n = 0; n < N; ++n) partial[(k * frames + f) * chunks * D + d + n] += total[n];", "gated_residual.cu", OF_MODULATION),
    Fault("a pack's sum by its first channel", "token_sums.cuh", "part[k][row][n][column] = sums[k][n]",
          "part[k][row][n][column] = sums[k][0]", "gated_residual.cu", OF_MODULATION),
    Fault("sum of packs of a place that does not allow them", "gated_residual.cu", "packs && takes_packs(p.D, {{p.y,", "packs || takes_packs(p.D, {{p.y,",
          "gated_residual.cu", OF_MODULATION, "asan"),
    Fault("items behind the last pack left out", "adamw.cu", "packed + first_item(); i < a.count", "packed + first_item(); i < packed",
          "adamw.cu", OF_ADAMW),
    Fault("second moment squared once", "adamw.cu", "g * g * a.one_minus_beta2", "g * a.one_minus_beta2", "adamw.cu",
          OF_ADAMW),
    Fault("average from the other end", "adamw.cu", "a.average_from_param ? param[k] : average[k]", "average[k]", "adamw.cu",
          OF_ADAMW),
    Fault("packs of a copy whose place does not allow them", "adamw.cu", "{a.rounded, 0},", "", "adamw.cu", OF_ADAMW, "asan"),
    Fault("average's copy of the parameters", "adamw.cu", "rounded_average), i, average)", "rounded_average), i, param)", "adamw.cu",
          OF_ADAMW),
    Fault("written in spite of NaN", "adamw.cu", "if (!isfinite(scale)) return;", "", "adamw.cu", OF_ADAMW),
    Fault("rotated the same way back", "rope.cu", "p.inverse ? -1.0f : 1.0f", "1.0f", "rope.cu", OF_ELEMENTS),
]


def planted(fault, folder):
    """The copy of kernels/cuda that has the fault."""
    copy = folder / CUDA
    shutil.copytree(ROOT / CUDA, copy)
    path = copy / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise SystemExit(f"mutants: '{fault.name}': its text stands {text.count(fault.old)} times in {fault.file}; must be once")
    path.write_text(text.replace(fault.old, fault.new))
    return copy / fault.kernel


def outcome(fault, build, work):
    """'noticed', 'passed', or what went wrong before the run; and the line that says how it was noticed."""
    folder = work / fault.name.replace(" ", "_")
    source = planted(fault, folder)
    variant = build["variants"][fault.variant]
    compiled = folder / "kernel.o"
    # The copy stands before the sources, the tests' stand-in for CUDA's headers before both.
    command = [build["compiler"], "-std=c++20", "-O1", "-ffp-contract=off", *variant["flags"], f"-I{build['include']}",
               f"-I{folder}", f"-I{ROOT}", "-x", "c++", "-c", source, "-o", compiled]
    if (done := subprocess.run(command, capture_output=True, text=True)).returncode:
        return "does not compile", done.stderr
    others = [o for o in variant["objects"] if not o.endswith("/" + fault.kernel + ".o")]
    program = folder / "test"
    command = [build["compiler"], *variant["flags"], *build["link_flags"], compiled, *others, *build["tests"], *build["libraries"],
               "-o", program]
    if (done := subprocess.run(command, capture_output=True, text=True)).returncode:
        return "does not link", done.stderr
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    environment.pop("GTEST_OUTPUT", None)
    run = subprocess.run([program, f"--gtest_filter={fault.tests}", "--gtest_brief=1"], capture_output=True, text=True,
                         errors="replace", env=environment, timeout=120)
    if run.returncode < 0:
        return "noticed", f"ended by signal {-run.returncode}"
    said = (run.stdout + run.stderr).splitlines()
    marks = ("ERROR: AddressSanitizer", "runtime error", "what()", "exception with description", "depends on the order",
             "is ", "expected", "Which is", "Failure")
    how = next((line for mark in marks for line in said if mark in line), said[-1] if said else "")
    return ("noticed" if run.returncode else "passed"), how.strip()


def main():
    folder = Path(sys.argv[1])
    build = json.loads((folder / "mutants.json").read_text())
    wanted = sys.argv[2:]
    faults = [fault for fault in FAULTS if not wanted or fault.name in wanted]
    work = folder / "mutants"
    shutil.rmtree(work, ignore_errors=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda fault: outcome(fault, build, work), faults))
    shutil.rmtree(work)
    wrong = 0
    for fault, (result, how) in zip(faults, results):
        right = result == ("passed" if fault.name == "none" else "noticed")
        wrong += not right
        print(f"{'ok    ' if right else 'FAILED'} {fault.name}: {result}: {how[:150]}")
    print(f"{len(faults) - wrong} as expected, {wrong} not")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
