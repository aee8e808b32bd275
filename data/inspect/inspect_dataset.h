#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/codec/codec_options.h"

namespace vmla::data {

class LatentDataset;

/// What a look at the numbers of a dataset found.
struct DatasetInspection {
  std::string text;     // the page that `vmla data inspect` prints
  std::string verdict;  // its last line if there are no problems
  int64_t clips = 0, clips_read = 0;
  double latent_mean = 0, latent_std = 0, latent_min = 0, latent_max = 0;  // of the finite values
  /// And their counts, most frequent first. The texts are the dataset's.
  std::vector<std::pair<std::string_view, int64_t>> captions;
  /// Clips that hold NaN, infinite numbers, numbers that no codec gives or bytes that were not
  /// written, in words; empty for a sound dataset.
  std::vector<std::string> problems;
};

/// Looks at all clips of a dataset if `full`, else at as many as take a second, spread evenly, and
/// at all captions. `name` is what the page calls it.
DatasetInspection inspect_dataset(const LatentDataset& dataset, const std::string& name, bool full);

/// The first frame of the first `most` clips in about as many rows as columns: [H, W, 3] bytes RGB.
/// UserError for a prompt set, for a codec that this program does not know or that has another hash
/// than the one the dataset was made with, and for clips that are not that codec's.
at::Tensor contact_sheet(const LatentDataset& dataset,
                         const std::string& name,
                         const model::CodecOptions& codec = {},
                         int64_t most = 64);

}  // namespace vmla::data
