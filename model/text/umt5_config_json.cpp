#include "model/text/umt5_config_json.h"

#include <nlohmann/json.hpp>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMostBytes = 1 << 20;

void read_size(const Json& json, const char* key, int64_t& size, StatedUmt5& stated) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  if (!found->is_number_integer() || *found < 1 || *found > (int64_t{1} << 32))
    fail_user("{}: {} must be a whole number of at least 1", stated.path, key);
  size = found->get<int64_t>();
  stated.given.insert(key);
}

/// A key that may have one of two values, because the encoder computes nothing else.
void expect_text(const Json& json,
                 const char* key,
                 std::string_view one,
                 std::string_view other,
                 const std::string& path) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
  if (text == one || text == other) return;
  fail_user("{}: {} is {}; UMT5 has {}", path, key, io::quoted_name(text), one);
}

}  // namespace

StatedUmt5 read_umt5_config(const fs::path& path) {
  StatedUmt5 stated;
  stated.path = path.string();
  std::error_code none;
  if (!fs::exists(path, none)) return stated;
  const Json json = io::parse_json<Json>(io::read_text_file(path, kMostBytes), stated.path);
  if (!json.is_object()) fail_user("{}: is no JSON object", stated.path);
  if (!json.contains("d_model")) return stated;  // of something else in the same folder
  expect_text(json, "model_type", "umt5", "umt5", stated.path);
  expect_text(json, "feed_forward_proj", "gated-gelu", "gated-gelu", stated.path);
  expect_text(json, "dense_act_fn", "gelu_new", "gelu_pytorch_tanh", stated.path);
  Umt5Config& c = stated.config;
  int64_t head = 0;
  read_size(json, "vocab_size", c.vocabulary, stated);
  read_size(json, "d_model", c.dim, stated);
  read_size(json, "d_ff", c.ffn_dim, stated);
  read_size(json, "num_layers", c.num_layers, stated);
  read_size(json, "num_heads", c.num_heads, stated);
  read_size(json, "d_kv", head, stated);
  read_size(json, "relative_attention_num_buckets", c.buckets, stated);
  read_size(json, "relative_attention_max_distance", c.max_distance, stated);
  c.attention_dim = head * c.num_heads;
  if (const auto eps = json.find("layer_norm_epsilon"); eps != json.end()) {
    if (!eps->is_number() || !(*eps > 0.0) || !(*eps < 1.0))
      fail_user("{}: layer_norm_epsilon must be a number between 0 and 1", stated.path);
    c.eps = eps->get<double>();
  }
  return stated;
}

void check_stated(const StatedUmt5& stated, const Umt5Config& found, const std::string& source) {
  const auto compare = [&](const char* key, int64_t says, int64_t is) {
    if (!stated.given.contains(key) || says == is) return;
    fail_user("{}: {} is {}, but the tensors of {} say {}", stated.path, key, says, source, is);
  };
  const Umt5Config& c = stated.config;
  compare("vocab_size", c.vocabulary, found.vocabulary);
  compare("d_model", c.dim, found.dim);
  compare("d_ff", c.ffn_dim, found.ffn_dim);
  compare("num_layers", c.num_layers, found.num_layers);
  compare("num_heads", c.num_heads, found.num_heads);
  compare("relative_attention_num_buckets", c.buckets, found.buckets);
  if (stated.given.contains("num_heads"))
    compare("d_kv", c.attention_dim / c.num_heads, found.attention_dim / found.num_heads);
}

}  // namespace vmla::model
