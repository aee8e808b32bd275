#pragma once

/// Marks a function of plain loops that is compiled once for each x86-64 level and chosen when the
/// program is loaded. Its loops are vectorised by the compiler; the functions it calls must be
/// inlined into it (VMLA_INLINE), or they would keep the baseline's instructions. Files that use it
/// see no LibTorch header and have optimisation flags of their own (kernels/CMakeLists.txt).
/// Not under AddressSanitizer, which is not ready yet when the choice is made.
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define VMLA_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VMLA_CLONES
#endif
#define VMLA_INLINE __attribute__((always_inline)) inline
#define VMLA_INLINE_LAMBDA __attribute__((always_inline))

/// Before a loop whose iterations write nothing that another reads: output and inputs are different
/// memory. Without it the compiler tests every pair of pointers for overlap, or gives up.
#define VMLA_INDEPENDENT _Pragma("GCC ivdep")
