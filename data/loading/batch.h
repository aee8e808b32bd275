#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace vmla::data {

/// Clips with their captions, ready for a step.
struct Batch {
  at::Tensor latents;              // [B, F, C, H, W], fp32; undefined for a prompt set
  at::Tensor ode_states;           // [B, states, F, C, H, W], fp32, noisy to clean, at the times in
                                   // LatentInfo::ode_times; undefined where there are none
  at::Tensor text;                 // [B, T, text_dim], fp32, zero rows behind each prompt's own
  std::vector<int64_t> text_rows;  // rows that are a prompt's own, T at most
  std::vector<std::string> captions;
  std::vector<int64_t> indices;  // in the dataset
  int64_t first_sample = 0;      // global sample counter of row 0; row b is first_sample + b
};

class LatentDataset;

/// Reads the clips `indices`. T is the set's longest text, the empty prompt included, so that every
/// batch has one shape and a row can be exchanged for the empty prompt.
Batch read_batch(const LatentDataset& dataset,
                 const std::vector<int64_t>& indices,
                 int64_t first_sample);

/// Puts the empty prompt in row `row` (caption dropout; the draw is the caller's).
void drop_caption(Batch& batch, int64_t row, const at::Tensor& empty_text_TD);

}  // namespace vmla::data
