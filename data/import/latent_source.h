#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace vmla::data {

class JobFingerprint;

/// One sample that another trainer stored, before its numbers are read.
struct SourceRow {
  std::string file;    // relative to the folder that was given
  int64_t number = 0;  // of the row in it
  std::string place;   // both, for messages
  std::optional<std::string> caption;
  bool has_text = false;  // an embedding of the caption is stored
  std::string fault;      // why it cannot be imported; empty if that is not known yet
};

/// What a row holds.
struct SourceClip {
  at::Tensor latents;              // [S, F, C, H, W], fp32
  std::optional<at::Tensor> text;  // [T, D], fp32, without the zeros that it was padded with
};

/// Rows of latents, in the layout of one of the trainers whose data we import.
class LatentSource {
 public:
  virtual ~LatentSource() = default;
  virtual const std::vector<SourceRow>& rows() const = 0;
  /// [S, F, C, H, W] of all rows: a clean clip has S = 1, and of an ODE path the last of S states
  /// is the clean one.
  virtual const std::vector<int64_t>& shape() const = 0;
  /// Adds to a fingerprint what the rows are.
  virtual void identify(JobFingerprint& job) const = 0;
  /// A row without a fault; or what is wrong with it, found in its numbers. Fastest in order.
  virtual std::variant<SourceClip, std::string> read(size_t row) = 0;
};

/// The layout of data/import/lmdb_rows.h; UserError as there.
std::unique_ptr<LatentSource> make_lmdb_source(const std::filesystem::path& path);

/// The layout of data/import/tar_rows.h; UserError as there, and where no row can be read. All rows
/// must be like the first that can. Where samples have both path.pth and latent.pth, the latter is
/// the end of the path unless the path ends in it, or `states`, how many states the user says that
/// there are (0: not said), are as many as the path has.
std::unique_ptr<LatentSource> make_tar_source(const std::filesystem::path& path, int64_t states);

}  // namespace vmla::data
