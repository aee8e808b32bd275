#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "data/store/clip_array.h"
#include "data/store/file_seal.h"
#include "data/store/latent_file_format.h"

namespace vmla::data {

/// Writes one latent dataset file. The constructor lays out the whole file through HDF5 (all sizes
/// are known by then); the big data then goes straight to its place in the file, so that a full
/// disk is an ordinary failed write. Pass a temporary path from io::publish_file. Every failure is
/// a RunError naming the file.
class LatentFileWriter {
 public:
  /// As lay_out_latent_file.
  LatentFileWriter(const std::filesystem::path& path,
                   const LatentInfo& info,
                   const std::vector<ClipRecord>& clips,
                   const std::vector<float>& empty_text,
                   const std::optional<PartInfo>& part = std::nullopt);
  ~LatentFileWriter();
  LatentFileWriter(const LatentFileWriter&) = delete;
  LatentFileWriter& operator=(const LatentFileWriter&) = delete;

  // Every clip's numbers must be written once, in any order, before close().

  /// bf16 bits, F·C·H·W of them.
  void write_latents(int64_t clip, const uint16_t* values);
  /// states·F·C·H·W numbers: bf16 bits, or floats if the info says ode_fp32.
  void write_ode(int64_t clip, const void* values);
  /// text_rows·text_dim floats.
  void write_text(int64_t clip, const float* rows);
  /// Seals the file (data/store/file_seal.h) and closes it.
  void close();

 private:
  void write_at(uint64_t offset, const void* bytes, size_t count);

  std::filesystem::path path_;
  int64_t text_dim_;
  ClipPlaces places_;
  ClipDigests digests_;
  int fd_ = -1;
};

}  // namespace vmla::data
