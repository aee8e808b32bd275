#include "trainer/distributed/collectives/update_report.h"

#include "model/io/error.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

constexpr int64_t kHashParts = 4;  // 16 bits each: their squares and sums are exact in fp64

/// RunError with the ranks whose hash is not rank 0's.
[[noreturn]] void name_who_differs(const distributed::Mesh& mesh, uint64_t agreement) {
  const int64_t world = mesh.shape().world;
  const at::Tensor all = at::zeros({world}, at::kLong);
  mesh.host().all_gather(all, at::full({1}, static_cast<int64_t>(agreement), at::kLong)).wait();
  std::string ranks;
  const int64_t* hashes = all.const_data_ptr<int64_t>();
  for (int64_t rank = 1; rank < world; ++rank) {
    if (hashes[rank] != hashes[0]) ranks += formatted("{}{}", ranks.empty() ? "" : ", ", rank);
  }
  fail_run(
      "rank {}: its step, data position, configuration or draws differ from rank 0's; the last "
      "checkpoint is intact",
      ranks);
}

}  // namespace

uint64_t mixed(uint64_t hash, uint64_t value) {
  for (int i = 0; i < 8; ++i)
    hash = (hash ^ (value >> (8 * i) & 0xff)) * 0x100000001b3ull;  // FNV-1a
  return hash;
}

uint64_t mixed(uint64_t hash, const std::string& text) {
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ull;
  return hash;
}

UpdateReduction::UpdateReduction(const distributed::Mesh& mesh, int64_t copies, UpdateReport report)
    : mesh_(mesh), report_(std::move(report)) {
  const auto clips_twice = static_cast<double>(mesh.shape().sequence);
  mine_.push_back(report_.stop ? 1.0 : 0.0);
  for (int64_t i = 0; i < kHashParts; ++i) {
    const auto part = static_cast<double>(report_.agreement >> (16 * i) & 0xffff);
    mine_.push_back(part);
    mine_.push_back(part * part);
  }
  for (const auto& [name, value] : report_.metrics) mine_.push_back(value / clips_twice);
  const at::Tensor host = at::tensor(mine_, at::kDouble);
  sums_ = at::cat({(report_.squared_norm / static_cast<double>(copies)).view(1),
                   (report_.loss / clips_twice).view(1),
                   host.to(report_.loss.device(), /*non_blocking=*/true)});
  mesh.world().all_reduce(sums_).wait();
}

UpdateReport UpdateReduction::read() {
  const at::Tensor host = sums_.to(at::kCPU);
  const double* sum = host.const_data_ptr<double>() + 2;
  // All parts equal mine if and only if their sum and the sum of their squares say so.
  const auto world = static_cast<double>(mesh_.shape().world);
  for (size_t i = 1; i < 1 + 2 * kHashParts; ++i) {
    if (sum[i] != mine_[i] * world) name_who_differs(mesh_, report_.agreement);
  }
  report_.squared_norm = host[0];
  report_.loss = host[1];
  report_.stop = sum[0] > 0;
  size_t next = 1 + 2 * kHashParts;
  for (auto& [name, value] : report_.metrics) value = sum[next++];
  return report_;
}

}  // namespace vmla::trainer
