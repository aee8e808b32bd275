#!/usr/bin/env python3
"""The check of BLAS bindings notices a library that takes sgemm_ over.

    blas_binding_test.py PROGRAM CXX
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from blas_binding import bindings


class Binding(unittest.TestCase):
    program = ""
    compiler = ""

    def test_intruder_is_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, "libintruder.so")
            subprocess.run([self.compiler, "-shared", "-fPIC", "-x", "c++", "-", "-o", library],
                           input=b'extern "C" void sgemm_() {}', check=True)
            os.environ["LD_PRELOAD"] = str(library)
            try:
                providers = {Path(provider).name for _, provider in bindings(self.program)}
            finally:
                del os.environ["LD_PRELOAD"]
        self.assertIn("libintruder.so", providers)

    def test_own_binding_is_libtorch(self):
        providers = {Path(provider).name for _, provider in bindings(self.program)}
        self.assertEqual(providers, {"libtorch_cpu.so"})


if __name__ == "__main__":
    Binding.program, Binding.compiler = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
