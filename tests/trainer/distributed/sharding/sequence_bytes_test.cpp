#include "model/network/sequence_slices.h"
#include "tests/model/tiny_network.h"
#include "tests/trainer/distributed/sharding/on_slices.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/sharding/sequence_ranks.h"
#include "trainer/planner/sizes_only.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

/// What sequence parallelism sends, counted and by arithmetic (docs/algorithms.md 15.5). Bytes are
/// those a rank must send: (P-1)/P of a whole tensor that is gathered or scattered, (P-1)/P of a
/// local one that is exchanged all to all.
namespace vmla::distributed {
namespace {

using model::GradMode;
using model::ModelConfig;

// fp64 on a tiny network: latents and rope keys forward, again when recomputed, their gradients
// once; the flow's tokens forward; the latents' gradient backward.
TEST(SequenceBytes, AreTheArithmeticOnATinyNetwork) {
  for (const int64_t ranks : {2, 3}) {
    const ModelConfig config = model::tiny_mla();
    const model::PreparedPlan plan = model::prepared(config, model::bidirectional_plan(2));
    on_threads(ranks, [&](Communicator& group) {
      SequenceRanks sequence(group);
      model::TrainedWeights weights(
          config, model::drawn_weights(config), "drawn", at::kCPU, at::kDouble, at::kDouble);
      const auto sent = [&](Collective kind) { return group.counters().of(kind).bytes; };
      const double share = static_cast<double>(ranks - 1) / static_cast<double>(ranks);
      const int64_t tokens = 2 * 2 * model::kTinyTokens;  // B F S
      double keys = 0;
      for (int64_t layer = 0; layer < config.num_layers; ++layer) {
        const model::LayerDims d = model::layer_dims(config, layer);
        keys += share * static_cast<double>(tokens * (d.kv_rank + d.rope)) * 8;
      }
      const double latents = share * static_cast<double>(tokens * 4 * config.in_dim) * 8;
      for (const auto& [name, recompute] : model::kRecomputeNames) {
        group.reset_counters();
        model::DitInputs inputs = model::tiny_inputs(config, 2);
        inputs.latents_BFCHW.requires_grad_();
        const at::Tensor flow =
            model::dit_forward({config, weights, &sequence},
                               inputs,
                               plan,
                               {},
                               {.grad = GradMode::kFull, .recompute = recompute})
                .flow_BFCHW;
        EXPECT_NEAR(sent(Collective::kAllGather), keys + latents, 1e-6);
        flow.sum().backward();
        EXPECT_NEAR(sent(Collective::kAllGather),
                    (recompute == model::Recompute::kNone ? 1 : 2) * keys + 2 * latents,
                    1e-6);
        EXPECT_NEAR(sent(Collective::kReduceScatter), keys, 1e-6);
        EXPECT_EQ(sent(Collective::kAllToAll), 0);
      }
    });
  }
}

/// A rank of a group that is not there: makes tensors of the right sizes and counts.
class CountingGroup final : public model::SequenceGroup {
 public:
  explicit CountingGroup(int64_t size) : size_(size) {}
  double bytes() const { return bytes_; }

  int64_t size() const override { return size_; }
  int64_t index() const override { return 0; }
  at::Tensor all_gather(const at::Tensor& part) override {
    return count(part.unsqueeze(0).expand(with_ranks(part)).contiguous());
  }
  at::Tensor reduce_scatter(const at::Tensor& whole) override { return count(whole).select(0, 0); }
  at::Tensor all_to_all(const at::Tensor& sent) override { return count(sent); }

 private:
  std::vector<int64_t> with_ranks(const at::Tensor& part) const {
    std::vector<int64_t> sizes = part.sizes().vec();
    sizes.insert(sizes.begin(), size_);
    return sizes;
  }
  const at::Tensor& count(const at::Tensor& whole) {
    bytes_ += static_cast<double>(whole.nbytes()) * static_cast<double>(size_ - 1) /
              static_cast<double>(size_);
    return whole;
  }

  int64_t size_;
  double bytes_ = 0;
};

constexpr int64_t kClipFrames = 21, kFrameTokens = 1560;

/// Bytes that one rank sends for a training pass over a clip at Wan's sizes in bf16, with
/// recompute: what goes forward goes twice. No tensor has data.
double training_bytes(const ModelConfig& config, int64_t ranks) {
  trainer::allow_sizes_only_steps();
  const auto made = [](std::vector<int64_t> sizes) {
    return at::empty(sizes, at::device(at::kMeta).dtype(at::kFloat));
  };
  std::map<std::string, at::Tensor> tensors;
  for (const int64_t unit : model::all_units(config)) {
    for (const model::TensorSpec& spec : model::unit_layout(config, unit))
      tensors[spec.name] = made(spec.shape);
  }
  model::TrainedWeights weights(config, tensors, "sizes", at::kMeta, at::kBFloat16);
  CountingGroup group(ranks);
  const model::PreparedPlan plan = model::prepare_plan(config,
                                                       model::bidirectional_plan(kClipFrames),
                                                       {30, 52},
                                                       at::device(at::kMeta).dtype(at::kFloat));
  const model::DitInputs inputs = {made({1, kClipFrames, config.in_dim, 60, 104}),
                                   made({1, kClipFrames}),
                                   made({1, config.text_len, config.text_dim})};
  const at::Tensor flow =
      model::dit_forward({config, weights, &group},
                         inputs,
                         plan,
                         {},
                         {.grad = GradMode::kFull, .recompute = model::Recompute::kBlock})
          .flow_BFCHW;
  flow.sum().backward();
  return group.bytes();
}

// The 1.16 GB of docs/algorithms.md 15.5 are this count: three exchanges of R + P = 224 bf16
// numbers a token and layer (forward, forward again, gradients in bf16), and so are the dense
// figures beside it. The flow's tokens, which are joined in fp32 once, come on top and are the same
// for all.
TEST(SequenceBytes, AreTheArithmeticAtWansSizes) {
  ModelConfig mla;
  mla.attention = "mla";
  const ModelConfig dense;
  const double tokens = kClipFrames * kFrameTokens, passes = 3, bf16 = 2;
  const double layers = static_cast<double>(mla.num_layers), width = static_cast<double>(mla.dim);
  for (const int64_t ranks : {2, 4, 8, 12}) {
    const double n = static_cast<double>(ranks), share = (n - 1) / n;
    const double flow = share * tokens * 64 * 4;
    const double latents = share * passes * layers * tokens * (192 + 32) * bf16;
    const double gathered = share * passes * layers * tokens * 2 * width * bf16;
    const double to_heads = share * passes * layers * tokens / n * 4 * width * bf16;
    const bool heads_divide =
        model::attention_exchange(dense, ranks) == model::AttentionExchange::kHeads;
    EXPECT_EQ(heads_divide, ranks != 8);  // twelve heads

    EXPECT_NEAR(training_bytes(mla, ranks), latents + flow, 1.0);
    EXPECT_NEAR(training_bytes(dense, ranks), (heads_divide ? to_heads : gathered) + flow, 1.0);
    EXPECT_NEAR(to_heads / latents, 27.43 / n, 0.01 / n);
    if (ranks == 8) {
      EXPECT_NEAR(latents / 1e9, 1.16, 0.005);
      EXPECT_NEAR(gathered / 1e9, 15.9, 0.05);
    }
  }
}

}  // namespace
}  // namespace vmla::distributed
