#pragma once

#include "model/config/model_config.h"

namespace vmla::model {

/// A model of the same sizes with dense attention.
inline ModelConfig dense_twin(ModelConfig config) {
  config.attention = "dense";
  return config;
}

}  // namespace vmla::model
