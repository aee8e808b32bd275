#include "model/io/error.h"
#include "tests/trainer/drawn_stage.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/planner/memory_plan.h"

#include <gtest/gtest.h>

/// What a rank sends, counted while a step of a Wan stage runs without data, and by arithmetic from
/// the model's sizes (docs/algorithms.md 15.4 and 15.5). Bytes are those that a rank must send:
/// (n-1)/n of a whole tensor that is gathered or scattered, twice that for a sum that all keep.
namespace vmla::trainer {
namespace {

using distributed::Collective;

constexpr int64_t kRanks = 8, kChunks = 7, kSteps = 4;
/// Passes of a rollout: its steps in every chunk, and one that fills the cache after all but the
/// last.
constexpr int64_t kPasses = kChunks * kSteps + kChunks - 1;
/// The message that ends an update: norm, loss, stop, and a hash in four parts and their squares.
constexpr int64_t kReport = (3 + 2 * 4) * 8;

/// Bytes that a rank of `shard` sends to gather all blocks or the root in bf16 (what is not a
/// matrix in fp32), or to sum their gradients in fp32 and keep its part. Parts are padded to equal
/// lengths.
struct UnitBytes {
  double blocks = 0, root = 0, gradients = 0;
  double part_elements = 0;  // of all units
  double all() const { return blocks + root; }
};
UnitBytes unit_bytes(const model::ModelConfig& config, int64_t shard) {
  UnitBytes bytes;
  for (const int64_t unit : model::all_units(config)) {
    int64_t halves = 0, exact = 0;
    for (const model::TensorSpec& spec : model::unit_layout(config, unit)) {
      const auto dtype = model::compute_dtype_of(spec, at::kBFloat16, at::kFloat);
      (dtype == at::kBFloat16 ? halves : exact) += spec.numel;
    }
    const auto parts = [&](int64_t elements) { return (elements + shard - 1) / shard; };
    const auto others = static_cast<double>(shard - 1);
    (unit == model::kRootUnit ? bytes.root : bytes.blocks) +=
        others * static_cast<double>(2 * parts(halves) + 4 * parts(exact));
    bytes.gradients += others * 4 * static_cast<double>(parts(halves) + parts(exact));
    bytes.part_elements += static_cast<double>(parts(halves) + parts(exact));
  }
  return bytes;
}

/// A sum over `ranks` that all of them keep.
double summed(double bytes, int64_t ranks) {
  return 2 * bytes * static_cast<double>(ranks - 1) / static_cast<double>(ranks);
}

TrainConfig wan_stage(const std::string& file, const std::vector<std::string>& set) {
  TrainConfig config = load_config(formatted("{}/wan1.3b/{}", VMLA_CONFIG_DIR, file), set);
  config.init_from.clear();  // scores are dense twins of the student
  return config;
}

MemoryPlan plan_of(const TrainConfig& config, int64_t ranks) {
  return plan_memory(
      config, {.clip = {21, 16, 60, 104}}, {.mesh = mesh_shape(config, ranks, ranks)});
}

MemoryPlan teacher_forcing(const std::string& sharding,
                           int64_t micro_batches,
                           const std::vector<std::string>& more = {}) {
  std::vector<std::string> set = {formatted("distributed.sharding={}", sharding),
                                  formatted("train.batch_size={}", kRanks * micro_batches)};
  set.insert(set.end(), more.begin(), more.end());
  return plan_of(wan_stage("teacher_forcing.yaml", set), kRanks);
}

double sent(const MemoryPlan& plan) {
  EXPECT_EQ(plan.step.cycle_steps, 1);
  return plan.step.cycle_bytes();
}

// The estimate of 9.12 GB is two gatherings in bf16 and a sum of gradients, all of 1.303e9 numbers.
// Ours differs where the root is gathered once, and where what is not a matrix travels in fp32.
TEST(SentBytes, OfATeacherForcingStepAreTheArithmetic) {
  const model::ModelConfig mla = wan_stage("teacher_forcing.yaml", {}).model;
  const UnitBytes n = unit_bytes(mla, kRanks), half = unit_bytes(mla, 4);
  const auto parameters = static_cast<double>(model::parameter_count(mla));
  const double report = summed(kReport, kRanks);
  for (const int64_t micro : {2, 5}) {
    const auto m = static_cast<double>(micro);
    // Blocks are recomputed in the backward, so they are gathered twice a micro-batch.
    EXPECT_DOUBLE_EQ(sent(teacher_forcing("full", micro)),
                     2 * m * n.blocks + n.root + n.gradients + report);
    EXPECT_DOUBLE_EQ(
        sent(teacher_forcing("full", micro, {"distributed.gradient_accumulation=scattered"})),
        2 * m * n.blocks + n.root + m * n.gradients + report);
    EXPECT_DOUBLE_EQ(sent(teacher_forcing("full", micro, {"train.recompute=none"})),
                     m * n.blocks + n.root + n.gradients + report);
    EXPECT_DOUBLE_EQ(sent(teacher_forcing("zero1", micro)), n.all() + n.gradients + report);
    EXPECT_DOUBLE_EQ(sent(teacher_forcing("zero2", micro)), n.all() + m * n.gradients + report);
    EXPECT_DOUBLE_EQ(sent(teacher_forcing("replicate", micro)),
                     summed(4 * parameters, kRanks) + report);
    EXPECT_DOUBLE_EQ(sent(teacher_forcing("hybrid", micro, {"distributed.shard_size=4"})),
                     2 * m * half.blocks + half.root + half.gradients +
                         summed(4 * half.part_elements, 2) + report);
  }
  const double full = sent(teacher_forcing("full", 1));
  EXPECT_LE(full, 1.01 * 9.12e9);
  EXPECT_NEAR(full / 1e9, 9.11, 0.005);
}

struct DmdBytes {
  UnitBytes generator, score;
  MemoryPlan plan;
  const UpdateMemory& of(size_t player) const { return plan.step.updates.at(player); }
};
DmdBytes dmd(const std::vector<std::string>& more) {
  std::vector<std::string> set = {"distributed.sharding=full", "train.batch_size=8"};
  set.insert(set.end(), more.begin(), more.end());
  const TrainConfig config = wan_stage("dmd.yaml", set);
  model::ModelConfig dense = config.model;
  dense.attention = "dense";
  return {unit_bytes(config.model, kRanks), unit_bytes(dense, kRanks), plan_of(config, kRanks)};
}

// The estimate is 72.9 GB a cycle (one generator and five critic updates, scores of 1.3B): the
// generator gathered for each of six rollouts (13.7), its gradients (4.6), the real score (2.5),
// the fake score (2.5) and five times two gatherings of it and a sum of its gradients (49.7). Ours
// gathers the generator once a cycle, because it does not change while the critic trains; every
// root once between changes, the frozen score's once for ever.
TEST(SentBytes, OfADmdCycleAreTheArithmetic) {
  const DmdBytes d = dmd({});
  const UnitBytes &g = d.generator, &s = d.score;
  ASSERT_EQ(d.plan.step.cycle_steps, 5);
  const double report = summed(kReport, kRanks), with_metric = summed(kReport + 8, kRanks);
  // The generator has been there since the critic's first rollout; gradients flow once.
  const double generator_update = s.all() + s.blocks + g.gradients + with_metric;
  const double critic = 2 * s.blocks + s.gradients + report;
  EXPECT_DOUBLE_EQ(d.of(0).sent.all.bytes(), generator_update);
  EXPECT_DOUBLE_EQ(d.of(1).sent.all.bytes(), g.all() + critic);  // its root came with the scores
  EXPECT_DOUBLE_EQ(d.of(1).sent_between.all.bytes(), s.root + critic);
  const double cycle = d.plan.step.cycle_bytes();
  EXPECT_DOUBLE_EQ(cycle, generator_update + g.all() + 5 * critic + 4 * s.root);
  EXPECT_NEAR(cycle / 1e9, 61.35, 0.005);
  // The same with a gathering for each of the six rollouts.
  EXPECT_LE(cycle + 5 * g.all(), 1.01 * 72.9e9);
}

// Without holding, a rollout gathers the blocks for each of its passes, and so does the replay of
// seven exit passes, forward and recomputed. A cycle whose exits are drawn has 23.5 passes a
// rollout on average (2.5 steps a chunk), the plan runs all steps: 34.
TEST(SentBytes, OfRolloutsThatAreNotHeldAreThePasses) {
  const DmdBytes held = dmd({}), dropped = dmd({"distributed.hold_weights=false"});
  const UnitBytes& g = held.generator;
  const auto gathered = [](const DmdBytes& d, size_t player) {
    return d.of(player).sent.all.of(Collective::kAllGather).bytes;
  };
  const double rollout = static_cast<double>(kPasses) * g.blocks;
  const double replay = 2.0 * static_cast<double>(kChunks) * g.blocks;
  EXPECT_DOUBLE_EQ(gathered(dropped, 0), gathered(held, 0) + rollout + replay);
  EXPECT_DOUBLE_EQ(gathered(dropped, 1), gathered(held, 1) - g.all() + rollout + g.root);
  // Six rollouts, gathered for each of them and not for each pass: 20 times fewer bytes and more.
  const double mean_passes = 2.5 * kChunks + kChunks - 1;
  EXPECT_GE(6 * (mean_passes * g.blocks + g.root) / (6 * g.all()), 20);
  // And once a cycle, as here.
  EXPECT_GE((6 * mean_passes * g.blocks) / g.all(), 130);
}

// Latents and rope keys, 224 numbers a token and layer, three times (forward, recomputed,
// gradient), of all frames that the network sees: the clean copy of the last chunk is not among
// them. The flow's tokens are joined once, in fp32.
TEST(SentBytes, OfSequenceRanksAreTheirLatents) {
  for (const int64_t ranks : {2, 4, 8, 12}) {
    const TrainConfig config =
        wan_stage("teacher_forcing.yaml",
                  {"train.batch_size=1",
                   "distributed.sharding=zero1",
                   formatted("distributed.sequence_parallel_size={}", ranks)});
    const auto n = static_cast<double>(ranks);
    const double share = (n - 1) / n, tokens = (21 + 18) * 1560;
    const UnitBytes weights = unit_bytes(config.model, ranks);
    const double latents = share * 3 * 30 * tokens * 224 * 2, flow = share * 21 * 1560 * 64 * 4;
    EXPECT_NEAR(sent(plan_of(config, ranks)),
                weights.all() + weights.gradients + summed(kReport, ranks) + latents + flow,
                1.0)
        << ranks;
  }
}

}  // namespace
}  // namespace vmla::trainer
