#include "trainer/distributed/collectives/dry_communicator.h"

namespace vmla::distributed {
namespace {

class DryCommunicator final : public Communicator {
 public:
  DryCommunicator(std::string name, int64_t rank, int64_t size)
      : Communicator(std::move(name), rank, size) {}

 private:
  Pending start_all_reduce(const at::Tensor&, ReduceOp) override { return {}; }
  Pending start_all_gather(const at::Tensor&, const at::Tensor&) override { return {}; }
  Pending start_reduce_scatter(const at::Tensor&, const at::Tensor&) override { return {}; }
  Pending start_all_to_all(const at::Tensor&, const at::Tensor&) override { return {}; }
  Pending start_broadcast(const at::Tensor&, int64_t) override { return {}; }
  Pending start_barrier() override { return {}; }
};

}  // namespace

std::unique_ptr<Communicator> dry_communicator(std::string name, int64_t rank, int64_t size) {
  return std::make_unique<DryCommunicator>(std::move(name), rank, size);
}

Mesh dry_mesh(const MeshShape& shape) {
  return {shape, 0, [](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
            return dry_communicator(name, index, static_cast<int64_t>(ranks.size()));
          }};
}

}  // namespace vmla::distributed
