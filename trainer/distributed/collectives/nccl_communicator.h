#pragma once

#include <vector>

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

struct NcclOptions {
  int64_t device;  // index of this rank's GPU
  double timeout_seconds;
};

/// A group of processes with a GPU each, over c10d's NCCL: tensors on that GPU, in fp32, fp64,
/// bf16, int64 and int32. Operations overlap with computation: they run on a stream of their own,
/// after what the current stream holds when they are started; wait() makes the stream that is then
/// current wait, and not the host. Sums of bf16 are formed in fp32 and rounded once. A group of one
/// is a self_communicator.
///
/// `ranks` and `rank` as for gloo_communicator. Every member has another GPU: NCCL refuses two
/// ranks on one (host_staged_communicator does not). CommError (of a barrier) when the members
/// cannot connect. UserError when this build has no NCCL. Call kernels::load_cuda_module before.
std::unique_ptr<Communicator> nccl_communicator(Store& store,
                                                const std::string& name,
                                                const std::vector<int64_t>& ranks,
                                                int64_t rank,
                                                const NcclOptions& options);

}  // namespace vmla::distributed
