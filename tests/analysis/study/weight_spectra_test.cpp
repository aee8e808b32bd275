#include "analysis/study/weight_spectra.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "data/store/hdf5_reader.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

using testing::HasSubstr;

at::Tensor gaussian(uint64_t sample, std::vector<int64_t> sizes) {
  return kernels::normal({1, 0, kernels::Purpose::kInit, 0, sample}, sizes);
}

// Three layers; keys narrower than the model in one of them (grouped heads).
model::TensorMap example() {
  model::TensorMap tensors;
  for (int64_t i = 0; i < 3; ++i) {
    const std::string prefix = formatted("blocks.{}.self_attn.", i);
    tensors[prefix + "k.weight"] = gaussian(static_cast<uint64_t>(2 * i), {i == 1 ? 8 : 24, 24});
    tensors[prefix + "v.weight"] = gaussian(static_cast<uint64_t>(2 * i + 1), {24, 24});
  }
  return tensors;
}

WeightSpectra spectra_of(const model::TensorMap& tensors, int64_t kv_heads = 0) {
  return weight_spectra(kv_weights(tensors, {}, "m"), kv_heads, "m");
}

TEST(WeightSpectra, EqualTheFullSvd) {
  const model::TensorMap tensors = example();
  const auto layers = spectra_of(tensors).layers;
  ASSERT_EQ(layers.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const at::Tensor k = tensors.at(formatted("blocks.{}.self_attn.k.weight", i)).to(at::kDouble);
    const at::Tensor v = tensors.at(formatted("blocks.{}.self_attn.v.weight", i)).to(at::kDouble);
    const std::array<std::pair<const Spectrum*, at::Tensor>, 3> pairs = {
        {{&layers[i].k.values, k},
         {&layers[i].v.values, v},
         {&layers[i].kv.values, at::cat({k, v})}}};
    for (const auto& [found, matrix] : pairs) {
      const at::Tensor expected = at::linalg_svdvals(matrix);
      ASSERT_EQ(static_cast<int64_t>(found->size()), expected.numel());
      for (size_t n = 0; n < found->size(); ++n) {
        // The Gram route's bound near zero, sqrt(eps) s_1 with the eigensolver's constant
        // (spectrum_test.cpp).
        EXPECT_NEAR(
            (*found)[n], expected[static_cast<int64_t>(n)].item<double>(), 3e-8 * found->front());
      }
    }
  }
}

TEST(WeightSpectra, WritesTheFilesOfTheContract) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "out";
  const WeightSpectra spectra = spectra_of(example(), 4);
  write_weight_spectra(spectra, "example", out);
  const data::Hdf5Reader file(out / "spectrum.h5", "spectra");
  for (const std::string kind : {"/k", "/v", "/kv"}) {
    const data::Hdf5Array<double> spectrum = file.doubles(kind + "/spectrum");
    const data::Hdf5Array<double> energy = file.doubles(kind + "/energy_at");
    EXPECT_EQ(spectrum.sizes, (std::vector<int64_t>{3, 24}));
    EXPECT_EQ(energy.sizes, spectrum.sizes);
    EXPECT_NEAR(energy.values[23], 1.0, 1e-12);
    const auto r99 = static_cast<size_t>(file.integers(kind + "/r99").values[0]);
    EXPECT_GE(energy.values[r99 - 1], 0.99);
    EXPECT_LT(energy.values[r99 - 2], 0.99);
  }
  EXPECT_EQ(file.doubles("kv/spectrum").values[24], spectra.layers[1].kv.values.front());
  EXPECT_THAT(io::read_text_file(out / "spectrum.csv"),
              HasSubstr("layer,weights,size,entropy_rank,r99"));
  EXPECT_THAT(io::read_text_file(out / "spectrum.html"), HasSubstr("layer 2"));
  EXPECT_THAT(io::read_text_file(out / "spectrum_kv.svg"), HasSubstr("<?xml"));
}

TEST(WeightSpectra, ReadsOtherNamesThroughAMap) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "vmla_names.yaml";
  write_bytes(path,
              "blocks.{layer}.self_attn.k.weight: layer.{layer}.key.weight\n"
              "v: layer.{layer}.value.weight\n");
  const KvNames names = read_kv_names(path);
  const model::TensorMap tensors = {{"layer.0.key.weight", gaussian(0, {8, 8})},
                                    {"layer.0.value.weight", gaussian(1, {8, 8})}};
  EXPECT_EQ(kv_weights(tensors, names, "bert").size(), 1u);
  write_bytes(path, "q: layer.{layer}.query.weight\n");
  EXPECT_THAT(error_of<UserError>([&] { read_kv_names(path); }),
              HasSubstr("vmla_names.yaml: unknown key 'q'"));
  write_bytes(path, "k: layer.key.weight\n");
  EXPECT_THAT(error_of<UserError>([&] { read_kv_names(path); }), HasSubstr("{layer}"));
  write_bytes(path, "k: [\n");
  EXPECT_THAT(error_of<UserError>([&] { read_kv_names(path); }), HasSubstr("not valid yaml"));
}

TEST(WeightSpectra, SaysWhatDoesNotFit) {
  EXPECT_THAT(error_of<UserError>([] { kv_weights({}, {}, "m.safetensors"); }),
              HasSubstr("m.safetensors: has no tensor 'blocks.{layer}.self_attn.k.weight'"));
  model::TensorMap tensors = example();
  tensors.erase("blocks.2.self_attn.v.weight");
  EXPECT_THAT(error_of<UserError>([&] { kv_weights(tensors, {}, "m"); }),
              HasSubstr("'blocks.2.self_attn.k.weight' has no partner"));
  tensors = example();
  tensors["blocks.1.self_attn.v.weight"] = at::ones({24, 12});
  EXPECT_THAT(error_of<UserError>([&] { kv_weights(tensors, {}, "m"); }),
              HasSubstr("'blocks.1.self_attn.v.weight' has sizes [24, 12]"));
  tensors = example();
  tensors["blocks.0.self_attn.k.weight"][3][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(error_of<UserError>([&] { kv_weights(tensors, {}, "m"); }), HasSubstr("holds NaN"));
  tensors = example();
  EXPECT_THAT(error_of<UserError>([&] { spectra_of(tensors, 5); }),
              HasSubstr("which 5 heads do not divide"));
}

TEST(WeightSpectra, HeadsAreTheRowsOfBoth) {
  const model::TensorMap tensors = example();
  const auto layers = spectra_of(tensors, 4).layers;
  const at::Tensor k = tensors.at("blocks.1.self_attn.k.weight").to(at::kDouble);  // 2 rows a head
  const at::Tensor v = tensors.at("blocks.1.self_attn.v.weight").to(at::kDouble);  // 6
  const at::Tensor joint = at::cat({k.narrow(0, 4, 2), v.narrow(0, 12, 6)});
  const at::Tensor expected = at::linalg_svdvals(joint);
  ASSERT_EQ(layers[1].heads.size(), 4u);
  for (size_t n = 0; n < 8; ++n)
    EXPECT_NEAR(layers[1].heads[2][n], expected[static_cast<int64_t>(n)].item<double>(), 1e-7);
}

TEST(WeightSpectra, PlantedDirectionsStandAboveTheEdge) {
  // Noise of 96 x 64, and three directions of twice its largest singular value, the edge: they
  // alone, but for at most one value of the noise that fluctuates over it.
  model::TensorMap tensors = {{"blocks.0.self_attn.v.weight", gaussian(7, {96, 64})}};
  const double edge = std::sqrt(96.0) + std::sqrt(64.0);
  const at::Tensor left = std::get<0>(at::linalg_qr(gaussian(8, {96, 3})));
  const at::Tensor right = std::get<0>(at::linalg_qr(gaussian(9, {64, 3})));
  tensors["blocks.0.self_attn.k.weight"] = gaussian(6, {96, 64}) + 2 * edge * left.mm(right.t());
  const LayerSpectra layer = spectra_of(tensors).layers.front();
  EXPECT_LE(layer.v.above_edge, 1);
  EXPECT_GE(layer.k.above_edge, 3);
  EXPECT_LE(layer.k.above_edge, 4);
  // Permuting the entries leaves a matrix like the noise.
  EXPECT_LT(layer.k.shuffled.front(), 1.1 * layer.k.edge);
}

}  // namespace
}  // namespace vmla::analysis
