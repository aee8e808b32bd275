#pragma once

#include "model/config/model_config.h"

#include <cstdint>

namespace vmla::model {

/// The tokens of one latent frame: its patches, row by row.
struct TokenGrid {
  int64_t rows = 0, cols = 0;
  int64_t tokens() const { return rows * cols; }
  bool operator==(const TokenGrid&) const = default;
};

/// The grid of a latent frame of that height and width. UserError if they do not divide into
/// patches.
TokenGrid token_grid(const ModelConfig& config, int64_t latent_height, int64_t latent_width);

}  // namespace vmla::model
