#include "model/formats/weight_names.h"

#include <gtest/gtest.h>

#include <set>

#include "model/weights/weights.h"

namespace vmla::model {
namespace {

// The table of docs/algorithms.md 2.11, spelt out once more by hand.
TEST(WeightNames, KnownPairs) {
  const std::pair<const char*, const char*> pairs[] = {
      {"patch_embedding.weight", "patch_embedding.weight"},
      {"text_embedding.0.bias", "condition_embedder.text_embedder.linear_1.bias"},
      {"text_embedding.2.weight", "condition_embedder.text_embedder.linear_2.weight"},
      {"time_embedding.2.weight", "condition_embedder.time_embedder.linear_2.weight"},
      {"time_projection.1.bias", "condition_embedder.time_proj.bias"},
      {"head.head.weight", "proj_out.weight"},
      {"head.modulation", "scale_shift_table"},
      {"blocks.12.modulation", "blocks.12.scale_shift_table"},
      {"blocks.0.self_attn.q.weight", "blocks.0.attn1.to_q.weight"},
      {"blocks.0.self_attn.o.bias", "blocks.0.attn1.to_out.0.bias"},
      {"blocks.0.self_attn.norm_k.weight", "blocks.0.attn1.norm_k.weight"},
      {"blocks.0.cross_attn.v.bias", "blocks.0.attn2.to_v.bias"},
      {"blocks.0.cross_attn.norm_q.weight", "blocks.0.attn2.norm_q.weight"},
      {"blocks.0.norm3.weight", "blocks.0.norm2.weight"},
      {"blocks.0.ffn.0.weight", "blocks.0.ffn.net.0.proj.weight"},
      {"blocks.0.ffn.2.bias", "blocks.0.ffn.net.2.bias"},
  };
  for (const auto& [wan, diffusers] : pairs) {
    EXPECT_EQ(wan_to_diffusers(wan), diffusers);
    EXPECT_EQ(diffusers_to_wan(diffusers), wan);
    EXPECT_EQ(is_diffusers_name(diffusers), std::string(wan) != diffusers) << diffusers;
    EXPECT_FALSE(is_diffusers_name(wan)) << wan;
  }
}

TEST(WeightNames, EveryDenseTensorGoesThereAndBack) {
  ModelConfig config;
  config.num_layers = 11;
  std::set<std::string> seen;
  for (const int64_t unit : all_units(config)) {
    for (const TensorSpec& spec : unit_layout(config, unit)) {
      const auto diffusers = wan_to_diffusers(spec.name);
      ASSERT_TRUE(diffusers.has_value()) << spec.name;
      EXPECT_TRUE(seen.insert(*diffusers).second) << *diffusers;
      EXPECT_EQ(diffusers_to_wan(*diffusers), spec.name);
    }
  }
  EXPECT_EQ(seen.size(), 15u + 27u * 11u);
}

TEST(WeightNames, UnknownNamesStayUnknown) {
  for (const char* name : {"",
                           "blocks",
                           "blocks.",
                           "blocks.x.modulation",
                           "blocks.0.",
                           "head.head2",
                           "blocks.0.self_attn.q_a_proj.weight",
                           "blocks.0.self_attn.kv_b_proj.weight",
                           "model.head.head.weight",
                           "blocks.0.norm2.weight",
                           "img_emb.proj.0.weight"}) {
    EXPECT_FALSE(wan_to_diffusers(name).has_value()) << name;
  }
  for (const char* name :
       {"blocks.0.norm3.weight", "blocks.0.attn2.add_k_proj.weight", "head.head.weight"}) {
    EXPECT_FALSE(diffusers_to_wan(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace vmla::model
