#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace vmla::data {

/// Clips with their captions, ready for a step: B rows. Tensors lie in host memory.
struct Batch {
  /// [B, F, C, H, W], fp32; undefined for a prompt set.
  at::Tensor latents;
  /// [B, states, F, C, H, W], fp32, noisy to clean, at the times in LatentInfo::ode_times;
  /// undefined where there are none.
  at::Tensor ode_states;
  /// [B, T, text_dim], fp32, zero rows behind each prompt's own.
  at::Tensor text;
  std::vector<int64_t> text_rows;  // [B], rows that are a prompt's own, T at most
  std::vector<std::string> captions;
  std::vector<int64_t> indices;  // [B], in the dataset
  /// Row b is sample first_sample + b of the run, counted over all steps and shards: the address of
  /// its random draws.
  int64_t first_sample = 0;
};

class LatentDataset;

/// Reads the clips `indices` of the dataset, at least one, all of one shape. T is the longest text
/// of the whole dataset, the empty prompt included, so that all batches have one shape and any row
/// can take the empty prompt.
Batch read_batch(const LatentDataset& dataset,
                 const std::vector<int64_t>& indices,
                 int64_t first_sample);

/// Puts the empty prompt, [T', text_dim], in row `row`: caption dropout. Whether to do so is the
/// caller's draw.
void drop_caption(Batch& batch, int64_t row, const at::Tensor& empty_text_TD);

}  // namespace vmla::data
