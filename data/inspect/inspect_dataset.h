#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace vmla::data {

/// What a look at every number of a dataset found.
struct DatasetInspection {
  std::string text;  // the page that `vmla data inspect` prints
  int64_t clips = 0;
  double latent_mean = 0, latent_std = 0, latent_min = 0, latent_max = 0;  // of the finite values
  std::vector<std::pair<std::string, int64_t>> captions;  // and their counts, most frequent first
  /// Clips with NaN or infinite numbers, in words; empty for a sound dataset.
  std::vector<std::string> problems;
};

/// Reads all of a dataset (a file or a folder). UserError if it is no readable dataset.
DatasetInspection inspect_dataset(const std::filesystem::path& path);

/// Decodes the first frame of the first `most` clips and writes them as a PNG, in about as many
/// rows as columns. UserError for a prompt set or a codec that this program does not know or that
/// has another hash than the one the file was made with.
void write_contact_sheet(const std::filesystem::path& dataset,
                         const std::filesystem::path& png,
                         int64_t most = 64);

}  // namespace vmla::data
