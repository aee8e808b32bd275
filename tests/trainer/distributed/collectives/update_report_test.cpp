#include "trainer/distributed/collectives/update_report.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "tests/trainer/distributed/on_mesh.h"

namespace vmla::distributed {
namespace {

at::Tensor number(double value) {
  return at::scalar_tensor(value, at::kDouble);
}

std::map<std::string, double> values(const std::map<std::string, at::Tensor>& metrics) {
  std::map<std::string, double> out;
  for (const auto& [name, value] : metrics) out[name] = value.item<double>();
  return out;
}

/// A report with nothing in it but the hash.
UpdateReport report_of(uint64_t agreement) {
  return {.squared_norm = number(0),
          .loss = number(0),
          .metrics = {},
          .stop = false,
          .agreement = agreement};
}

// Four ranks: two clips of two ranks each, and weights cut over two, so that two ranks hold the
// same part. Rank r works on clip r / 2 and holds part r % 2.
constexpr MeshShape kShape{.world = 4, .sequence = 2, .shard = 2};
constexpr int64_t kCopies = 2;

TEST(UpdateReduction, CountsOnceWhatSeveralRanksReportAlike) {
  const double norms[] = {3, 5};  // of the parts
  const double losses[] = {0.25, 0.5};
  const double caught[] = {1, 0.125};
  on_mesh(kShape, [&](const Mesh& mesh) {
    const int64_t clip = mesh.rank() / 2, part = mesh.rank() % 2;
    UpdateReduction sums(mesh,
                         kCopies,
                         {.squared_norm = number(norms[part]),
                          .loss = number(losses[clip]),
                          .metrics = {{"caught", number(caught[clip])}},
                          .stop = false,
                          .agreement = 7});
    // Before the host has read anything.
    EXPECT_EQ(sums.squared_norm().item<double>(), 8);
    EXPECT_EQ(sums.loss().item<double>(), 0.75);
    const UpdateReport job = sums.read();
    EXPECT_EQ(job.squared_norm.item<double>(), 8);
    EXPECT_EQ(job.loss.item<double>(), 0.75);
    EXPECT_EQ(values(job.metrics), (std::map<std::string, double>{{"caught", 1.125}}));
    EXPECT_FALSE(job.stop);
    EXPECT_EQ(job.agreement, 7);
  });
}

TEST(UpdateReduction, IsOneMessage) {
  on_mesh(kShape, [](const Mesh& mesh) {
    UpdateReduction(mesh, kCopies, report_of(1)).read();
    EXPECT_EQ(mesh.counters().calls(), 1);
    // Norm, loss, stop flag, four parts of the hash and their squares: 11 numbers of 8 bytes.
    EXPECT_EQ(mesh.counters().of(Collective::kAllReduce).bytes, 2 * 3.0 / 4 * 11 * 8);
  });
}

TEST(UpdateReduction, AloneGivesWhatItWasGiven) {
  const Mesh mesh;
  UpdateReport report = report_of(3);
  report.squared_norm = number(2);
  report.loss = number(NAN);  // is passed on: whoever reads it looks for it
  report.stop = true;
  const UpdateReport job = UpdateReduction(mesh, 1, report).read();
  EXPECT_EQ(job.squared_norm.item<double>(), 2);
  EXPECT_TRUE(std::isnan(job.loss.item<double>()));
  EXPECT_TRUE(job.stop);
}

TEST(UpdateReduction, AStopOfOneRankIsSeenByAll) {
  for (int64_t asked = 0; asked < kShape.world; ++asked) {
    on_mesh(kShape, [&](const Mesh& mesh) {
      UpdateReport report = report_of(1);
      report.stop = mesh.rank() == asked;
      EXPECT_TRUE(UpdateReduction(mesh, kCopies, report).read().stop) << mesh.rank();
    });
  }
}

TEST(UpdateReduction, MetricsKeepTheirNamesInAnyNumber) {
  on_mesh({.world = 3}, [](const Mesh& mesh) {
    const auto rank = static_cast<double>(mesh.rank());
    UpdateReport report = report_of(1);
    for (const char* name : {"z_last", "a_first", "middle"}) report.metrics[name] = number(rank);
    report.metrics["a_first"] = number(10 + rank);
    report.metrics["z_last"] = number(100 * rank);
    EXPECT_EQ(values(UpdateReduction(mesh, 1, report).read().metrics),
              (std::map<std::string, double>{{"a_first", 33}, {"middle", 3}, {"z_last", 300}}));
  });
}

/// Every rank gets the error, in which all that differ from rank 0 stand.
void expect_named(const std::vector<uint64_t>& hashes, const std::string& ranks) {
  on_mesh({.world = static_cast<int64_t>(hashes.size())}, [&](const Mesh& mesh) {
    UpdateReduction sums(mesh, 1, report_of(hashes[static_cast<size_t>(mesh.rank())]));
    try {
      sums.read();
      ADD_FAILURE() << "rank " << mesh.rank() << " saw no difference";
    } catch (const RunError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith("rank " + ranks + ": "));
    }
  });
}

TEST(UpdateReduction, NamesTheRanksWhoseHashDiffers) {
  expect_named({9, 9, 9, 8}, "3");
  expect_named({9, 7, 9, 8}, "1, 3");
  expect_named({8, 9, 9, 9}, "1, 2, 3");
  // In one bit alone, in each part of the hash.
  for (const int bit : {0, 15, 16, 40, 63})
    expect_named({0x0123456789abcdef, 0x0123456789abcdef ^ (uint64_t{1} << bit)}, "1");
  // The sum alone would not show these: rank 0 has the mean of all.
  expect_named({10, 9, 11, 10}, "1, 2");
}

TEST(HashCombine, IsFnv1aOnEveryMachine) {
  // The test vectors of the algorithm's authors (draft-eastlake-fnv).
  EXPECT_EQ(hash_combine(kHashStart, std::string()), 0xcbf29ce484222325ull);
  EXPECT_EQ(hash_combine(kHashStart, std::string("a")), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(hash_combine(kHashStart, std::string("foobar")), 0x85944171f73967e8ull);
  // A number is its eight bytes, the lowest first.
  EXPECT_EQ(hash_combine(kHashStart, 0x6261),
            hash_combine(kHashStart, std::string("ab\0\0\0\0\0\0", 8)));
}

}  // namespace
}  // namespace vmla::distributed
