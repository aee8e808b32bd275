#include "model/config/config_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "model/weights/weights.h"

namespace vmla::model {
namespace {

using testing::HasSubstr;

ModelConfig odd_mla() {
  ModelConfig c;
  c.attention = "mla";
  c.dim = 96;
  c.num_heads = 4;
  c.num_layers = 3;
  c.ffn_dim = 160;
  c.in_dim = 5;
  c.out_dim = 7;
  c.freq_dim = 32;
  c.text_dim = 24;
  c.text_len = 9;
  c.patch_size = {1, 3, 3};
  c.eps = 1e-5;
  c.kv_lora_rank = {{8, 12, 16}};
  c.q_lora_rank = 40;
  c.qk_nope_head_dim = 16;
  c.qk_rope_head_dim = 8;
  c.v_head_dim = 20;
  c.rope_pair_indices = {{{0, 1, 4, 8}, {0, 4, 5, 8}, {1, 2, 5, 9}}};
  c.latent_norm_eps = 1e-7;
  c.bias = false;
  c.num_frame_per_block = 2;
  c.local_attn_size = 7;
  c.sink_size = 1;
  c.independent_first_frame = true;
  return c;
}

TensorShapes shapes_of(const ModelConfig& config) {
  TensorShapes shapes;
  for (const int64_t unit : all_units(config)) {
    for (const TensorSpec& spec : unit_layout(config, unit)) shapes[spec.name] = spec.shape;
  }
  return shapes;
}

TEST(ConfigJson, OurOwnTextHoldsEveryField) {
  for (const ModelConfig& config : {ModelConfig(), odd_mla()}) {
    const PartialConfig back = parse_model_json(model_json(config, "svd_weight"), "m");
    EXPECT_EQ(back.config, config);
    EXPECT_EQ(back.init_method, "svd_weight");
    ModelConfig::fields(config, [&](const std::string& key, const auto&, const auto&) {
      EXPECT_EQ(back.given.contains(key), key != "preset") << key;
    });
  }
}

TEST(ConfigJson, VideomlaExportHoldsTheModel) {
  const PartialConfig back = parse_model_json(videomla_config_json(odd_mla(), "random"), "m");
  EXPECT_EQ(back.config, odd_mla());
  // The count rule is written out as indices, and reads back as the same pairs.
  ModelConfig ruled = odd_mla();
  ruled.rope_pair_indices = {};
  const ModelConfig read = parse_model_json(videomla_config_json(ruled, ""), "m").config;
  EXPECT_EQ(rope_pairs(read, 2), rope_pairs(ruled, 2));
  EXPECT_FALSE(read.rope_pair_indices.lists.empty());
}

TEST(ConfigJson, EveryLayoutOfADenseModelReadsBack) {
  ModelConfig dense;
  dense.dim = 96;
  dense.num_heads = 4;
  dense.num_layers = 2;
  dense.ffn_dim = 100;
  dense.in_dim = 3;
  dense.out_dim = 6;
  dense.text_dim = 8;
  dense.freq_dim = 16;
  dense.patch_size = {1, 1, 2};
  dense.eps = 1e-5;
  for (const std::string& text :
       {wan_config_json(dense), diffusers_config_json(dense), videomla_config_json(dense, "")}) {
    PartialConfig back = parse_model_json(text, "m");
    infer_model_sizes(back, shapes_of(dense));
    EXPECT_EQ(back.config, dense) << text;
  }
}

TEST(ConfigJson, TheOriginalWanFile) {
  // As published beside Wan2.1-T2V-1.3B: no text_dim, patch_size or bias.
  const PartialConfig partial = parse_model_json(
      R"({"_class_name": "WanModel", "_diffusers_version": "0.30.0", "dim": 1536, "eps": 1e-06,
          "ffn_dim": 8960, "freq_dim": 256, "in_dim": 16, "model_type": "t2v", "num_heads": 12,
          "num_layers": 30, "out_dim": 16, "text_len": 512})",
      "config.json");
  EXPECT_EQ(partial.config, ModelConfig());
  EXPECT_FALSE(partial.given.contains("text_dim"));
}

TEST(ConfigJson, SizesComeFromShapes) {
  for (ModelConfig config : {ModelConfig(), odd_mla()}) {
    PartialConfig partial;
    partial.config.num_heads = config.num_heads;
    partial.given = {"num_heads"};
    infer_model_sizes(partial, shapes_of(config));
    // What no shape tells.
    config.text_len = 512;
    config.eps = 1e-6;
    config.latent_norm_eps = 1e-6;
    config.rope_pair_indices = {};
    config.num_frame_per_block = 3;
    config.local_attn_size = -1;
    config.sink_size = 0;
    config.independent_first_frame = false;
    if (!config.is_mla()) config.kv_lora_rank = {{192}};
    EXPECT_EQ(partial.config, config);
  }
  PartialConfig nothing;
  infer_model_sizes(nothing, shapes_of(ModelConfig()));
  EXPECT_EQ(nothing.config, ModelConfig());  // num_heads = dim / 128, text_len 512
}

TEST(ConfigJson, ReadsOtherSpellings) {
  EXPECT_EQ(
      parse_model_json(R"({"dim": 64, "num_frames_per_block": 4})", "m").config.num_frame_per_block,
      4);
  const PartialConfig mla = parse_model_json(
      R"({"dim": 1536, "num_heads": 12, "kv_lora_rank": 192, "rope_pairs": [6, 5, 5]})", "m");
  EXPECT_TRUE(mla.config.is_mla());
  // The first pairs of each axis are the count rule's (docs/algorithms.md 4.4).
  ModelConfig ruled = mla.config;
  ruled.rope_pair_indices = {};
  EXPECT_EQ(rope_pairs(mla.config, 0), rope_pairs(ruled, 0));
}

TEST(ConfigJson, RefusesAndNamesTheKey) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "not a JSON object"},
      {"[]", "not a JSON object"},
      {R"({"latents_mean": [0.1]})", "neither 'dim'"},
      {R"({"dim": "64"})", "dim is \"64\"; a whole number is needed"},
      {R"({"dim": 64.5})", "dim is 64.5"},
      {R"({"dim": 64, "eps": "x"})", "eps is \"x\"; a number"},
      {R"({"dim": 64, "bias": 1})", "bias is 1; true or false"},
      {R"({"dim": 64, "patch_size": [1, 2]})", "patch_size is [1,2]; three whole numbers"},
      {R"({"dim": 64, "kv_lora_rank": []})", "kv_lora_rank"},
      {R"({"dim": 64, "rope_pair_indices": [[0], 1]})", "rope_pair_indices"},
      {R"({"dim": 64, "num_heads": 0})", "must be positive"},
      {R"({"dim": 64, "model_type": "i2v"})", "model_type is 'i2v'"},
      {R"({"num_attention_heads": 2, "image_dim": 1280})", "image_dim"},
      {R"({"dim": 1536, "kv_lora_rank": 192, "rope_pairs": [40, 5, 5]})", "rope_pairs asks for 40"},
  };
  for (const auto& [text, expected] : cases) {
    try {
      parse_model_json(text, "some/config.json");
      ADD_FAILURE() << text;
    } catch (const UserError& problem) {
      EXPECT_THAT(problem.what(), HasSubstr(expected));
      EXPECT_THAT(problem.what(), HasSubstr("some/config.json: "));
    }
  }
}

}  // namespace
}  // namespace vmla::model
