#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/import/lmdb_file.h"

namespace vmla::data {

/// One sample that another trainer stored.
struct LmdbRow {
  std::string file;                    // the environment, relative to the folder that was given
  int64_t number = 0;                  // of the row in it
  std::string_view latents;            // float16, [S, F, C, H, W] in C order
  std::optional<std::string> caption;  // none: the environment has none for this row
};

/// The latents and prompts in the LMDB layout that CausVid, Self-Forcing and Causal-Forcing share:
/// `latents_{i}_data` (float16), `prompts_{i}_data` (UTF-8), and `latents_shape` with the sizes of
/// all of them. Rows are counted by their keys, in the order of their numbers, since the number in
/// latents_shape may be wrong.
class LmdbRows {
 public:
  /// `path`: a data.mdb, the folder of one, or a folder of such folders, which are taken in the
  /// order of their names. UserError if there is none, one is damaged or holds no latents, or their
  /// shapes differ.
  explicit LmdbRows(const std::filesystem::path& path);

  const std::vector<LmdbRow>& rows() const { return rows_; }
  /// [S, F, C, H, W]: a clean clip has S = 1.
  const std::vector<int64_t>& shape() const { return shape_; }

 private:
  void add(const std::filesystem::path& file, const std::string& name);

  std::vector<std::unique_ptr<LmdbFile>> files_;
  std::vector<LmdbRow> rows_;
  std::vector<int64_t> shape_;
};

}  // namespace vmla::data
