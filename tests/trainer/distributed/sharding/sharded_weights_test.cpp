#include "trainer/distributed/sharding/sharded_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/network/unit_function.h"
#include "tests/model/tiny_network.h"
#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/sharding/sharded_frozen_weights.h"

namespace vmla::distributed {
namespace {

using model::ModelConfig;
using model::TrainedWeights;

struct Mode {
  std::string name;
  int64_t ranks, shard;
  ShardingPolicy policy;
};

/// Every way of spreading, at group sizes that leave padding and empty parts.
std::vector<Mode> modes() {
  std::vector<Mode> all;
  for (const int64_t ranks : {2, 3, 4}) {
    all.push_back({"replicate", ranks, 1, {.keep_gathered = true, .scatter_gradients = false}});
    for (const bool scatter : {false, true}) {
      all.push_back({"zero", ranks, ranks, {.keep_gathered = true, .scatter_gradients = scatter}});
      all.push_back({"full", ranks, ranks, {.keep_gathered = false, .scatter_gradients = scatter}});
    }
  }
  for (const bool scatter : {false, true})
    all.push_back({"hybrid", 4, 2, {.keep_gathered = false, .scatter_gradients = scatter}});
  return all;
}

/// The groups of one rank: threads that share a part, and threads that hold the same one.
struct Groups {
  std::vector<std::vector<std::unique_ptr<Communicator>>> shards, replicas;
  Groups(int64_t ranks, int64_t shard) {
    for (int64_t i = 0; i < ranks / shard; ++i) shards.push_back(thread_communicators("s", shard));
    for (int64_t i = 0; i < shard; ++i)
      replicas.push_back(thread_communicators("r", ranks / shard));
  }
  Communicator& shard_of(int64_t rank) {
    const auto size = static_cast<int64_t>(shards[0].size());
    return *shards[static_cast<size_t>(rank / size)][static_cast<size_t>(rank % size)];
  }
  Communicator& replica_of(int64_t rank) {
    const auto size = static_cast<int64_t>(shards[0].size());
    return *replicas[static_cast<size_t>(rank % size)][static_cast<size_t>(rank / size)];
  }
};

using Work = std::function<void(int64_t rank, ShardedWeights& weights)>;

void with_sharded(const Mode& mode,
                  const ModelConfig& config,
                  at::ScalarType compute,
                  at::ScalarType master,
                  const Work& work) {
  const auto given = model::drawn_weights(config);
  Groups groups(mode.ranks, mode.shard);
  on_threads(mode.ranks, [&](Communicator& world) {
    ShardedWeights weights({.config = config,
                            .tensors = given,
                            .source = "drawn",
                            .home = at::kCPU,
                            .compute_dtype = compute,
                            .master_dtype = master,
                            .with_gradients = true,
                            .policy = mode.policy,
                            .shard = groups.shard_of(world.rank()),
                            .replica = groups.replica_of(world.rank())});
    work(world.rank(), weights);
    world.barrier();
  });
}

TEST(ShardedWeights, GatherWhatOneProcessHolds) {
  const ModelConfig config = model::tiny_mla();
  const auto given = model::drawn_weights(config);
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    TrainedWeights alone(config, given, "drawn", at::kCPU, compute);
    for (const int64_t unit : alone.units()) alone.acquire(unit);
    for (const Mode& mode : modes()) {
      with_sharded(mode, config, compute, at::kFloat, [&](int64_t, ShardedWeights& weights) {
        for (const int64_t unit : weights.units()) {
          weights.prefetch(unit);
          const auto expected = alone.acquire(unit), found = weights.acquire(unit);
          ASSERT_EQ(found.size(), expected.size());
          for (size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i].scalar_type(), expected[i].scalar_type());
            EXPECT_TRUE(at::equal(found[i], expected[i])) << mode.name << mode.ranks << " " << i;
          }
          weights.release(unit);
        }
        for (const auto& [name, tensor] : weights.tensors())
          EXPECT_TRUE(at::equal(tensor, given.at(name).to(at::kFloat))) << name;
      });
    }
  }
}

TEST(ShardedWeights, PartsCoverEveryElementOnce) {
  const ModelConfig config = model::tiny_mla();
  for (const int64_t size : {1, 2, 3, 7, 5000}) {
    for (const int64_t unit : model::all_units(config)) {
      const auto layout = model::unit_layout(config, unit);
      std::vector<at::Tensor> covered;
      for (const auto& spec : layout) covered.push_back(at::zeros({spec.numel}, at::kLong));
      for (int64_t rank = 0; rank < size; ++rank) {
        const UnitCut cut = cut_unit(
            layout, {.compute = at::kBFloat16, .exact = at::kFloat}, {.rank = rank, .size = size});
        for (const model::FlatPiece& piece : cut.part.pieces) {
          ASSERT_LE(piece.offset + piece.count, cut.part.numel);
          covered[piece.tensor].narrow(0, piece.first, piece.count).add_(1);
        }
      }
      for (const at::Tensor& count : covered) EXPECT_TRUE(count.eq(1).all().item<bool>());
    }
  }
}

/// What rank `rank` adds to a unit's gradients in backward `round`: numbers of its own, nothing for
/// some tensors. Small integers, so that every order of adding gives the same bits.
std::vector<at::Tensor> made_gradients(const std::vector<model::TensorSpec>& layout,
                                       int64_t rank,
                                       int64_t round) {
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < layout.size(); ++i) {
    const auto scale = static_cast<double>(1 + (rank + 2 * round + static_cast<int64_t>(i)) % 5);
    gradients.push_back(
        i % 4 == 3 ? at::Tensor()
                   : scale * (at::arange(layout[i].numel, at::kFloat) % 7).view(layout[i].shape));
  }
  return gradients;
}

TEST(ShardedWeights, GradientsAreTheSumOverRanksAndBackwards) {
  const ModelConfig config = model::tiny_mla();
  for (const Mode& mode : modes()) {
    TrainedWeights alone(config, model::drawn_weights(config), "drawn");
    for (const int64_t unit : alone.units()) {
      for (int64_t rank = 0; rank < mode.ranks; ++rank) {
        for (const int64_t round : {0, 1})
          alone.add_gradients(unit, made_gradients(alone.layout(unit), rank, round));
      }
    }
    const auto expected = alone.gradients();
    for (const auto compute : {at::kFloat, at::kBFloat16}) {
      with_sharded(mode, config, compute, at::kFloat, [&](int64_t rank, ShardedWeights& weights) {
        for (int64_t step = 0; step < 2; ++step) {  // the second finds clean buffers
          weights.zero_gradients();
          for (const int64_t round : {0, 1}) {
            for (const int64_t unit : weights.units()) weights.expect_gradients(unit);
            if (round == 1) weights.begin_last_backward();
            for (const int64_t unit : weights.units())
              weights.add_gradients(unit, made_gradients(weights.layout(unit), rank, round));
          }
          weights.finish_gradients();
          for (const int64_t unit : weights.units()) {
            for (const model::FlatPiece& piece : weights.part(unit).pieces) {
              const std::string& name = weights.layout(unit)[piece.tensor].name;
              EXPECT_TRUE(at::equal(weights.gradient(unit).narrow(0, piece.offset, piece.count),
                                    expected.at(name).view(-1).narrow(0, piece.first, piece.count)))
                  << mode.name << mode.ranks << " " << name;
            }
          }
        }
      });
    }
  }
}

TEST(ShardedWeights, FollowTheirMasters) {
  const ModelConfig config = model::tiny_dense();
  const auto given = model::drawn_weights(config);
  for (const Mode& mode : modes()) {
    with_sharded(mode, config, at::kFloat, at::kFloat, [&](int64_t, ShardedWeights& weights) {
      weights.acquire(0);
      weights.release(0);
      weights.prefetch(1);
      for (const int64_t unit : weights.units()) weights.master(unit).mul_(2.0);
      weights.drop_copies();
      const at::Tensor found = weights.acquire(0)[0];
      EXPECT_TRUE(at::equal(found, 2.0 * given.at("blocks.0.modulation").to(at::kFloat)));
      weights.release(0);
    });
  }
}

TEST(ShardedWeights, WhatIsOffloadedLiesAtHomeAndIsGatheredWhereItIsUsed) {
  const ModelConfig config = model::tiny_dense();
  // The device without data stands for the one where networks compute.
  model::Home home(at::kMeta);
  home.lies = at::kCPU;
  home.offloaded = true;
  for (const int64_t shard : {1, 2}) {
    Groups groups(2, shard);
    on_threads(2, [&](Communicator& world) {
      const auto moved = dry_communicator("shard", world.rank() % shard, shard);
      ShardedWeights weights({.config = config,
                              .tensors = model::drawn_weights(config),
                              .source = "drawn",
                              .home = home,
                              .compute_dtype = at::kFloat,
                              .master_dtype = at::kFloat,
                              .with_gradients = false,
                              .policy = {.keep_gathered = false, .scatter_gradients = false},
                              .shard = *moved,
                              .replica = groups.replica_of(world.rank())});
      EXPECT_TRUE(weights.master(0).is_cpu());
      EXPECT_EQ(weights.acquire(0)[0].is_meta(), shard > 1);  // whole ones are copied elsewhere
    });
  }
}

/// Bytes of a pass and of an update, in elements of fp32: what docs/algorithms.md 15.4 counts.
TEST(ShardedWeights, SendWhatTheArithmeticSays) {
  const ModelConfig config = model::tiny_dense();
  const auto parameters = [&](int64_t unit) {
    const auto layout = model::unit_layout(config, unit);
    return layout.back().offset + layout.back().numel;
  };
  constexpr int64_t kRanks = 4;
  const auto padded = [&](int64_t unit) { return (parameters(unit) + kRanks - 1) / kRanks; };
  const Mode full{"full", kRanks, kRanks, {.keep_gathered = false, .scatter_gradients = false}};
  Groups groups(kRanks, kRanks);
  on_threads(kRanks, [&](Communicator& world) {
    Communicator& shard = groups.shard_of(world.rank());
    ShardedWeights weights({.config = config,
                            .tensors = model::drawn_weights(config),
                            .source = "drawn",
                            .home = at::kCPU,
                            .compute_dtype = at::kFloat,
                            .master_dtype = at::kFloat,
                            .with_gradients = true,
                            .policy = full.policy,
                            .shard = shard,
                            .replica = groups.replica_of(world.rank())});
    const auto pass = [&] {
      for (const int64_t unit : {model::kRootUnit, int64_t{0}, int64_t{1}, model::kRootUnit}) {
        weights.acquire(unit);
        weights.release(unit);
      }
    };
    const double part = 3.0 * 4;  // bytes that go out for one element of a part
    const auto root = static_cast<double>(padded(model::kRootUnit)) * part;
    const auto blocks = static_cast<double>(padded(0) + padded(1)) * part;
    pass();  // the root stays, the blocks are dropped
    EXPECT_EQ(shard.counters().of(Collective::kAllGather).bytes, root + blocks);
    pass();
    EXPECT_EQ(shard.counters().of(Collective::kAllGather).bytes, root + 2 * blocks);
    {
      const model::HeldWeights held(weights);
      for (int i = 0; i < 5; ++i) pass();
    }
    EXPECT_EQ(shard.counters().of(Collective::kAllGather).bytes, root + 3 * blocks);
    weights.finish_gradients();
    EXPECT_EQ(shard.counters().of(Collective::kReduceScatter).bytes, root + blocks);
    world.barrier();
  });
}

TEST(ShardedFrozenWeights, GatherWhatOneProcessHolds) {
  const ModelConfig config = model::tiny_dense();
  const auto given = model::drawn_weights(config);
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16, at::kDouble}) {
    model::FrozenWeights alone(config, given, "drawn", at::kCPU, compute);
    on_threads(3, [&](Communicator& shard) {
      ShardedFrozenWeights weights({.config = config,
                                    .tensors = given,
                                    .source = "drawn",
                                    .home = at::kCPU,
                                    .compute_dtype = compute,
                                    .allow_hold = true,
                                    .shard = shard});
      for (const int64_t unit : model::all_units(config)) {
        const auto expected = alone.acquire(unit), found = weights.acquire(unit);
        for (size_t i = 0; i < found.size(); ++i) {
          EXPECT_EQ(found[i].scalar_type(), expected[i].scalar_type());
          EXPECT_TRUE(at::equal(found[i], expected[i]));
        }
        weights.release(unit);
      }
      EXPECT_THROW(weights.add_gradients(0, {}), c10::Error);
      shard.barrier();
    });
  }
}

/// A training pass whose samples are spread over the ranks gives the gradients of the whole batch.
TEST(ShardedWeights, NetworkGradientsAreThoseOfTheWholeBatch) {
  const ModelConfig config = model::tiny_causal("mla", 2, 4, 1);
  const auto plan = model::prepared(config, model::chunk_causal_plan(config, 4));
  const model::DitInputs inputs = model::tiny_inputs(config, 4);  // batch 2
  const at::Tensor pull = model::draw("pull", inputs.latents_BFCHW.sizes());
  const auto loss =
      [&](model::WeightSource& weights, int64_t first, int64_t count, model::Recompute recompute) {
        const model::DitInputs own{inputs.latents_BFCHW.narrow(0, first, count),
                                   inputs.timesteps_BF.narrow(0, first, count),
                                   inputs.text_BTE.narrow(0, first, count)};
        const model::ForwardOptions options{.grad = model::GradMode::kFull, .recompute = recompute};
        const at::Tensor flow =
            model::dit_forward({config, weights}, own, plan, {}, options).flow_BFCHW;
        return (flow * pull.narrow(0, first, count)).sum();
      };
  TrainedWeights alone(
      config, model::drawn_weights(config), "drawn", at::kCPU, at::kDouble, at::kDouble);
  loss(alone, 0, 2, model::Recompute::kNone).backward();
  const auto expected = alone.gradients();
  for (const Mode& mode : modes()) {
    if (mode.ranks != 2) continue;
    for (const auto& [name, recompute] : model::kRecomputeNames) {
      with_sharded(mode, config, at::kDouble, at::kDouble, [&](int64_t rank, ShardedWeights& w) {
        w.zero_gradients();
        w.begin_last_backward();
        loss(w, rank, 1, recompute).backward();
        w.finish_gradients();
        for (const int64_t unit : w.units()) {
          for (const model::FlatPiece& piece : w.part(unit).pieces) {
            const at::Tensor& whole = expected.at(w.layout(unit)[piece.tensor].name);
            // fp64 sums in another order: some hundred terms, far below 1e-12 of the largest.
            EXPECT_LE((w.gradient(unit).narrow(0, piece.offset, piece.count) -
                       whole.view(-1).narrow(0, piece.first, piece.count))
                          .abs()
                          .max()
                          .item<double>(),
                      1e-12 * (1.0 + whole.abs().max().item<double>()))
                << mode.name;
          }
        }
        w.drop_copies();
      });
    }
  }
}

}  // namespace
}  // namespace vmla::distributed
