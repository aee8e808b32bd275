#pragma once

#include "model/network/sequence_group.h"

#include <ATen/core/Tensor.h>

#include <vector>

/// The communication between ranks that share a clip inside a forward, differentiable
/// (docs/algorithms.md 15.5). Rank i of P holds the tokens [i s, (i + 1) s) of every frame, s =
/// S/P.
///
/// Gradients: every rank computes the loss from the same whole tensors, so gradients of the flow
/// and of the latents are complete on every rank. In the blocks each rank computes from its own
/// tokens, so gradients of what all ranks hold (weights, text, time embedding, gathered keys and
/// values) are parts; their sum over the ranks is the gradient.
///
/// All ranks must call the same functions in the same order, in backward too. c10::Error if a group
/// returns other shapes or dtypes than SequenceGroup promises.
namespace vmla::model {

/// [B, F, S, X], the same on every rank -> the own [B, F, s, X]. Backward gathers: every rank gets
/// the whole gradient.
at::Tensor take_own_tokens(const at::Tensor& whole_BFSX, SequenceGroup& ranks);

/// Own [B, F, s, X] -> [B, F, S, X], for what every rank then computes alike: backward takes the
/// own tokens' part of the gradient.
at::Tensor join_tokens(const at::Tensor& own_BFSX, SequenceGroup& ranks);

/// Own [B, F s, X] -> [B, F S, X], for what each rank uses in another way: backward adds up the
/// ranks' gradients and keeps the own tokens' part. The sum is formed in fp32 even where bf16 is
/// sent.
at::Tensor gather_tokens(const at::Tensor& own_BLX, int64_t frames, SequenceGroup& ranks);

/// Own tokens of all heads, [B, F_i s, N, X_i], -> all tokens of the own heads, [B, F_i S, N/P,
/// X_i]; rank i gets the heads [i N/P, (i + 1) N/P). All parts are sent in one message.
std::vector<at::Tensor> tokens_to_heads(const std::vector<at::Tensor>& parts_BLNX,
                                        int64_t slice_tokens,
                                        SequenceGroup& ranks);

/// The inverse for one tensor: [B, F S, N/P, X] -> [B, F s, N, X].
at::Tensor heads_to_tokens(const at::Tensor& part_BLNX, int64_t slice_tokens, SequenceGroup& ranks);

}  // namespace vmla::model
