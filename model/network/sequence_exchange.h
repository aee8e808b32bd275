#pragma once

#include "model/network/sequence_group.h"

#include <ATen/core/Tensor.h>

#include <vector>

/// What the ranks that share a clip say to each other inside a forward, differentiable
/// (docs/algorithms.md 15.5). Rank i of P holds the tokens [i s, (i + 1) s) of every frame, s =
/// S/P.
///
/// Gradients: what every rank computes alike from whole tensors (the loss) has the whole gradient
/// on every rank, and so have the latents. What each rank computes from its own tokens (the blocks)
/// leaves partial gradients in everything that all ranks hold: weights, text, time embedding, and
/// keys and values that were gathered. Their sum over the ranks is the gradient.
///
/// All ranks call the same functions in the same order, in backward too. A group that hands back
/// anything but what SequenceGroup promises is a failed check (c10::Error).
namespace vmla::model {

/// [B, F, S, X], the same on every rank -> the own [B, F, s, X]. Backward gathers: every rank gets
/// the whole gradient.
at::Tensor take_own_tokens(const at::Tensor& whole_BFSX, SequenceGroup& ranks);

/// Own [B, F, s, X] -> [B, F, S, X] for what every rank goes on to compute alike: backward takes
/// the own tokens' part of the gradient.
at::Tensor join_tokens(const at::Tensor& own_BFSX, SequenceGroup& ranks);

/// Own [B, F s, X] -> [B, F S, X] for what each rank uses in its own way: backward adds up the
/// ranks' gradients (in fp32 at least, also where they travel in bf16) and keeps the own tokens'.
at::Tensor gather_tokens(const at::Tensor& own_BLX, int64_t frames, SequenceGroup& ranks);

/// Own tokens of all heads, [B, F_i s, N, X_i], -> all tokens of the own heads, [B, F_i S, N/P,
/// X_i]; rank i has the heads [i N/P, (i + 1) N/P). All parts go in one message.
std::vector<at::Tensor> tokens_to_heads(const std::vector<at::Tensor>& parts_BLNX,
                                        int64_t slice_tokens,
                                        SequenceGroup& ranks);

/// The way back for one: [B, F S, N/P, X] -> [B, F s, N, X].
at::Tensor heads_to_tokens(const at::Tensor& part_BLNX, int64_t slice_tokens, SequenceGroup& ranks);

}  // namespace vmla::model
