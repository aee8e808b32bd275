#include "trainer/update_report.h"

#include "model/io/error.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

constexpr int64_t kHashParts = 4;  // 16 bits each: their squares and sums are exact in fp64

/// RunError with the ranks whose hash is not rank 0's.
[[noreturn]] void name_who_differs(const distributed::Mesh& mesh, uint64_t agreement) {
  const int64_t world = mesh.shape().world;
  const at::Tensor all = at::zeros({world}, at::kLong);
  mesh.world().all_gather(all, at::full({1}, static_cast<int64_t>(agreement), at::kLong)).wait();
  std::string ranks;
  const int64_t* hashes = all.const_data_ptr<int64_t>();
  for (int64_t rank = 1; rank < world; ++rank) {
    if (hashes[rank] != hashes[0]) ranks += cat(ranks.empty() ? "" : ", ", rank);
  }
  fail_run(
      "rank ",
      ranks,
      " left the others: its step, data position, configuration or draws differ from rank 0's; "
      "no weights were changed by this step");
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

void reduce_update(const distributed::Mesh& mesh, int64_t copies, UpdateReport& report) {
  const int64_t world = mesh.shape().world;
  if (world == 1) return;
  std::vector<double> values = {report.squared_norm / static_cast<double>(copies),
                                report.loss / static_cast<double>(mesh.shape().sequence),
                                report.stop ? 1.0 : 0.0};
  const size_t hashes = values.size();
  for (int64_t i = 0; i < kHashParts; ++i) {
    const auto part = static_cast<double>(report.agreement >> (16 * i) & 0xffff);
    values.push_back(part);
    values.push_back(part * part);
  }
  for (const auto& [name, value] : report.metrics)
    values.push_back(value / static_cast<double>(mesh.shape().sequence));

  const at::Tensor sums = at::tensor(values, at::kDouble);
  mesh.world().all_reduce(sums).wait();
  const double* sum = sums.const_data_ptr<double>();
  // All parts equal mine if and only if their sum and the sum of their squares say so.
  for (size_t i = hashes; i < hashes + 2 * kHashParts; ++i) {
    if (sum[i] != values[i] * static_cast<double>(world)) name_who_differs(mesh, report.agreement);
  }
  report.squared_norm = sum[0];
  report.loss = sum[1];
  report.stop = sum[2] > 0;
  size_t next = hashes + 2 * kHashParts;
  for (auto& [name, value] : report.metrics) value = sum[next++];
}

}  // namespace vmla::trainer
