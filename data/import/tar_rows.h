#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/import/tar_reader.h"

namespace vmla::data {

/// One sample: neighbouring members of a shard whose names are equal up to the first dot.
struct TarRow {
  std::string file;    // the shard, relative to the folder that was given
  int64_t number = 0;  // of the sample in it
  std::string name;    // what its members' names have in common
  /// Sizes of the members that are there.
  std::optional<uint64_t> latent, path, text;
  std::optional<std::string> caption;
  std::string fault;  // why it cannot be used; empty if that is not known yet
  size_t shard = 0;   // the number of the shard, and of the first and last member in it
  size_t first_member = 0, last_member = 0;
};

/// What a sample's members hold: files of torch.save.
struct TarContent {
  std::optional<std::string> latent, path, text;
};

/// Latents and text embeddings in the tar shards of FastGen (WebDataset): NAME.latent.pth,
/// NAME.path.pth, NAME.txt_emb.pth, and captions in NAME.txt, or in NAME.json under "caption" or
/// "prompt". Names that lead out of the archive are faults of their rows. No LibTorch.
class TarRows {
 public:
  /// `path`: a tar file, also of gzip or zstd, or a folder of them, which are taken in the order of
  /// their names. Reads heads and captions. UserError as TarReader; if there is no shard or no
  /// sample; two members of one name; a sample whose members are not neighbours.
  explicit TarRows(const std::filesystem::path& path);

  const std::vector<TarRow>& rows() const { return rows_; }
  /// Members that nothing is made of, by the last part of their names: how many.
  const std::map<std::string, int64_t>& passed_over() const { return passed_over_; }

  /// Reads a sample. In order it goes through each shard once; a sample before the last one that
  /// was read starts its shard anew.
  TarContent read(const TarRow& row);

 private:
  void add(const std::filesystem::path& path, const std::string& name);

  std::vector<std::filesystem::path> shards_;
  std::vector<TarRow> rows_;
  std::map<std::string, int64_t> passed_over_;
  std::unique_ptr<TarReader> reader_;  // where read() is: the next member of a shard
  size_t shard_ = 0, member_ = 0;
};

}  // namespace vmla::data
