#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "data/store/clip_array.h"
#include "data/store/latent_file_format.h"

namespace vmla::data {

/// Everything in a latent dataset file except clips, ODE states and embeddings; for these, their
/// places in the file.
struct LatentIndex {
  LatentInfo info;
  std::vector<ClipRecord> clips;
  std::optional<PartInfo> part;   // of an unfinished dataset
  std::vector<float> empty_text;  // rows of text_dim; empty if the file does not say
  ClipPlaces places;
  /// All of /text/embeddings where it does not lie in one piece, as in files of other writers; else
  /// empty, and places.text_offset says where it is.
  std::vector<float> text;
};

/// Reads the index of the file `path` through HDF5, and checks the whole structure of the file.
/// UserError, naming the file and the dataset, for anything that is missing, truncated or of
/// another shape.
LatentIndex read_latent_index(const std::filesystem::path& path);

}  // namespace vmla::data
