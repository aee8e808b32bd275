#include "model/weights/weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/io/error.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::HasSubstr;

int64_t tensor_count(const ModelConfig& config) {
  int64_t count = 0;
  for (const int64_t unit : all_units(config)) {
    count += static_cast<int64_t>(unit_layout(config, unit).size());
  }
  return count;
}

TEST(Weights, CountsOfThePublishedModels) {
  ModelConfig wan = model_preset("wan1.3b");
  EXPECT_EQ(parameter_count(wan), 1418996800);
  EXPECT_EQ(tensor_count(wan), 825);
  const ModelConfig large = model_preset("wan14b");
  EXPECT_EQ(parameter_count(large), 14288491584);
  EXPECT_EQ(tensor_count(large), 1095);
  wan.attention = "mla";
  EXPECT_EQ(parameter_count(wan), 1303095040);
  wan.bias = false;
  EXPECT_EQ(parameter_count(wan), 1303042240);
}

TEST(Weights, LayoutIsDenseAndNamesAreUnique) {
  for (const ModelConfig& config : {tiny_dense(), tiny_mla()}) {
    std::set<std::string> names;
    for (const int64_t unit : all_units(config)) {
      int64_t offset = 0;
      for (const TensorSpec& spec : unit_layout(config, unit)) {
        EXPECT_EQ(spec.offset, offset) << spec.name;
        offset += spec.numel;
        EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
        EXPECT_EQ(spec.name.rfind(unit == kRootUnit ? "blocks." : "", 0) == 0, unit != kRootUnit)
            << spec.name;
      }
    }
  }
}

TEST(Weights, BindPutsTensorsWhereTheirNamesSay) {
  const ModelConfig config = tiny_mla();
  std::vector<at::Tensor> tensors;
  std::map<std::string, at::Tensor> by_name;
  for (const TensorSpec& spec : unit_layout(config, 1)) {
    tensors.push_back(at::zeros(spec.shape));
    by_name[spec.name] = tensors.back();
  }
  const DitBlockWeights block = bind_block(config, 1, tensors);
  const auto& attention = std::get<MlaAttentionWeights>(block.self_attn);
  EXPECT_TRUE(attention.kv_b_proj.is_same(by_name.at("blocks.1.self_attn.kv_b_proj.weight")));
  EXPECT_TRUE(
      attention.kv_a_bias.is_same(by_name.at("blocks.1.self_attn.kv_a_proj_with_mqa.bias")));
  EXPECT_TRUE(
      block.cross_attn.norm_q_weight.is_same(by_name.at("blocks.1.cross_attn.norm_q.weight")));
  EXPECT_TRUE(block.ffn_out_bias.is_same(by_name.at("blocks.1.ffn.2.bias")));
  tensors.push_back(at::zeros({1}));
  EXPECT_THROW(bind_block(config, 1, tensors), c10::Error);
}

TEST(Weights, WithoutBiasTheOptionalTensorsAreGone) {
  ModelConfig config = tiny_mla();
  config.bias = false;
  for (const TensorSpec& spec : unit_layout(config, 0)) {
    EXPECT_EQ(spec.name.find("proj.bias"), std::string::npos) << spec.name;
    EXPECT_EQ(spec.name.find("mqa.bias"), std::string::npos) << spec.name;
  }
}

TEST(Weights, FreshOnesAreDrawnAsWanDoes) {
  ModelConfig config = tiny_mla();
  config.dim = 96;
  config.ffn_dim = 128;
  config.text_dim = 64;
  const auto w = random_weights(config, 7);
  const auto std_of = [&](const std::string& name) { return w.at(name).std().item<double>(); };
  EXPECT_EQ(w.at("head.head.weight").abs().max().item<double>(), 0.0);
  EXPECT_EQ(w.at("blocks.0.ffn.0.bias").abs().max().item<double>(), 0.0);
  EXPECT_EQ(w.at("blocks.0.self_attn.kv_a_layernorm.weight").min().item<double>(), 1.0);
  EXPECT_EQ(w.at("blocks.1.norm3.weight").max().item<double>(), 1.0);
  // Standard error of a sample deviation: 1 / sqrt(2 n); the smallest tensor here has 576 entries.
  EXPECT_NEAR(std_of("blocks.0.modulation") * std::sqrt(96.0), 1.0, 5.0 / std::sqrt(2.0 * 576));
  EXPECT_NEAR(std_of("text_embedding.0.weight") / 0.02, 1.0, 5.0 / std::sqrt(2.0 * 6144));
  const double bound = std::sqrt(6.0 / (96 + 128));
  const at::Tensor ffn = w.at("blocks.0.ffn.0.weight");
  EXPECT_LE(ffn.abs().max().item<double>(), bound);
  EXPECT_GT(ffn.abs().max().item<double>(), 0.99 * bound);
  EXPECT_NEAR(std_of("blocks.0.ffn.0.weight"), bound / std::sqrt(3.0), 0.02 * bound);
  // A value depends on the seed and the tensor's name alone.
  EXPECT_TRUE(at::equal(ffn, random_weights(config, 7).at("blocks.0.ffn.0.weight")));
  EXPECT_FALSE(at::equal(ffn, random_weights(config, 8).at("blocks.0.ffn.0.weight")));
  EXPECT_FALSE(at::equal(ffn, w.at("blocks.1.ffn.0.weight")));
}

TEST(Weights, MisfitsAreNamedInOneLine) {
  const ModelConfig config = tiny_dense();
  auto w = drawn_weights(config);
  EXPECT_NO_THROW(check_weights(config, w, "a.safetensors"));
  w.erase("head.modulation");
  w["blocks.0.ffn.0.bias"] = at::zeros({3});
  w["blocks.2.ffn.0.bias"] = at::zeros({20});
  try {
    check_weights(config, w, "a.safetensors");
    FAIL() << "misfits were accepted";
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_THAT(text, HasSubstr("a.safetensors"));
    EXPECT_THAT(text, HasSubstr("1 missing (head.modulation)"));
    EXPECT_THAT(text,
                HasSubstr("1 of another shape (blocks.0.ffn.0.bias is [3], the model wants [20])"));
    EXPECT_THAT(text, HasSubstr("1 not part of it ('blocks.2.ffn.0.bias')"));
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace vmla::model
