#!/usr/bin/env python3
"""Asks the dynamic linker whose BLAS a program really gets.

    blas_binding.py PROGRAM

Libraries such as OpenCV bring a BLAS of their own. When one of them stands before libtorch_cpu in the search order, it
takes over LibTorch's matrix products, which then run an order of magnitude slower without a word. So every use of
`sgemm_` in the started program must be bound to libtorch_cpu. Status 1 and the offending bindings otherwise.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BINDING = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: normal symbol `(sgemm_|dgemm_)'")


def bindings(program):
    """(user, provider) of every binding of a GEMM symbol that the linker makes when all symbols are bound at start."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, LD_DEBUG="bindings", LD_DEBUG_OUTPUT=str(Path(folder, "ld")), LD_BIND_NOW="1")
        # What the program says to this argument does not matter: the bindings are made before main.
        subprocess.run([program, "--help"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False, timeout=120)
        text = "".join(path.read_text(errors="replace") for path in Path(folder).iterdir())
    return sorted(set(match.groups()[:2] for match in BINDING.finditer(text)))


def main():
    program = sys.argv[1]
    found = bindings(program)
    if not any("libtorch_cpu" in provider for _, provider in found):
        print(f"{program}: no sgemm_ or dgemm_ is bound to libtorch_cpu; bindings: {found}")
        return 1
    wrong = [(user, provider) for user, provider in found if "libtorch_cpu" not in provider]
    for user, provider in wrong:
        print(f"{program}: the BLAS of {user} is {provider}; link libtorch_cpu before whatever brings it")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
