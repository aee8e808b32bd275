#!/usr/bin/env python3
"""The CUDA module loads: every symbol that it uses is in LibTorch's CUDA libraries, all of which are installed.

    cuda_module_loads.py libvmla_cuda.so [NCCL_VERSION]

No driver and no GPU are needed. NCCL_VERSION, if given, is that of the nccl.h which the module was compiled with; the
library that it loads must be the same version, because c10d passes NCCL's structures by value.
"""

import ctypes
import os
import sys


def loaded_nccl():
    number = ctypes.c_int()
    ctypes.CDLL(None).ncclGetVersion(ctypes.byref(number))
    return f"{number.value // 10000}.{number.value // 100 % 100}.{number.value % 100}"


def problem(module, nccl_version):
    """In one line what is wrong, or an empty string."""
    try:
        # RTLD_NOW: the program loads it so, and a symbol that is missing shows now and not in a step.
        loaded = ctypes.CDLL(module, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    except OSError as error:
        return f"{error}; launch/setup --cuda installs LibTorch's CUDA libraries"
    for name in ("vmla_cuda_table_hash", "vmla_cuda_kernels"):
        if not hasattr(loaded, name):
            return f"{module} does not export {name}: it is no module of vmla"
    if not nccl_version:
        return ""
    found = loaded_nccl()
    if found != nccl_version:
        return f"{module} was compiled with the nccl.h of {nccl_version} and loads NCCL {found}: build it again"
    return ""


def main(arguments):
    module, nccl_version = arguments[0], arguments[1] if len(arguments) > 1 else ""
    wrong = problem(os.path.abspath(module), nccl_version)
    if wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 1
    has_nccl = hasattr(ctypes.CDLL(os.path.abspath(module)), "vmla_make_nccl_engine_1")
    print(f"{module} loads, {f'NCCL {loaded_nccl()}' if has_nccl else 'without NCCL'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
