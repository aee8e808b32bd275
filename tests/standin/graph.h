#pragma once

#include <functional>

#include "kernels/cuda/kernel_table.h"

// Graphs of the stand-in. What is recorded is done as it is queued, because sizes of results are
// only known then; afterwards all memory is as it was, and the results are NaN until a replay.

namespace vmla::standin {

/// Whether this thread records, and whether it replays.
bool is_recording();
bool is_replaying();

/// Called by every operation once it is done: while this thread records, `again` is kept, and done
/// at each replay. It must hold no memory of the device.
void remember(std::function<void()> again);

/// Fails while this thread records: for what a capture of CUDA forbids, or repeats in ways that
/// nobody means.
void refuse_while_recording(const char* what);

/// cuda::Record.
std::unique_ptr<kernels::cuda::Graph> record(const std::function<void()>& work,
                                             int device,
                                             const kernels::cuda::Graph* before);

}  // namespace vmla::standin
