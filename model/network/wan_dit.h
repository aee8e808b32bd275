#pragma once

#include "model/network/dit_block.h"
#include "model/network/embedding.h"
#include "model/network/sequence_group.h"
#include "model/network/token_grid.h"
#include "model/network/unit_function.h"

#include <ATen/core/Tensor.h>

#include <vector>

/// The Wan2.1-shaped video transformer, dense or MLA, of any size (docs/algorithms.md 2 to 4).
///
/// Legend of shape suffixes, here and in all of model/: B batch, F latent frames, C latent
/// channels, H W latent grid, L query tokens, M key tokens, S tokens a frame, D model width, N
/// heads, K q/k head dim, V value head dim, R K/V latent rank, Q query latent rank, P rope dim, T
/// text tokens, E text embedding width.
namespace vmla::model {

/// A network that can be called: its sizes, the source of its weights, and the ranks that share the
/// sequence. It owns nothing.
///
/// With a `sequence` group each rank computes its slice of every frame's tokens. All ranks make the
/// same calls with the same inputs, and all get the whole flow. After backward, gradients of the
/// latents are complete on every rank; gradients of the weights, of the text and of windows are
/// each rank's part and must be summed over the group. The group must outlive the backward.
struct Network {
  const ModelConfig& config;
  WeightSource& weights;
  SequenceGroup* sequence = nullptr;
  /// Where what blocks keep for a recompute waits; null: where it was made.
  HostActivations* activations = nullptr;
};

struct DitInputs {
  at::Tensor latents_BFCHW;
  at::Tensor timesteps_BF;  // 0 to 1000, one a frame; with the latents or on the CPU
  at::Tensor text_BTE;      // T <= text_len rows; zero rows up to text_len are attended to as well
};

/// `timestep` (0 to 1000) for every frame of latents [B, F, C, H, W]: [B, F], fp64, on the CPU.
at::Tensor same_time(const at::Tensor& latents_BFCHW, double timestep);

/// What all passes with one prompt and unchanged weights have in common. The forward that first
/// needs a part of it makes that part; later ones read it.
struct PassCache {
  std::vector<CrossKv> text =
      {};  // the prompt's keys and values of every layer, instead of the text
  std::vector<DerivedWeights> derived = {};  // of every layer
  KeptTimes times = {};
  /// Results are those of passes without a cache to the bit: nothing is multiplied as one product
  /// or in an order in memory that such passes do not have. Training asks for it, which runs a
  /// rollout's passes again with gradients.
  bool exact = false;
  /// Another prompt: what depends on it is made anew.
  void forget_prompt() { text.clear(); }
};

/// What the passes of one chunk have in common, whose plan and window are the same. To be made anew
/// for every chunk.
struct ChunkCache {
  std::vector<KeptWindow> layers;
};

/// Whether the rebuilt windows of so many tokens, the chunk's own among them, fit into `bytes`, all
/// layers together and counted in fp32. Kept, they save a few hundredths of a large model's
/// arithmetic, and would take what a cache of latents saves: samplers allow little for them.
bool windows_fit(const ModelConfig& config, int64_t tokens, int64_t bytes);

/// A cache for a chunk whose windows fit, as above; null where they do not.
std::unique_ptr<ChunkCache> chunk_cache_for(const ModelConfig& config,
                                            int64_t tokens,
                                            int64_t bytes);

struct ForwardOptions {
  GradMode grad = GradMode::kNone;
  Recompute recompute = Recompute::kNone;
  bool keep_kv = false;   // return the sequence's keys and values, for a cache
  bool need_flow = true;  // false: only keys and values are wanted; the last layer stops there
  PassCache* pass_cache = nullptr;    // only without gradients
  ChunkCache* chunk_cache = nullptr;  // likewise; filled by the first pass that is given it
  LatentForm form = LatentForm::kExpanded;
};

struct DitOutputs {
  at::Tensor flow_BFCHW;    // of the frames from the plan's output_begin on, fp32
  std::vector<LayerKv> kv;  // one per layer, with keep_kv; of all ranks' tokens
};

/// One forward of the sequence under a plan. `window`: one LayerKv a layer where the plan has
/// window frames (they are differentiable inputs), else empty. Latents are [B, sequence frames, C,
/// H, W], H and W multiples of the patch. UserError if they are not, if channels or text do not fit
/// the model, or if a sequence group cannot share a frame's tokens equally.
DitOutputs dit_forward(const Network& network,
                       const DitInputs& inputs,
                       const PreparedPlan& plan,
                       const std::vector<LayerKv>& window,
                       const ForwardOptions& options);

/// [clean; noisy] through the teacher-forcing plan: the clean frames it keeps at t = 0 (or at
/// `clean_timesteps`, [B, F], for an augmented context), the noisy ones at `noisy.timesteps_BF`.
/// Returns the flow of the noisy frames.
at::Tensor teacher_forcing_forward(const Network& network,
                                   const at::Tensor& clean_BFCHW,
                                   const DitInputs& noisy,
                                   const PreparedPlan& plan,
                                   const ForwardOptions& options,
                                   const at::Tensor& clean_timesteps_BF = {});

}  // namespace vmla::model
