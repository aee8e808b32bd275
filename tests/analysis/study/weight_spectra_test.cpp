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

TEST(WeightSpectra, EqualTheFullSvd) {
  const model::TensorMap tensors = example();
  const auto layers = weight_spectra(tensors, {}, "example");
  ASSERT_EQ(layers.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const at::Tensor k = tensors.at(formatted("blocks.{}.self_attn.k.weight", i)).to(at::kDouble);
    const at::Tensor v = tensors.at(formatted("blocks.{}.self_attn.v.weight", i)).to(at::kDouble);
    const std::array<std::pair<const Spectrum*, at::Tensor>, 3> pairs = {
        {{&layers[i].k, k}, {&layers[i].v, v}, {&layers[i].kv, at::cat({k, v})}}};
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
  const auto layers = weight_spectra(example(), {}, "example");
  write_weight_spectra(layers, "example", out);
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
  EXPECT_EQ(file.doubles("kv/spectrum").values[24], layers[1].kv.front());
  EXPECT_THAT(io::read_text_file(out / "spectrum.csv"), HasSubstr("layer,weights,size,r99"));
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
  EXPECT_EQ(weight_spectra(tensors, names, "bert").size(), 1u);
  write_bytes(path, "q: layer.{layer}.query.weight\n");
  EXPECT_THAT(error_of<UserError>([&] { read_kv_names(path); }),
              HasSubstr("vmla_names.yaml: unknown key 'q'"));
  write_bytes(path, "k: layer.key.weight\n");
  EXPECT_THAT(error_of<UserError>([&] { read_kv_names(path); }), HasSubstr("{layer}"));
  write_bytes(path, "k: [\n");
  EXPECT_THAT(error_of<UserError>([&] { read_kv_names(path); }), HasSubstr("not valid yaml"));
}

TEST(WeightSpectra, SaysWhatDoesNotFit) {
  EXPECT_THAT(error_of<UserError>([] { weight_spectra({}, {}, "m.safetensors"); }),
              HasSubstr("m.safetensors: has no tensor blocks.0.self_attn.k.weight"));
  model::TensorMap tensors = example();
  tensors.erase("blocks.2.self_attn.v.weight");
  EXPECT_THAT(error_of<UserError>([&] { weight_spectra(tensors, {}, "m"); }),
              HasSubstr("no blocks.2.self_attn.v.weight"));
  tensors = example();
  tensors["blocks.1.self_attn.v.weight"] = at::ones({24, 12});
  EXPECT_THAT(error_of<UserError>([&] { weight_spectra(tensors, {}, "m"); }),
              HasSubstr("blocks.1.self_attn.v.weight has sizes [24, 12]"));
  tensors = example();
  tensors["blocks.0.self_attn.k.weight"][3][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(error_of<UserError>([&] { weight_spectra(tensors, {}, "m"); }),
              HasSubstr("holds NaN"));
}

}  // namespace
}  // namespace vmla::analysis
