#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vmla::data {

class LatentDataset;

/// Files of a dataset whose latents are not normalised, or twice, where they say that they are
/// of Wan's VAE: a line for each, with the file, its statistics and what would be right. A sample
/// is looked at: some clips of some files, a few frames of each. Empty for other codecs, for prompt
/// sets, and where the statistics fit nothing that is known.
std::vector<std::string> scale_problems(const LatentDataset& dataset);

}  // namespace vmla::data
