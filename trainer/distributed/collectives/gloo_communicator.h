#pragma once

#include <vector>

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

struct GlooOptions {
  /// This host's side of the connections: a network interface ("eth0"), or where that is empty, an
  /// address.
  std::string interface;
  std::string address = "127.0.0.1";
  /// A collective that a peer does not come to within this time fails.
  double timeout_seconds = 600;
  /// Compares what the ranks come with before each collective (SizeCheck).
  bool check_sizes = false;
};

/// As the environment wants it: the interface of GLOO_SOCKET_IFNAME, else the address that leads to
/// MASTER_ADDR; sizes are checked when VMLA_CHECK_COLLECTIVES is "1".
GlooOptions gloo_options(const RankEnvironment& environment,
                         const GetEnvironment& get,
                         double timeout_seconds);

/// A group of processes that speak over c10d's Gloo; CPU tensors, in fp32, fp64, bf16, int64 and
/// int32. Sums of bf16 are formed in fp32 and rounded once; all_reduce sends them in fp32. Sums
/// have the same bits in every repetition: reduce_scatter adds in the order of the ranks,
/// all_reduce in an order of Gloo's that is the same on all ranks. Collectives run in the order in
/// which they were started, one at a time, on a thread of the group. A group of one is a
/// self_communicator.
///
/// `ranks` are the group's members by their numbers in the job, ascending; `rank` is this process's
/// number. A name is used once for a set of ranks. All members call it. CommError (of a barrier)
/// when one of them does not come within the timeout. `store` outlives the group.
std::unique_ptr<Communicator> gloo_communicator(Store& store,
                                                const std::string& name,
                                                const std::vector<int64_t>& ranks,
                                                int64_t rank,
                                                const GlooOptions& options);

}  // namespace vmla::distributed
