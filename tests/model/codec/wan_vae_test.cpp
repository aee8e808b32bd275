#include "model/codec/wan_vae/wan_vae.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "model/codec/wan_vae/load_vae.h"
#include "model/codec/wan_vae/vae_layers.h"
#include "model/io/error.h"
#include "tests/model/codec/small_vae.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

at::Tensor random_latents(int64_t frames, int64_t height, int64_t width) {
  at::manual_seed(5);
  return at::randn({frames, 16, height, width});
}

at::Tensor random_clip(int64_t frames, int64_t height, int64_t width) {
  at::manual_seed(6);
  return at::rand({frames, 3, height, width}) * 2 - 1;
}

TEST(WanVae, DecodesToTheSameBitsHoweverTheVideoIsCut) {
  const TemporaryFolder folder;
  const auto vae = make_wan_vae({.weights = write_small_vae(folder.path())});
  const at::Tensor latents = random_latents(6, 2, 3);
  const at::Tensor whole = vae->decode(latents);
  EXPECT_EQ(whole.sizes(), at::IntArrayRef({21, 3, 16, 24}));
  EXPECT_GT(whole.abs().lt(1).to(at::kFloat).mean().item<double>(), 0.5) << "most of it is clamped";
  for (const std::vector<int64_t>& cut :
       std::vector<std::vector<int64_t>>{{1, 1, 1, 1, 1, 1}, {3, 3}, {1, 5}, {2, 1, 3}}) {
    const auto decoder = vae->start_decoding();
    std::vector<at::Tensor> parts;
    int64_t begin = 0;
    for (const int64_t frames : cut) {
      parts.push_back(decoder->next(latents.narrow(0, begin, frames)));
      begin += frames;
      EXPECT_EQ(vae->pixel_frames(begin), at::cat(parts).size(0));
    }
    EXPECT_TRUE(at::equal(at::cat(parts), whole)) << at::IntArrayRef(cut);
  }
}

TEST(WanVae, WhatComesLaterChangesNothingBefore) {
  const TemporaryFolder folder;
  const auto vae = make_wan_vae({.weights = write_small_vae(folder.path())});
  at::Tensor clip = random_clip(13, 16, 8);
  const at::Tensor latents = vae->encode(clip);
  EXPECT_EQ(latents.sizes(), at::IntArrayRef({4, 16, 2, 1}));
  EXPECT_TRUE(at::equal(vae->encode(clip.narrow(0, 0, 5)), latents.narrow(0, 0, 2)));
  clip[9] = -clip[9];
  const at::Tensor other = vae->encode(clip);
  EXPECT_TRUE(at::equal(other.narrow(0, 0, 3), latents.narrow(0, 0, 3)));
  EXPECT_FALSE(at::equal(other[3], latents[3]));

  at::Tensor changed = latents.clone();
  changed[3] += 1;
  const at::Tensor before = vae->decode(latents), after = vae->decode(changed);
  EXPECT_TRUE(at::equal(after.narrow(0, 0, 9), before.narrow(0, 0, 9)));
  EXPECT_FALSE(at::equal(after[9], before[9]));
}

TEST(WanVae, MovingAnyTensorMovesWhatItBelongsTo) {
  const VaeSizes sizes = small_vae_sizes();
  const TensorMap tensors = small_vae_tensors(sizes);
  const at::Tensor pixels = random_clip(5, 8, 16).permute({0, 2, 3, 1}).contiguous();
  const at::Tensor latents = random_latents(2, 1, 2).permute({0, 2, 3, 1}).contiguous();
  const auto results_of = [&](const TensorMap& weights) {
    const auto encoder = prepared_encoder(sizes, weights, at::kFloat);
    const auto decoder = prepared_decoder(sizes, weights, at::kFloat);
    VaeStream down, up;
    std::vector<at::Tensor> encoded, decoded;
    for (const at::Tensor& frame : pixels.unbind(0)) {
      const at::Tensor latent = encode_frame(encoder, frame, down);
      if (latent.defined()) encoded.push_back(latent);
    }
    for (const at::Tensor& frame : latents.unbind(0)) {
      decode_frame(decoder, frame, up, [&](const at::Tensor& out) { decoded.push_back(out); });
    }
    return std::pair(at::stack(encoded), at::stack(decoded));
  };
  const auto [encoded, decoded] = results_of(tensors);
  EXPECT_EQ(encoded.size(0), 2);
  EXPECT_EQ(decoded.size(0), 5);
  for (const auto& [name, tensor] : tensors) {
    TensorMap moved = tensors;
    at::manual_seed(8);
    moved[name] = tensor + 0.1 * at::randn_like(tensor);
    const auto [other_encoded, other_decoded] = results_of(moved);
    const bool of_encoder = name.starts_with("encoder.") || name.starts_with("conv1.");
    // Far more than rounding, far less than all of it.
    EXPECT_EQ((other_encoded - encoded).abs().max().item<double>() > 1e-4, of_encoder) << name;
    EXPECT_EQ((other_decoded - decoded).abs().max().item<double>() > 1e-4, !of_encoder) << name;
  }
}

TEST(WanVae, HasOneHashForOneSetOfWeights) {
  const TemporaryFolder folder;
  const std::filesystem::path file = write_small_vae(folder.path());
  const std::string hash = make_wan_vae({.weights = file})->hash();
  TensorMap diffusers, prefixed;
  for (const auto& [name, tensor] : read_codec_tensors(file)) {
    diffusers.emplace(diffusers_vae_name(name), tensor.clone());
    prefixed.emplace("module.vae." + name, tensor.clone());
  }
  const auto hash_of = [&](const TensorMap& tensors) {
    const std::filesystem::path other = folder.path() / "other.safetensors";
    write_safetensors(other, tensors);
    return make_wan_vae({.weights = other})->hash();
  };
  EXPECT_EQ(hash_of(diffusers), hash);
  EXPECT_EQ(hash_of(prefixed), hash);
  diffusers.begin()->second.view({-1})[0] += 1;
  EXPECT_NE(hash_of(diffusers), hash);
}

TEST(WanVae, SaysWhatIsWrongWithWeights) {
  const TemporaryFolder folder;
  const TensorMap good = small_vae_tensors(small_vae_sizes());
  const auto error_with = [&](const auto& change) {
    TensorMap tensors = good;
    change(tensors);
    const std::filesystem::path file = folder.path() / "bad.safetensors";
    write_safetensors(file, tensors);
    const std::string text = error_of<UserError>([&] { make_wan_vae({.weights = file}); });
    EXPECT_NE(text.find("bad.safetensors"), std::string::npos) << text;
    return text;
  };
  const auto expect = [](const std::string& text, const char* part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect(error_with([](TensorMap& t) { t.erase("encoder.middle.1.proj.bias"); }),
         "encoder.middle.1.proj.bias is missing");
  expect(error_with([](TensorMap& t) { t["encoder.extra"] = at::zeros({1}); }),
         "'encoder.extra' is not part of it");
  expect(error_with([](TensorMap& t) { t["conv1.bias"] = at::zeros({5}); }), "should be [32]");
  expect(error_with([](TensorMap& t) { t["conv1.bias"][0] = NAN; }),
         "1 of 32 elements of tensor 'conv1.bias' are NaN");
  expect(error_with([](TensorMap& t) { t["conv1.bias"] = at::zeros({32}, at::kInt); }), "I32");
  expect(error_with([](TensorMap& t) { t["conv2.weight"] = at::zeros({48, 48, 1, 1, 1}); }),
         "Wan 2.2");
  expect(error_with([](TensorMap& t) { t = {{"decoder.1.weight", at::zeros({1})}}; }), "taew2_1");
  expect(error_with(
             [](TensorMap& t) { t = {{"encoder.downsamples.0.downsamples.0.x", at::zeros({1})}}; }),
         "Wan 2.2");
}

TEST(WanVae, TakesStatisticsFromTheConfigBesideIt) {
  const TemporaryFolder folder;
  const std::filesystem::path file = write_small_vae(folder.path());
  const std::filesystem::path config = folder.path() / "config.json";
  const auto with_config = [&](const std::string& text) {
    std::ofstream(config) << text;
    return load_vae(file).statistics;
  };
  EXPECT_DOUBLE_EQ(load_vae(file).statistics.mean[0], -0.7571);
  EXPECT_DOUBLE_EQ(with_config(R"({"model_type": "t2v", "dim": 1536})").mean[0], -0.7571);
  std::string list = "[0.5";
  for (int i = 1; i < 16; ++i) list += ", 2";
  list += "]";
  const auto statistics =
      with_config(R"({"z_dim": 16, "latents_mean": )" + list + R"(, "latents_std": )" + list + "}");
  EXPECT_DOUBLE_EQ(statistics.mean[0], 0.5);
  EXPECT_DOUBLE_EQ(statistics.deviation[15], 2);
  const auto refused = [&](const std::string& text) {
    return error_of<UserError>([&] { with_config(text); });
  };
  EXPECT_NE(refused(R"({"z_dim": 16, "latents_mean": [1], "latents_std": [1]})").find("16 numbers"),
            std::string::npos);
  EXPECT_NE(refused(R"({"z_dim": 48, "is_residual": true})").find("is_residual"),
            std::string::npos);
  EXPECT_NE(refused("[").find("no JSON object"), std::string::npos);
}

TEST(WanVae, RefusesClipsThatItCannotEncode) {
  const TemporaryFolder folder;
  const auto vae = make_wan_vae({.weights = write_small_vae(folder.path())});
  EXPECT_NE(error_of<UserError>([&] { vae->encode(random_clip(4, 8, 8)); }).find("1, 5, 9"),
            std::string::npos);
  EXPECT_NE(error_of<UserError>([&] { vae->encode(random_clip(5, 8, 12)); }).find("8x12"),
            std::string::npos);
}

}  // namespace
}  // namespace vmla::model
