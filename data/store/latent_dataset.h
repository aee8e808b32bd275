#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/store/clip_bucket.h"
#include "data/store/dataset_identity.h"
#include "data/store/latent_file.h"

namespace vmla::data {

/// A latent dataset: one file, or all .h5 files of a folder in the order of their names. The files
/// may differ in the size and length of their clips, which then form buckets. Clips can be read
/// from several threads at once; each call reads from the disk.
class LatentDataset {
 public:
  /// UserError for a file that is damaged or part of an unfinished dataset, a folder without files,
  /// and files that do not agree in codec, latent channels, text encoder or frame rate.
  explicit LatentDataset(const std::filesystem::path& path);

  /// Clips, or prompts, of all files.
  int64_t size() const { return first_clip_.back(); }
  int64_t file_count() const { return static_cast<int64_t>(files_.size()); }
  const std::filesystem::path& file_path(int64_t file) const { return files_[file]->path(); }
  /// Its first clip, and the one after its last.
  std::pair<int64_t, int64_t> clips_of_file(int64_t file) const {
    return {first_clip_[file], first_clip_[file + 1]};
  }
  /// Of the files with the most frequent clip shape (of several, the first); the others differ in
  /// sizes alone.
  const LatentInfo& info() const { return files_[most_frequent_]->info(); }
  /// Of clip `index`.
  const LatentInfo& info(int64_t index) const { return place(index).file->info(); }
  /// The clips of each shape, in the order in which the shapes first occur; one where there are no
  /// clips.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  /// [F, C, H, W] of the clips of each bucket.
  const std::vector<int64_t>& clip_shape(size_t bucket) const { return shapes_[bucket]; }
  /// False for a prompt set.
  bool has_latents() const { return info().has_latents; }
  /// True if every clip has the states of an ODE path beside it, at info().ode_times.
  bool has_ode() const { return !info().ode_times.empty(); }

  // `index` counts through the files, from 0; c10::Error if it is out of range, or if the dataset
  // does not have what is asked for.

  /// [F, C, H, W], fp32; `stored_latents`: bf16, as the file has them.
  at::Tensor latents(int64_t index) const;
  at::Tensor stored_latents(int64_t index) const;
  /// [states, F, C, H, W], fp32, noisy to clean.
  at::Tensor ode_states(int64_t index) const;
  /// [T, text_dim], fp32, T ≥ 1.
  at::Tensor text(int64_t index) const;
  /// The empty prompt's embedding, which caption dropout puts in a caption's place: [T, text_dim],
  /// fp32. UserError if the file does not have it.
  at::Tensor empty_text() const;
  const ClipRecord& record(int64_t index) const;
  const std::string& caption(int64_t index) const { return record(index).caption; }
  /// The most rows a text has in the whole set, the empty prompt included.
  int64_t max_text_rows() const { return max_text_rows_; }
  /// Whether changed bytes of a clip are noticed when it is read, in all files.
  bool has_digests() const;
  /// Which clips these are; reads some of them where there are no digests.
  DatasetIdentity identity() const { return dataset_identity(files_); }

 private:
  struct Place {
    const LatentFile* file;
    int64_t clip;  // in the file
  };
  Place place(int64_t index) const;
  /// Sorts the files into buckets.
  void fill_buckets();

  std::vector<std::unique_ptr<LatentFile>> files_;
  std::vector<int64_t> first_clip_;  // of each file, and the total behind them
  std::vector<Bucket> buckets_;
  std::vector<std::vector<int64_t>> shapes_;  // of each bucket
  size_t most_frequent_ = 0;                  // a file of the largest bucket
  int64_t max_text_rows_ = 1;
};

}  // namespace vmla::data
