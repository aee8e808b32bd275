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

/// What a config.json states, before anything is inferred from the tensors.
struct PartialConfig {
  ModelConfig config;
  std::set<std::string> given;  // names of ModelConfig's fields that the file decided
  std::string init_method;      // how an MLA model was made from dense weights; empty: not stated
};

/// Reads a config.json: Wan's or a videomla export's field names, or diffusers' (recognised by
/// `num_attention_heads`). `num_frames_per_block` is taken for `num_frame_per_block`. UserError
/// names `file_name` and the key: wrong types, no model at all, or a model of another kind (image
/// to video).
PartialConfig parse_model_json(std::string_view text, const std::string& file_name);

using TensorShapes = std::map<std::string, std::vector<int64_t>>;

/// Infers the sizes that are not `given` from the shapes of tensors under their Wan names. Where
/// the shapes do not tell, values are Wan's: num_heads dim / 128, text_len 512, eps 1e-6.
void infer_model_sizes(PartialConfig& partial, const TensorShapes& shapes);

/// Every field of `config` under our names, in one line: what a checkpoint's manifest holds.
std::string model_json(const ModelConfig& config, const std::string& init_method = {});

/// config.json of the layouts of docs/algorithms.md 2.11: Wan's folder, a diffusers transformer, a
/// videomla export.
std::string wan_config_json(const ModelConfig& config);
std::string diffusers_config_json(const ModelConfig& config);
std::string videomla_config_json(const ModelConfig& config, const std::string& init_method);

}  // namespace vmla::model
