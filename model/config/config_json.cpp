#include "model/config/config_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/config/axis_pairs.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/shortened.h"

namespace vmla::model {
namespace {

using Document = nlohmann::json;
using Json = nlohmann::ordered_json;

/// Reads fields of one file, with one wording for all mistakes.
class FieldReader {
 public:
  FieldReader(const Document& json, std::string file_name)
      : json_(json), file_name_(std::move(file_name)) {}

  bool has(const std::string& key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  template <class T>
  bool read(const std::string& key, T& out) const {
    if (!has(key)) return false;
    const Document& value = json_.at(key);
    if (!convert(value, out)) {
      fail_user(
          "{}: {} is {}; {} is needed", file_name_, key, io::shortened(value.dump()), wanted(out));
    }
    return true;
  }

  [[noreturn]] void refuse(std::string_view what) const { fail_user("{}: {}", file_name_, what); }
  template <class... Values>
  [[noreturn]] void refuse(FormatFor<Values...> what, const Values&... values) const {
    refuse(formatted(what, values...));
  }

 private:
  static bool convert(const Document& value, int64_t& out) {
    if (!value.is_number_integer()) return false;
    if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) return false;
    out = value.get<int64_t>();
    return true;
  }
  static bool convert(const Document& value, double& out) {
    return value.is_number() && (out = value.get<double>(), true);
  }
  static bool convert(const Document& value, bool& out) {
    return value.is_boolean() && (out = value.get<bool>(), true);
  }
  static bool convert(const Document& value, std::string& out) {
    return value.is_string() && (out = value.get<std::string>(), true);
  }
  static bool convert(const Document& value, std::vector<int64_t>& out) {
    out.clear();
    if (!value.is_array()) return false;
    for (const Document& entry : value) {
      int64_t number = 0;
      if (!convert(entry, number)) return false;
      out.push_back(number);
    }
    return true;
  }
  static bool convert(const Document& value, std::array<int64_t, 3>& out) {
    std::vector<int64_t> list;
    if (!convert(value, list) || list.size() != 3) return false;
    std::ranges::copy(list, out.begin());
    return true;
  }
  static bool convert(const Document& value, PerLayer& out) {
    int64_t number = 0;
    if (!convert(value, number)) return convert(value, out.values) && !out.values.empty();
    out.values = {number};
    return true;
  }
  static bool convert(const Document& value, RopePairs& out) {
    out.lists.clear();
    if (!value.is_array()) return false;
    if (value.empty()) return true;
    if (!value.front().is_array()) return convert(value, out.lists.emplace_back());
    return std::ranges::all_of(
        value, [&](const Document& list) { return convert(list, out.lists.emplace_back()); });
  }

  static std::string wanted(int64_t) { return "a whole number"; }
  static std::string wanted(double) { return "a number"; }
  static std::string wanted(bool) { return "true or false"; }
  static std::string wanted(const std::string&) { return "a text"; }
  static std::string wanted(const std::vector<int64_t>&) { return "a list of whole numbers"; }
  static std::string wanted(const std::array<int64_t, 3>&) { return "three whole numbers"; }
  static std::string wanted(const PerLayer&) { return "a whole number or a list of them"; }
  static std::string wanted(const RopePairs&) { return "a list of pair indices, or one a layer,"; }

  const Document& json_;
  std::string file_name_;
};

/// UserError for models that our network does not implement: their weights would load and give
/// wrong results.
void refuse_other_models(const FieldReader& in) {
  std::string text;
  if (in.read("model_type", text) && text != "t2v") {
    in.refuse("model_type is '{}'; only text-to-video models (t2v) are supported", text);
  }
  if (in.has("image_dim") || in.has("added_kv_proj_dim")) {
    in.refuse("image_dim or added_kv_proj_dim is set; only text-to-video models are supported");
  }
  bool flag = true;
  if (in.read("cross_attn_norm", flag) && !flag) {
    in.refuse("cross_attn_norm is false; only models with it are supported");
  }
}

/// diffusers' names for the sizes that Wan calls otherwise.
void read_diffusers_sizes(const FieldReader& in, PartialConfig& out) {
  ModelConfig& c = out.config;
  int64_t head_dim = 128;
  in.read("attention_head_dim", head_dim);
  in.read("num_attention_heads", c.num_heads);
  c.dim = c.num_heads * head_dim;
  out.given.insert({"num_heads", "dim"});
  if (in.read("in_channels", c.in_dim)) out.given.insert("in_dim");
  if (in.read("out_channels", c.out_dim)) out.given.insert("out_dim");
  // diffusers' config has no text_len: its pipeline always pads to 512, our default.
  out.given.insert("text_len");
}

/// The pairs of `rope_pairs` [time, height, width] counts: the first of each axis.
void read_pair_counts(const FieldReader& in, PartialConfig& out) {
  std::array<int64_t, 3> counts = {};
  if (out.given.contains("rope_pair_indices") || !in.read("rope_pairs", counts)) return;
  const auto axis_pairs = dense_axis_pairs(out.config.head_dim());
  std::vector<int64_t> pairs;
  int64_t start = 0;
  for (size_t axis = 0; axis < 3; ++axis) {
    if (counts[axis] < 0 || counts[axis] > axis_pairs[axis]) {
      in.refuse("rope_pairs asks for {} pairs of axis {}, a head has {}",
                counts[axis],
                axis,
                axis_pairs[axis]);
    }
    for (int64_t i = 0; i < counts[axis]; ++i) pairs.push_back(start + i);
    start += axis_pairs[axis];
  }
  out.config.rope_pair_indices.lists = {pairs};
  out.given.insert("rope_pair_indices");
}

Json layer_values(const PerLayer& value) {
  return value.values.size() == 1 ? Json(value.values[0]) : Json(value.values);
}
Json layer_values(const RopePairs& value) {
  return value.lists.size() == 1 ? Json(value.lists[0]) : Json(value.lists);
}
template <class T>
Json layer_values(const T& value) {
  return value;
}

}  // namespace

PartialConfig parse_model_json(std::string_view text, const std::string& file_name) {
  const auto json = io::parse_json<Document>(text, file_name);
  if (!json.is_object()) fail_user("{}: not a JSON object", file_name);
  const FieldReader in(json, file_name);
  const bool diffusers = in.has("num_attention_heads");
  if (!diffusers && !in.has("dim")) {
    fail_user(
        "{}: neither 'dim' (Wan) nor 'num_attention_heads' (diffusers): not a video transformer's "
        "config.json",
        file_name);
  }
  refuse_other_models(in);
  PartialConfig out;
  ModelConfig::fields(out.config, [&](const std::string& key, auto& field, const auto&) {
    if (in.read(key, field)) out.given.insert(key);
  });
  in.read("init_method", out.init_method);
  if (diffusers) read_diffusers_sizes(in, out);
  if (in.read("num_frames_per_block", out.config.num_frame_per_block)) {
    out.given.insert("num_frame_per_block");
  }
  if (!out.given.contains("attention") && in.has("kv_lora_rank")) {
    out.config.attention = "mla";
    out.given.insert("attention");
  }
  if (out.config.num_heads < 1 || out.config.dim < 1) {
    in.refuse("dim {} and num_heads {} must be positive", out.config.dim, out.config.num_heads);
  }
  try {
    validate_limits(out.config, "");
  } catch (const UserError& problem) {
    in.refuse("{}", problem.what());
  }
  if (out.config.is_mla()) read_pair_counts(in, out);
  return out;
}

void infer_model_sizes(PartialConfig& partial, const TensorShapes& shapes) {
  ModelConfig& c = partial.config;
  const auto size = [&](const std::string& name, size_t axis) -> int64_t {
    const auto found = shapes.find(name);
    return found == shapes.end() || found->second.size() <= axis ? -1 : found->second[axis];
  };
  const auto fill = [&](const char* key, int64_t& field, int64_t value) {
    if (!partial.given.contains(key) && value > 0) field = value;
  };
  // Shapes of docs/algorithms.md 2.2 and 4.1.
  fill("dim", c.dim, size("patch_embedding.weight", 0));
  fill("in_dim", c.in_dim, size("patch_embedding.weight", 1));
  if (!partial.given.contains("patch_size") && size("patch_embedding.weight", 4) > 0) {
    for (size_t i = 0; i < 3; ++i) c.patch_size[i] = size("patch_embedding.weight", 2 + i);
  }
  const int64_t patch = c.patch_size[0] * c.patch_size[1] * c.patch_size[2];
  if (patch > 0) fill("out_dim", c.out_dim, size("head.head.weight", 0) / patch);
  fill("text_dim", c.text_dim, size("text_embedding.0.weight", 1));
  fill("freq_dim", c.freq_dim, size("time_embedding.0.weight", 1));
  fill("ffn_dim", c.ffn_dim, size("blocks.0.ffn.0.weight", 0));
  fill("num_heads", c.num_heads, std::max<int64_t>(1, c.dim / 128));
  int64_t layers = 0;
  while (shapes.contains(formatted("blocks.{}.modulation", layers))) ++layers;
  fill("num_layers", c.num_layers, layers);

  const std::string attention = "blocks.0.self_attn.";
  const int64_t rank = size(attention + "kv_a_layernorm.weight", 0);
  if (!partial.given.contains("attention")) c.attention = rank > 0 ? "mla" : "dense";
  if (!c.is_mla()) return;
  if (!partial.given.contains("kv_lora_rank")) {
    c.kv_lora_rank.values.clear();
    for (int64_t i = 0; i < std::max<int64_t>(1, layers); ++i) {
      c.kv_lora_rank.values.push_back(
          size(formatted("blocks.{}.self_attn.kv_a_layernorm.weight", i), 0));
    }
    if (std::ranges::all_of(c.kv_lora_rank.values, [&](int64_t r) { return r == rank; })) {
      c.kv_lora_rank.values = {rank};
    }
  }
  fill("q_lora_rank", c.q_lora_rank, size(attention + "q_a_layernorm.weight", 0));
  // kv_a_proj_with_mqa has R + P rows, q_b_proj N (nope + P) rows, o N V columns.
  fill("qk_rope_head_dim",
       c.qk_rope_head_dim,
       size(attention + "kv_a_proj_with_mqa.weight", 0) - c.kv_lora_rank.at(0));
  fill("qk_nope_head_dim",
       c.qk_nope_head_dim,
       size(attention + "q_b_proj.weight", 0) / c.num_heads - c.qk_rope_head_dim);
  fill("v_head_dim", c.v_head_dim, size(attention + "o.weight", 1) / c.num_heads);
  if (!partial.given.contains("bias")) c.bias = shapes.contains(attention + "q_b_proj.bias");
}

std::string model_json(const ModelConfig& config, const std::string& init_method) {
  Json json = Json::object();
  ModelConfig::fields(config, [&](const std::string& key, const auto& field, const auto&) {
    if (key != "preset") json[key] = layer_values(field);  // its sizes are all here already
  });
  if (!init_method.empty()) json["init_method"] = init_method;
  return json.dump();
}

std::string wan_config_json(const ModelConfig& c) {
  const Json json = {{"_class_name", "WanModel"},
                     {"model_type", "t2v"},
                     {"dim", c.dim},
                     {"ffn_dim", c.ffn_dim},
                     {"freq_dim", c.freq_dim},
                     {"in_dim", c.in_dim},
                     {"out_dim", c.out_dim},
                     {"num_heads", c.num_heads},
                     {"num_layers", c.num_layers},
                     {"text_len", c.text_len},
                     {"text_dim", c.text_dim},
                     {"patch_size", c.patch_size},
                     {"eps", c.eps}};
  return json.dump(2) + "\n";
}

std::string diffusers_config_json(const ModelConfig& c) {
  const Json json = {{"_class_name", "WanTransformer3DModel"},
                     {"added_kv_proj_dim", nullptr},
                     {"attention_head_dim", c.head_dim()},
                     {"cross_attn_norm", true},
                     {"eps", c.eps},
                     {"ffn_dim", c.ffn_dim},
                     {"freq_dim", c.freq_dim},
                     {"image_dim", nullptr},
                     {"in_channels", c.in_dim},
                     {"num_attention_heads", c.num_heads},
                     {"num_layers", c.num_layers},
                     {"out_channels", c.out_dim},
                     {"patch_size", c.patch_size},
                     {"pos_embed_seq_len", nullptr},
                     {"qk_norm", "rms_norm_across_heads"},
                     {"rope_max_seq_len", 1024},
                     {"text_dim", c.text_dim}};
  return json.dump(2) + "\n";
}

std::string videomla_config_json(const ModelConfig& c, const std::string& init_method) {
  Json json = {{"_class_name", c.is_mla() ? "CausalWanMLATransformer3DModel" : "WanModel"},
               {"model_type", "t2v"}};
  static const std::set<std::string> kMlaOnly = {"kv_lora_rank",
                                                 "q_lora_rank",
                                                 "qk_nope_head_dim",
                                                 "qk_rope_head_dim",
                                                 "v_head_dim",
                                                 "latent_norm_eps",
                                                 "bias"};
  ModelConfig::fields(c, [&](const std::string& key, const auto& field, const auto&) {
    if (key == "preset" || key == "rope_pair_indices") return;
    if (!c.is_mla() && kMlaOnly.contains(key)) return;
    json[key] = layer_values(field);
  });
  if (c.is_mla()) {
    // The indices are always written out: a reader need not know the count rule.
    RopePairs pairs;
    pairs.lists.push_back(rope_pairs(c, 0));
    for (int64_t layer = 1; layer < c.num_layers && c.rope_pair_indices.lists.size() > 1; ++layer) {
      pairs.lists.push_back(rope_pairs(c, layer));
    }
    json["rope_pair_indices"] = layer_values(pairs);
    json["rope_pairs"] = pairs_by_axis(c.head_dim(), pairs.lists[0]);
    if (!init_method.empty()) json["init_method"] = init_method;
  }
  return json.dump(2) + "\n";
}

}  // namespace vmla::model
