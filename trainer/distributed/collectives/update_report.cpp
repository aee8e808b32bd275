#include "trainer/distributed/collectives/update_report.h"

#include "kernels/host_transfer.h"
#include "model/io/error.h"

#include <ATen/ATen.h>

#include <utility>

namespace vmla::distributed {
namespace {

// A hash travels as four numbers of 16 bits: their squares, and sums of these over any job's ranks,
// are exact in fp64.
constexpr size_t kHashParts = 4;
constexpr size_t kPartBits = 16;
// The host's numbers: the stop flag, then each part of the hash and its square.
constexpr size_t kFirstPart = 1;

uint64_t with_byte(uint64_t hash, unsigned char byte) {
  constexpr uint64_t kPrime = 0x100000001b3ull;
  return (hash ^ byte) * kPrime;
}

/// Gathers the hashes, and throws RunError with the ranks whose hash is not rank 0's.
[[noreturn]] void name_who_differs(const Mesh& mesh, uint64_t agreement) {
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

uint64_t hash_combine(uint64_t hash, uint64_t value) {
  for (int i = 0; i < 8; ++i) hash = with_byte(hash, static_cast<unsigned char>(value >> (8 * i)));
  return hash;
}

uint64_t hash_combine(uint64_t hash, const std::string& text) {
  for (const char byte : text) hash = with_byte(hash, static_cast<unsigned char>(byte));
  return hash;
}

UpdateReduction::UpdateReduction(const Mesh& mesh, int64_t copies, UpdateReport report)
    : mesh_(mesh), report_(std::move(report)) {
  const auto ranks_a_clip = static_cast<double>(mesh.shape().sequence);
  sent_.push_back(report_.stop ? 1.0 : 0.0);
  for (size_t i = 0; i < kHashParts; ++i) {
    const auto part = static_cast<double>(report_.agreement >> (kPartBits * i) & 0xffff);
    sent_.push_back(part);
    sent_.push_back(part * part);
  }
  std::vector<at::Tensor> parts = {
      (report_.squared_norm / static_cast<double>(copies)).view(1),
      (report_.loss / ranks_a_clip).view(1),
      kernels::upload(at::tensor(sent_, at::kDouble), report_.loss.device())};
  for (const auto& [name, value] : report_.metrics)
    parts.push_back((value.to(at::kDouble) / ranks_a_clip).view(1));
  sums_ = at::cat(parts);
  mesh.world().all_reduce(sums_).wait();
}

UpdateReport UpdateReduction::read() {
  const at::Tensor host = sums_.to(at::kCPU);
  const double* sum = host.const_data_ptr<double>() + 2;  // of `sent_`, behind norm and loss
  // n numbers are all equal to mine if and only if their sum is n times mine and the sum of their
  // squares n times my square. So either every rank finds a difference here, or none does, and all
  // of them come to the gathering that names it.
  const auto world = static_cast<double>(mesh_.shape().world);
  for (size_t i = kFirstPart; i < sent_.size(); ++i) {
    if (sum[i] != sent_[i] * world) name_who_differs(mesh_, report_.agreement);
  }
  report_.squared_norm = host[0];
  report_.loss = host[1];
  report_.stop = sum[0] > 0;
  auto next = static_cast<int64_t>(2 + sent_.size());
  for (auto& [name, value] : report_.metrics) value = host[next++];
  return report_;
}

}  // namespace vmla::distributed
