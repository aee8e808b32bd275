#pragma once

#include <optional>
#include <vector>

#include "data/store/clip_array.h"
#include "data/store/latent_file_format.h"
#include "data/store/regular_file.h"

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

/// Reads the index of a latent dataset file in the process vmla-hdf5, and checks the whole
/// structure of the file. A file that is not `sealed` must end where its data ends. UserError,
/// naming the file and the dataset, for anything that is missing, truncated or of another shape.
LatentIndex read_latent_index(const RegularFile& file, bool sealed);

}  // namespace vmla::data
