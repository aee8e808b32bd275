#include "model/network/wan_dit.h"

#include "kernels/host_transfer.h"
#include "kernels/modulate/modulate.h"
#include "model/io/error.h"
#include "model/network/embedding.h"
#include "model/network/projection.h"
#include "model/network/sequence_exchange.h"
#include "model/network/sequence_slices.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::model {
namespace {

template <class T>
std::shared_ptr<const T> shared_or_borrowed(const T& value, bool copy) {
  if (copy) return std::make_shared<const T>(value);
  return {std::shared_ptr<const T>(), &value};
}

/// The plan of the rank's tokens; the whole one when they are exchanged for heads.
std::shared_ptr<const PreparedPlan> plan_of_rank(const PreparedPlan& plan,
                                                 SequenceGroup* ranks,
                                                 bool exchange_heads,
                                                 bool copy) {
  if (!ranks || exchange_heads) return shared_or_borrowed(plan, copy);
  return std::make_shared<const PreparedPlan>(slice_queries(plan, ranks->size(), ranks->index()));
}

/// Keys (latent) or contents (dense) apart from the product that they are a part of, which they
/// would keep alive in every layer until they are cached. (What ranks have gathered is one tensor.)
LayerKv by_itself(LayerKv kv) {
  if (kv.content.is_contiguous()) kv.key = kv.key.contiguous();
  if (kv.key.is_contiguous()) kv.content = kv.content.contiguous();
  return kv;
}

void check_inputs(const ModelConfig& config, const DitInputs& in, const PreparedPlan& plan) {
  const auto& x = in.latents_BFCHW;
  TORCH_CHECK(x.dim() == 5, "latents must be [B, F, C, H, W], given: ", x.sizes());
  TORCH_CHECK(x.size(1) == plan.plan.sequence_frames(),
              "latent frames do not fit the plan: ",
              x.size(1),
              " against ",
              plan.plan.sequence_frames());
  if (x.size(2) != config.in_dim) {
    fail_user("latents have {} channels, the model takes {}", x.size(2), config.in_dim);
  }
  if (in.text_BTE.size(1) > config.text_len) {
    fail_user("text has {} rows, more than text_len {}", in.text_BTE.size(1), config.text_len);
  }
  if (in.text_BTE.size(2) != config.text_dim) {
    fail_user("text embeddings are {} wide, the model takes text_dim {}",
              in.text_BTE.size(2),
              config.text_dim);
  }
  TORCH_CHECK(in.timesteps_BF.sizes() == at::IntArrayRef({x.size(0), x.size(1)}),
              "timesteps must be [B, F], given: ",
              in.timesteps_BF.sizes());
}

/// One forward in progress: what its units share. A unit's body may run again in backward, after
/// the caller's objects are gone; with gradients, bodies therefore own copies of the configuration
/// and the plan.
class DitForward {
 public:
  DitForward(const Network& network,
             const DitInputs& inputs,
             const PreparedPlan& plan,
             const ForwardOptions& options)
      : network_(network),
        options_(options),
        grid_(
            token_grid(network.config, inputs.latents_BFCHW.size(3), inputs.latents_BFCHW.size(4))),
        ranks_(network.sequence && network.sequence->size() > 1 ? network.sequence : nullptr),
        exchange_heads_(ranks_ && attention_exchange(network.config, ranks_->size()) ==
                                      AttentionExchange::kHeads),
        may_run_again_(options.grad != GradMode::kNone),
        config_(shared_or_borrowed(network.config, may_run_again_)) {
    const bool keeps = options.pass_cache || options.chunk_cache;
    TORCH_CHECK(!keeps || options.grad == GradMode::kNone,
                "what passes keep carries no gradient: leave the caches out of training");
    if (ranks_) {
      check_sequence_slices(network.config,
                            inputs.latents_BFCHW.size(3),
                            inputs.latents_BFCHW.size(4),
                            ranks_->size());
    }
    plan_ = plan_of_rank(plan, ranks_, exchange_heads_, may_run_again_);
    fills_cross_ = options.pass_cache && options.pass_cache->text.empty();
    if (options.pass_cache)
      options.pass_cache->derived.resize(static_cast<size_t>(network.config.num_layers));
    if (options.chunk_cache)
      options.chunk_cache->layers.resize(static_cast<size_t>(network.config.num_layers));
  }

  DitOutputs run(const DitInputs& inputs, const std::vector<LayerKv>& window) {
    const bool has_window = plan_->plan.window_frames > 0;
    TORCH_CHECK(!has_window || static_cast<int64_t>(window.size()) == config_->num_layers,
                "the plan has a window, layers of keys and values given: ",
                window.size());
    const Embedded embedded = embed(inputs);
    at::Tensor x_BFSD = embedded.x_BFSD;
    DitOutputs result;
    for (int64_t layer = 0; layer < config_->num_layers; ++layer) {
      const LayerKv kv = has_window ? window[static_cast<size_t>(layer)] : LayerKv{};
      const BlockOut out = run_block(layer, x_BFSD, embedded, kv);
      if (options_.keep_kv) result.kv.push_back(may_run_again_ ? out.kv : by_itself(out.kv));
      x_BFSD = out.x_BFSD;
    }
    if (options_.need_flow) result.flow_BFCHW = run_head(x_BFSD, embedded.time.time_BFD);
    return result;
  }

 private:
  struct Embedded {
    at::Tensor x_BFSD;  // fp32 (fp64 in fp64 runs); S/P tokens with a sequence group
    TimeEmbedding time;
    at::Tensor context_BTD;  // undefined where the text's keys and values are at hand
  };

  /// Units in the order in which weights are wanted: the root, the blocks, the head (the root
  /// again); backward goes back.
  UnitCall unit(int64_t index) const {
    static_assert(kRootUnit + 1 == 0, "the first block comes after the root");
    UnitCall call{network_.weights, index, options_.grad, options_.recompute};
    // What the root computes again is small, and what the head reads it reads at once.
    if (index != kRootUnit) call.activations = network_.activations;
    if (index + 1 < config_->num_layers) call.next = index + 1;
    if (index > 0) call.previous = index - 1;
    return call;
  }

  Embedded embed(const DitInputs& inputs) {
    PassCache* const kept = options_.pass_cache;
    const bool reads_text = !kept || fills_cross_;
    kept_time_ = kept ? kept->times.find(inputs.timesteps_BF) : nullptr;
    const bool reads_time = kept_time_ == nullptr;
    // Sliced before the projection, so that each rank's weight gradients are parts too.
    at::Tensor patches = patchify(inputs.latents_BFCHW, *config_);
    if (ranks_) patches = take_own_tokens(patches, *ranks_);
    const auto body = [config = config_, reads_text, reads_time](
                          const std::vector<at::Tensor>& weights,
                          const std::vector<at::Tensor>& in,
                          kernels::KeptAttention*) {
      const ModelConfig& c = *config;
      const RootWeights w = bind_root(c, weights);
      const TimeEmbedding time = reads_time ? embed_time(in[1], w, c) : TimeEmbedding{};
      const auto residual_dtype = w.time_in_weight.scalar_type();  // fp32, or fp64 in tests
      const at::Tensor tokens = project(in[0], w.patch_weight.flatten(1), w.patch_bias);
      return std::vector<at::Tensor>{tokens.to(residual_dtype),
                                     time.time_BFD,
                                     time.modulation_BF6D,
                                     reads_text ? embed_text(in[2], w, c) : at::Tensor()};
    };
    const at::Tensor timesteps_BF =
        reads_time ? kernels::upload(inputs.timesteps_BF, patches.device()) : at::Tensor();
    const auto out = run_unit(unit(kRootUnit), body, {patches, timesteps_BF, inputs.text_BTE});
    if (!reads_time) return {out[0], kept_time_->embedding, out[3]};
    const TimeEmbedding time{out[1], out[2]};
    if (kept) kept_time_ = kept->times.keep(inputs.timesteps_BF, time, config_->num_layers);
    return {out[0], time, out[3]};
  }

  BlockOut run_block(int64_t layer,
                     const at::Tensor& x_BFSD,
                     const Embedded& embedded,
                     const LayerKv& window) {
    const bool last = layer + 1 == config_->num_layers;
    // A cache fill wants no flow: the last layer has no query frames, as if all of them were
    // context.
    const bool kv_only = last && !options_.need_flow;
    const CrossKv cross_kv = text_kv(layer, embedded.context_BTD);
    const auto body = [config = config_,
                       plan = plan_,
                       layer,
                       last,
                       kv_only,
                       cross_kv,
                       ranks = ranks_,
                       exchange_heads = exchange_heads_,
                       form = options_.form,
                       kept = kept_of(layer, window)](const std::vector<at::Tensor>& weights,
                                                      const std::vector<at::Tensor>& in,
                                                      kernels::KeptAttention* kept_attention) {
      const BlockInputs block_in{
          in[1], in[2], cross_kv.k.defined() ? &cross_kv : nullptr, {in[3], in[4], in[5]}};
      const BlockSettings settings{.config = *config,
                                   .plan = *plan,
                                   .layer = layer,
                                   .only_output = last,
                                   .kv_only = kv_only,
                                   .form = form,
                                   .sequence = ranks,
                                   .exchange_heads = exchange_heads,
                                   .kept_attention = kept_attention,
                                   .kept = kept};
      const BlockOut out =
          dit_block(bind_block(*config, layer, weights), in[0], block_in, settings);
      std::vector<at::Tensor> outputs = {out.kv.content, out.kv.key};
      if (out.x_BFSD.defined()) outputs.push_back(out.x_BFSD);
      return outputs;
    };
    const auto out = run_unit(unit(layer),
                              body,
                              {x_BFSD,
                               embedded.time.modulation_BF6D,
                               embedded.context_BTD,
                               window.content,
                               window.key,
                               window.scale});
    if (fills_cross_) network_.weights.release(layer);  // acquired by text_kv
    return {kv_only ? at::Tensor() : out[2], {out[0], out[1]}};
  }

  KeptOfLayer kept_of(int64_t layer, const LayerKv& window) const {
    const auto index = static_cast<size_t>(layer);
    KeptOfLayer kept;
    if (options_.pass_cache) {
      kept.derived = &options_.pass_cache->derived[index];
      kept.exact = options_.pass_cache->exact;
    }
    if (options_.chunk_cache && window.key.defined())
      kept.window = &options_.chunk_cache->layers[index];
    if (kept_time_) kept.modulation_BF6D = &kept_time_->modulation_of_layer[index];
    return kept;
  }

  /// The prompt's keys and values where they are kept over passes; undefined where the block is to
  /// make them. The first pass fills them in and leaves the layer acquired, so that it is not
  /// gathered twice.
  CrossKv text_kv(int64_t layer, const at::Tensor& context_BTD) {
    PassCache* kept = options_.pass_cache;
    if (!kept) return {};
    if (fills_cross_) {
      const at::NoGradGuard no_grad;
      const DitBlockWeights w = bind_block(*config_, layer, network_.weights.acquire(layer));
      kept->text.push_back(
          cross_attention_kv(w.cross_attn, context_BTD, config_->num_heads, config_->eps));
    }
    return kept->text[static_cast<size_t>(layer)];
  }

  at::Tensor run_head(const at::Tensor& x_BFSD, const at::Tensor& time_BFD) const {
    const int64_t begin = plan_->plan.output_begin;
    const at::Tensor time_out = time_BFD.narrow(1, begin, time_BFD.size(1) - begin);
    UnitCall head = unit(kRootUnit);
    head.next = std::nullopt;
    head.previous = config_->num_layers - 1;
    const auto body = [config = config_](const std::vector<at::Tensor>& weights,
                                         const std::vector<at::Tensor>& in,
                                         kernels::KeptAttention*) {
      const ModelConfig& c = *config;
      const RootWeights w = bind_root(c, weights);
      const auto m = (in[1].unsqueeze(2) + w.head_modulation.unsqueeze(1)).unbind(2);
      const at::Tensor normed = kernels::layer_norm_modulate(in[0], m[0], m[1], c.eps);
      const at::Tensor out = project(normed, w.head_weight, w.head_bias);
      return std::vector<at::Tensor>{out.to(in[0].scalar_type())};
    };
    at::Tensor patches = run_unit(head, body, {x_BFSD, time_out})[0];
    if (ranks_) patches = join_tokens(patches, *ranks_);
    return unpatchify(patches, *config_, grid_);
  }

  const Network& network_;
  const ForwardOptions& options_;
  const TokenGrid grid_;
  SequenceGroup* const ranks_;  // null: this process has the whole sequence
  const bool exchange_heads_;
  const bool may_run_again_;
  const std::shared_ptr<const ModelConfig> config_;
  std::shared_ptr<const PreparedPlan> plan_;
  bool fills_cross_ = false;
  KeptTime* kept_time_ = nullptr;
};

}  // namespace

at::Tensor same_time(const at::Tensor& latents_BFCHW, double timestep) {
  return at::full({latents_BFCHW.size(0), latents_BFCHW.size(1)}, timestep, at::kDouble);
}

bool windows_fit(const ModelConfig& config, int64_t tokens, int64_t bytes) {
  if (!config.is_mla()) return false;
  int64_t numbers = 0;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    numbers += d.num_heads * (d.nope + d.rope + d.v_head);
  }
  return tokens * numbers * static_cast<int64_t>(sizeof(float)) <= bytes;
}

std::unique_ptr<ChunkCache> chunk_cache_for(const ModelConfig& config,
                                            int64_t tokens,
                                            int64_t bytes) {
  return windows_fit(config, tokens, bytes) ? std::make_unique<ChunkCache>() : nullptr;
}

DitOutputs dit_forward(const Network& network,
                       const DitInputs& inputs,
                       const PreparedPlan& plan,
                       const std::vector<LayerKv>& window,
                       const ForwardOptions& options) {
  check_inputs(network.config, inputs, plan);
  return DitForward(network, inputs, plan, options).run(inputs, window);
}

at::Tensor teacher_forcing_forward(const Network& network,
                                   const at::Tensor& clean_BFCHW,
                                   const DitInputs& noisy,
                                   const PreparedPlan& plan,
                                   const ForwardOptions& options,
                                   const at::Tensor& clean_timesteps_BF) {
  const int64_t clean_frames = plan.plan.output_begin;
  DitInputs both = noisy;
  const at::Tensor clean = clean_BFCHW.narrow(1, 0, clean_frames);
  both.latents_BFCHW = at::cat({clean, noisy.latents_BFCHW}, 1);
  const at::Tensor context_timesteps =
      clean_timesteps_BF.defined()
          ? clean_timesteps_BF.narrow(1, 0, clean_frames)
          : at::zeros({clean.size(0), clean_frames}, noisy.timesteps_BF.options());
  both.timesteps_BF = at::cat({context_timesteps, noisy.timesteps_BF}, 1);
  return dit_forward(network, both, plan, {}, options).flow_BFCHW;
}

}  // namespace vmla::model
