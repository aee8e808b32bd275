#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/rope_3d/rope_3d.h"

namespace vmla::kernels {

/// Tokens as a latent cache keeps them: [B, M, R] and [B, M, P], the rope key unrotated.
struct LatentPart {
  at::Tensor content_BMR;
  at::Tensor key_BMP;
  at::Tensor scale_BM1 = {};  // bf16, where the content is int8 and to be multiplied with it
};

struct RotatedLatents {
  at::Tensor query_BLNK;
  at::Tensor rows_BMQ;  // [B, window and own tokens, R + P]: latent, then rotated rope key
};

/// What latent attention does between its projections and its products, in one pass: queries are
/// rotated as by apply_rope, and the tokens of a window and the sequence's own are laid one behind
/// the other, each latent with its rope key, which is rotated by the `key_table`'s angles. `window`
/// may have undefined tensors: no tokens. Contents and keys are in the query's dtype, and the
/// results; arithmetic is in the tables'. Differentiable in the query, and in contents and keys but
/// those of a window in eight bits. c10::Error where sizes do not fit each other.
RotatedLatents rope_latents(const at::Tensor& query_BLNK,
                            const RopeTable& query_table,
                            int64_t first_channel,
                            const LatentPart& window,
                            const LatentPart& own,
                            const RopeTable& key_table);
/// The definition, in plain ATen operations.
RotatedLatents rope_latents_reference(const at::Tensor& query_BLNK,
                                      const RopeTable& query_table,
                                      int64_t first_channel,
                                      const LatentPart& window,
                                      const LatentPart& own,
                                      const RopeTable& key_table);

}  // namespace vmla::kernels
