#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "trainer/distributed/collectives/mesh.h"
#include "trainer/distributed/collectives/thread_communicator.h"

namespace vmla::distributed {

/// Runs `work(mesh)` on one thread a rank of a job of this shape, each with its groups. Errors as
/// on_threads.
template <class Work>
void on_mesh(const MeshShape& shape, const Work& work) {
  std::mutex mutex;
  std::map<std::string, std::vector<std::unique_ptr<Communicator>>> groups;
  const Mesh::MakeGroup make =
      [&](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
        const std::scoped_lock lock(mutex);
        auto& members = groups[name];
        if (members.empty())
          members = thread_communicators(name, static_cast<int64_t>(ranks.size()));
        return std::move(members[static_cast<size_t>(index)]);
      };
  on_threads(shape.world, [&](Communicator& all) {
    const Mesh mesh(shape, all.rank(), make);
    work(mesh);
    all.barrier();  // nobody's groups go before everybody is through
  });
}

}  // namespace vmla::distributed
