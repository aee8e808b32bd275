#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "data/store/clip_array.h"
#include "data/store/latent_file_format.h"

namespace vmla::data {

/// Creates the latent dataset file `path` through HDF5: everything of it except for the big
/// numbers, whose places are returned. All sizes must be known by then: `clips` says each text's
/// rows. `empty_text` is the empty prompt's embedding, rows of text_dim; `part` only stands in
/// parts of an unfinished dataset. RunError naming the file, if the disk is full for one.
ClipPlaces lay_out_latent_file(const std::filesystem::path& path,
                               const LatentInfo& info,
                               const std::vector<ClipRecord>& clips,
                               const std::vector<float>& empty_text,
                               const std::optional<PartInfo>& part);

}  // namespace vmla::data
