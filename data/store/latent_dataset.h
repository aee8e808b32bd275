#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/store/latent_file.h"

namespace vmla::data {

/// A latent dataset: one file, or all .h5 files of a folder in the order of their names. All of
/// them must agree.
class LatentDataset {
 public:
  explicit LatentDataset(const std::filesystem::path& path);

  int64_t size() const { return first_clip_.back(); }
  const LatentInfo& info() const { return files_.front()->info(); }
  /// False for a prompt set.
  bool has_latents() const { return info().has_latents; }
  /// True if every clip has the states of an ODE path beside it, at info().ode_times.
  bool has_ode() const { return !info().ode_times.empty(); }

  /// [F, C, H, W], fp32. `index` counts through the files.
  at::Tensor latents(int64_t index) const;
  /// [states, F, C, H, W], fp32, noisy to clean.
  at::Tensor ode_states(int64_t index) const;
  /// [T, text_dim], fp32, T ≥ 1.
  at::Tensor text(int64_t index) const;
  /// The empty prompt's embedding: [T, text_dim], fp32. What caption dropout puts in a caption's
  /// place.
  at::Tensor empty_text() const;
  const ClipRecord& record(int64_t index) const;
  const std::string& caption(int64_t index) const { return record(index).caption; }
  /// The most rows a text has in the whole set, the empty prompt included.
  int64_t max_text_rows() const { return max_text_rows_; }

 private:
  struct Place {
    const LatentFile* file;
    int64_t clip;
  };
  Place place(int64_t index) const;

  std::vector<std::unique_ptr<LatentFile>> files_;
  std::vector<int64_t> first_clip_;  // of each file, and the total
  int64_t max_text_rows_ = 1;
};

}  // namespace vmla::data
