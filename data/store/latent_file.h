#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "data/store/file_seal.h"
#include "data/store/latent_index.h"
#include "data/store/regular_file.h"

namespace vmla::data {

/// One latent dataset file, opened and checked. HDF5 reads its index in a process of its own, which
/// has ended when the constructor returns: clips are read with pread from their places in the file,
/// by any number of threads at once.
class LatentFile {
 public:
  /// UserError, naming the file and the dataset, for anything that is missing, truncated or of
  /// another shape.
  explicit LatentFile(const std::filesystem::path& path);
  LatentFile(const LatentFile&) = delete;
  LatentFile& operator=(const LatentFile&) = delete;

  const std::filesystem::path& path() const { return file_.path(); }
  const LatentInfo& info() const { return index_.info; }
  const std::vector<ClipRecord>& clips() const { return index_.clips; }
  /// Set in a part of an unfinished dataset.
  const std::optional<PartInfo>& part() const { return index_.part; }
  /// The empty prompt's embedding, rows of text_dim; empty if the file does not have it.
  const std::vector<float>& empty_text() const { return index_.empty_text; }
  /// Of a clip's states in /ode; 0 without /ode.
  uint64_t ode_bytes() const { return index_.places.ode.bytes; }

  /// The seal that was checked, and where it has digests of the clips.
  const SealState& seal() const { return seal_; }

  // Each copies what clip `clip` has into memory of the caller. UserError if it is not what was
  // written (data/store/file_seal.h) or the file was truncated since it was opened, RunError if the
  // disk fails. What a clip has is compared with its digest when it is first read, and again after
  // the file was changed: a training run reads each clip hundreds of times, and hashing takes
  // several times as long as reading.

  /// F·C·H·W bf16 bits.
  void read_latents(int64_t clip, uint16_t* values) const;
  /// states·F·C·H·W numbers: bf16 bits, or floats if info().ode_fp32.
  void read_ode(int64_t clip, void* values) const;
  /// text_rows·text_dim floats.
  void read_text(int64_t clip, float* rows) const;

 private:
  void read_numbers(
      ClipNumbers what, int64_t clip, uint64_t offset, void* into, size_t count) const;
  void expect_as_written(ClipNumbers what, int64_t clip, const void* numbers, size_t count) const;

  RegularFile file_;
  SealState seal_;
  LatentIndex index_;
  /// By ClipNumbers that have digests, of each clip: changed_at() of the file in which it was as it
  /// was written; 0: not compared yet.
  std::unique_ptr<std::atomic<int64_t>[]> compared_[3];
};

}  // namespace vmla::data
