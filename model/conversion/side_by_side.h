#pragma once

#include <cstdint>
#include <functional>

namespace vmla::model {

/// Calls work(0) to work(count - 1) on as many threads as LibTorch computes with, each of which
/// computes alone: for many independent jobs that several threads hardly speed up, such as
/// eigendecompositions, half of whose time goes into products of a matrix and a vector. So the
/// bits of a job do not depend on the number of threads. Jobs begin in order; the first exception
/// is thrown when the jobs that had begun are done, and no others begin.
///
/// (at::parallel_for would not do: it is serial in code compiled without OpenMP, and OpenMP's flag
/// would link the system's runtime beside LibTorch's own.)
void side_by_side(int64_t count, const std::function<void(int64_t job)>& work);

}  // namespace vmla::model
