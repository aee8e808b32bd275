#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/store/clip_array.h"
#include "data/store/latent_file_format.h"

namespace vmla::data {

/// One latent dataset file, opened and checked. Afterwards HDF5 is closed: clips are read straight
/// from their places in the file, by any number of threads at once.
class LatentFile {
 public:
  /// UserError, naming the file and the dataset, for anything that is missing, truncated or of
  /// another shape.
  explicit LatentFile(const std::filesystem::path& path);
  ~LatentFile();
  LatentFile(const LatentFile&) = delete;
  LatentFile& operator=(const LatentFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const LatentInfo& info() const { return info_; }
  const std::vector<ClipRecord>& clips() const { return clips_; }
  const std::optional<PartInfo>& part() const { return part_; }
  const std::vector<float>& empty_text() const { return empty_text_; }

  /// F·C·H·W bf16 bits of clip `clip`, into `values`.
  void read_latents(int64_t clip, uint16_t* values) const;
  /// states·F·C·H·W numbers of /ode: bf16 bits, or floats if info().ode_fp32.
  void read_ode(int64_t clip, void* values) const;
  uint64_t ode_bytes() const { return ode_.bytes; }  // of a clip; 0 without /ode
  /// text_rows·text_dim floats.
  void read_text(int64_t clip, float* rows) const;

 private:
  void read_clips(const Hdf5Reader& reader);
  void read_sources(const Hdf5Reader& reader, const std::vector<std::string>& captions);
  void read_clip_attributes(const Hdf5Reader& reader);
  void locate_blocks(const Hdf5Reader& reader, int64_t n);
  void read_at(uint64_t offset, void* into, size_t count, const char* dataset) const;

  std::filesystem::path path_;
  int fd_ = -1;
  LatentInfo info_;
  std::vector<ClipRecord> clips_;
  std::optional<PartInfo> part_;
  std::vector<float> empty_text_;
  ClipArray latents_, ode_;
  std::vector<int64_t> text_rows_;  // n + 1 prefix sums
  uint64_t text_offset_ = 0;        // of /text/embeddings, when it lies in one piece
  std::vector<float> text_;         // else all of it
};

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
