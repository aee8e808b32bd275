#pragma once

#include <cstdint>

namespace vmla::standin {

/// Counts what the host did with the device under the step in which it was and the functions of
/// the program that led to it. `kind`: a wait ("item", "d2h", "h2d", "sync", "waiting_op"), a copy
/// that the host does not wait for ("h2d_async", "d2h_async", "h2d_pageable"), and others that
/// tests/standin/report.py lists. Written to STANDIN_TRACE.PID when the process ends; without this
/// variable nothing is counted.
void note(const char* kind, const char* what, int64_t bytes);

/// Counts a kernel that a GPU would have started, by its name: an operation that a view of other
/// memory would not do. Written beside the others with no chain of calls and the kind "launch", or
/// "recorded" while a graph is recorded, whose replays count as one.
void note_launch(const char* what);

/// The program's loop begins and ends its steps by asking for the peak of memory.
void step_begins();
void step_ends();

void start_trace();

}  // namespace vmla::standin
