#pragma once

#include "model/network/token_grid.h"
#include "model/weights/weights.h"

#include <ATen/core/Tensor.h>

#include <deque>
#include <vector>

/// What goes into the blocks, made from latents, timesteps and text (docs/algorithms.md 2.3
/// to 2.5), and latents from what comes out. Shape suffixes: wan_dit.h.
namespace vmla::model {

/// [B, F, C, H, W] → [B, F, S, C p q]. The patch vector is ordered (c, dy, dx): channel slowest.
at::Tensor patchify(const at::Tensor& latents_BFCHW, const ModelConfig& config);

/// Tokens [B, F, S, p q C] → [B, F, C, H, W]. The head's outputs are ordered (dy, dx, c): channel
/// fastest.
at::Tensor unpatchify(const at::Tensor& tokens, const ModelConfig& config, TokenGrid grid);

/// Text of T <= text_len rows, padded with zero rows to text_len: [B, text_len, D].
at::Tensor embed_text(const at::Tensor& text_BTE, const RootWeights& w, const ModelConfig& config);

/// Sinusoid of docs/algorithms.md 2.4 for t [n], formed in fp64, returned in `dtype`: [n,
/// freq_dim], cosines first.
at::Tensor timestep_sinusoid(const at::Tensor& timesteps, int64_t freq_dim, at::ScalarType dtype);

/// What blocks and head read of the frames' timesteps.
struct TimeEmbedding {
  at::Tensor time_BFD;         // e of docs/algorithms.md 2.4, for the head
  at::Tensor modulation_BF6D;  // e0, its projection, for the blocks
};

TimeEmbedding embed_time(const at::Tensor& timesteps_BF,
                         const RootWeights& w,
                         const ModelConfig& config);

/// A time embedding that is kept, and what each block makes of it.
struct KeptTime {
  at::Tensor timesteps_BF;
  TimeEmbedding embedding;
  std::vector<at::Tensor> modulation_of_layer;  // e0 + the block's own, [B, F, 6, D]
};

/// Embeddings of timesteps that come again, as a sampler's do in every chunk, while the weights
/// stay as they are. Knows timesteps that are on the CPU; to read others would make the host wait.
class KeptTimes {
 public:
  /// Null where nothing is kept for `timesteps_BF`.
  KeptTime* find(const at::Tensor& timesteps_BF);
  /// `timesteps_BF` must not change afterwards. Null, and not kept, where they are not on the CPU,
  /// where theirs are more than 8 MiB, as of a whole clip, or where all would be more than 64: what
  /// is there stays, since samplers ask for theirs in turn.
  KeptTime* keep(const at::Tensor& timesteps_BF,
                 const TimeEmbedding& embedding,
                 int64_t num_layers);
  /// Whether everything that was given to keep() is kept.
  bool has_all() const { return !refused_; }

 private:
  std::deque<KeptTime> kept_;
  size_t bytes_ = 0;
  bool refused_ = false;
};

}  // namespace vmla::model
