#pragma once

/// VMLA_CLONES marks a function of plain loops that is compiled once for each x86-64 level; the
/// loader picks the version for the CPU it runs on. The compiler vectorises the loops. Functions
/// that it calls must be inlined into it (VMLA_INLINE), or they would keep the baseline's
/// instructions. Files that use it see no LibTorch header and have optimisation flags of their own
/// (kernels/CMakeLists.txt). Off under AddressSanitizer, whose runtime is not ready when the loader
/// picks.
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define VMLA_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VMLA_CLONES
#endif
#define VMLA_INLINE __attribute__((always_inline)) inline
#define VMLA_INLINE_LAMBDA __attribute__((always_inline))

/// Stands before a loop whose iterations are independent: none writes what another reads. Without
/// it the compiler tests every pair of pointers for overlap, or does not vectorise.
#ifdef __clang__
#define VMLA_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define VMLA_INDEPENDENT _Pragma("GCC ivdep")
#endif
