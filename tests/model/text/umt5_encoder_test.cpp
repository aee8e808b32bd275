#include "model/text/umt5_encoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/io/error.h"
#include "model/text/umt5_names.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

constexpr Umt5Config kConfig = {.vocabulary = 20,
                                .dim = 12,
                                .attention_dim = 8,
                                .num_heads = 2,
                                .ffn_dim = 16,
                                .num_layers = 2};

Umt5Weights random_umt5() {
  at::manual_seed(1);
  Umt5Weights weights;
  weights.config = kConfig;
  weights.blocks.resize(2);
  Umt5Weights::fields(
      weights, [](const std::string&, at::Tensor& tensor, const std::vector<int64_t>& shape) {
        tensor = at::randn(shape) * 0.5 + (shape.size() == 1 ? 1 : 0);
      });
  return weights;
}

TensorMap tensors_of(const Umt5Weights& weights) {
  TensorMap tensors;
  Umt5Weights::fields(
      weights, [&](const std::string& name, const at::Tensor& tensor, const std::vector<int64_t>&) {
        tensors.emplace(name, tensor);
      });
  return tensors;
}

const std::vector<std::vector<int64_t>> kPrompts = {{3, 4, 5, 9, 1}, {1}, {7, 3, 1}};

TEST(Umt5Encoder, EachTensorMovesTheEmbedding) {
  Umt5Weights weights = random_umt5();
  const at::Tensor before = umt5_encode(weights, kPrompts, {}).front();
  const std::string hash = umt5_hash(weights);
  int moved = 0;
  Umt5Weights::fields(
      weights, [&](const std::string& name, at::Tensor& tensor, const std::vector<int64_t>&) {
        const at::Tensor kept = tensor;
        tensor = kept + at::randn_like(kept) * 0.1;
        const at::Tensor after = umt5_encode(weights, kPrompts, {}).front();
        EXPECT_GT((after - before).abs().max().item<float>(), 1e-4) << name;
        EXPECT_NE(umt5_hash(weights), hash) << name;
        tensor = kept;
        ++moved;
      });
  EXPECT_EQ(moved, 2 + 2 * 10);
}

TEST(Umt5Encoder, APromptIsEmbeddedAsByItself) {
  const Umt5Weights weights = random_umt5();
  const auto together = umt5_encode(weights, kPrompts, {});
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    const at::Tensor alone = umt5_encode(weights, {kPrompts[i]}, {}).front();
    EXPECT_EQ(together[i].sizes(), alone.sizes());
    // Sums of at most 16 terms of size about 1, in another order.
    EXPECT_LT((together[i] - alone).abs().max().item<float>(), 1e-4);
  }
  EXPECT_TRUE(umt5_encode(weights, {}, {}).empty());
}

TEST(Umt5Encoder, TheHashIsOfNumbersNotOfTheirStorage) {
  Umt5Weights weights = random_umt5(), half = weights, wide = weights;
  Umt5Weights::fields(half, [](const std::string&, at::Tensor& t, const std::vector<int64_t>&) {
    t = t.to(at::kBFloat16);
  });
  wide = half;
  Umt5Weights::fields(wide, [](const std::string&, at::Tensor& t, const std::vector<int64_t>&) {
    t = t.to(at::kFloat);
  });
  EXPECT_EQ(umt5_hash(half), umt5_hash(wide));
  EXPECT_NE(umt5_hash(half), umt5_hash(weights));
}

TEST(Umt5Names, BothLayoutsAndWholeModelsAreRead) {
  EXPECT_EQ(wan_name_of_umt5("encoder.block.23.layer.1.DenseReluDense.wi_0.weight"),
            "blocks.23.ffn.gate.0.weight");
  EXPECT_EQ(wan_name_of_umt5("shared.weight"), "token_embedding.weight");
  EXPECT_EQ(wan_name_of_umt5("blocks.0.norm1.weight"), "blocks.0.norm1.weight");
  for (const char* name : {"blocks.0.norm3.weight",
                           "blocks.00.norm1.weight",
                           "blocks..norm1.weight",
                           "blocks.x.norm1.weight",
                           "blocks.12345.norm1.weight",
                           "encoder.block.0",
                           "decoder.block.0.layer.0.layer_norm.weight",
                           ""}) {
    EXPECT_FALSE(wan_name_of_umt5(name)) << name;
  }
  TensorMap tensors = tensors_of(random_umt5()), prefixed;
  for (const auto& [name, tensor] : tensors) prefixed.emplace("text_encoder." + name, tensor);
  prefixed.emplace("text_encoder.decoder.block.0.layer.0.layer_norm.weight", at::zeros({3}));
  EXPECT_EQ(umt5_hash(umt5_weights(prefixed, {}, "x")), umt5_hash(random_umt5()));
}

TEST(Umt5Weights, WhatIsMissingExtraOrMisshapenIsListed) {
  TensorMap tensors = tensors_of(random_umt5());
  tensors.erase("blocks.1.attn.k.weight");
  tensors["blocks.0.ffn.fc2.weight"] = at::zeros({12, 15});
  tensors["vision.weight"] = at::zeros({2});
  const std::string text = error_of<UserError>([&] { umt5_weights(tensors, {}, "x.pth"); });
  for (const char* part : {"x.pth",
                           "blocks.1.attn.k.weight is missing",
                           "blocks.0.ffn.fc2.weight is [12, 15], not [12, 16]",
                           "'vision.weight'"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_NE(error_of<UserError>([&] { umt5_weights({}, {}, "x"); }).find("no blocks"),
            std::string::npos);
  tensors = tensors_of(random_umt5());
  tensors["blocks.9.norm1.weight"] = at::ones({12});
  EXPECT_NE(error_of<UserError>([&] { umt5_weights(tensors, {}, "x"); }).find("blocks.2."),
            std::string::npos);
}

TEST(Umt5Weights, WhatIsNotFiniteIsNamedWhenTheyAreLoaded) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "t5.safetensors";
  for (const auto& [name, whole] : tensors_of(random_umt5())) {
    TensorMap tensors = tensors_of(random_umt5());
    tensors[name] = whole.to(at::kBFloat16);
    tensors[name].view({-1})[-1] = name.ends_with("k.weight") ? INFINITY : NAN;
    write_safetensors(file, tensors);
    const std::string text = error_of<UserError>([&] { read_umt5(file); });
    EXPECT_EQ(text,
              formatted("{}: 1 of {} elements of tensor '{}' are NaN or infinite; these weights "
                        "cannot be used",
                        file.string(),
                        whole.numel(),
                        name));
  }
}

}  // namespace
}  // namespace vmla::model
