#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/config/model_config.h"

/// ModelConfig to and from the JSON of weight folders. No LibTorch here.
namespace vmla::model {

/// What a config.json said, before anything is inferred.
struct PartialConfig {
  ModelConfig config;
  std::set<std::string> given;  // names of ModelConfig's fields that the file decided
  std::string init_method;      // how an MLA model came from dense weights; empty: not said
};

/// Reads a config.json: Wan's or a videomla export's field names, or diffusers' (recognised by
/// `num_attention_heads`). `num_frames_per_block` is taken for `num_frame_per_block`. UserError
/// names `file_name` and the key: wrong types, no model at all, or a model of another kind (image
/// to video).
PartialConfig parse_model_json(std::string_view text, const std::string& file_name);

using TensorShapes = std::map<std::string, std::vector<int64_t>>;

/// Fills the sizes that are not `given` from the shapes of tensors under their Wan names. Shapes
/// cannot tell heads and text length: num_heads is dim / 128, text_len 512 and eps 1e-6, as in Wan.
void infer_model_sizes(PartialConfig& partial, const TensorShapes& shapes);

/// Every field of `config`, under our names: what a checkpoint's manifest holds. One line.
std::string model_json(const ModelConfig& config, const std::string& init_method = {});

/// config.json of the layouts of docs/algorithms.md 2.11: Wan's folder, a diffusers transformer, a
/// videomla export.
std::string wan_config_json(const ModelConfig& config);
std::string diffusers_config_json(const ModelConfig& config);
std::string videomla_config_json(const ModelConfig& config, const std::string& init_method);

}  // namespace vmla::model
