#pragma once

#include <string>
#include <string_view>

#include "data/store/latent_index.h"

namespace vmla::data {

/// The request that vmla-hdf5 answers with a packed index.
inline constexpr const char* kAskForIndex = "index";

/// An index on its way from vmla-hdf5 to the job.
std::string pack_latent_index(const LatentIndex& index);
/// False if the bytes are no packed index.
bool unpack_latent_index(std::string_view bytes, LatentIndex& index);

}  // namespace vmla::data
