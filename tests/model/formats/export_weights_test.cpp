#include "model/formats/export_weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/formats/export_format.h"
#include "model/formats/tensor_file.h"
#include "model/io/atomic_file.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/io/sha256.h"
#include "model/weights/weights.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// Loading and exporting, each tested against the other: what one writes, the other must read bit
/// by bit.
class ExportWeightsTest : public testing::Test {
 protected:
  ExportWeightsTest() { log::set_muted(true); }
  ~ExportWeightsTest() override {
    log::set_muted(false);
    io::set_fault_hook(nullptr);
  }

  /// A checkpoint with one role, as the trainer would write it.
  void write_checkpoint(const std::map<std::string, TensorMap>& roles, const ModelConfig& config) {
    io::CheckpointManifest manifest;
    manifest.step = 7;
    manifest.stage = "pretrain";
    manifest.model_json = model_json(config, config.is_mla() ? "svd_weight" : "");
    fs::create_directories(folder_ / "step_7");
    for (const auto& [role, tensors] : roles) {
      const std::string file = role + ".safetensors";
      const WrittenFile written = write_safetensors(folder_ / "step_7" / file, tensors);
      manifest.files[file] = {written.bytes, written.sha256};
      for (const WrittenTensor& place : written.tensors) {
        const at::Tensor& t = tensors.at(place.name);
        manifest.roles[role].tensors[place.name] = {
            io::StoredType::f32, t.sizes().vec(), {{file, place.offset, 0, uint64_t(t.numel())}}};
      }
    }
    io::write_file_atomically(folder_ / "step_7" / "manifest.json", io::manifest_text(manifest));
  }

  TemporaryFolder folder_;
};

ModelConfig tiny(bool mla) {
  ModelConfig c;
  c.dim = 48;
  c.num_heads = 4;
  c.num_layers = 2;
  c.ffn_dim = 64;
  c.in_dim = 4;
  c.out_dim = 4;
  c.freq_dim = 16;
  c.text_dim = 8;
  if (mla) {
    c.attention = "mla";
    c.kv_lora_rank = {{8}};
    c.q_lora_rank = 16;
    c.qk_nope_head_dim = 6;
    c.qk_rope_head_dim = 6;
    c.v_head_dim = 12;
  }
  return c;
}

/// What `vmla export` does, but for what the stage's configuration says of sampling.
void export_checkpoint(const fs::path& checkpoint,
                       const std::string& format,
                       const std::string& role,
                       const std::string& dtype,
                       const fs::path& out) {
  ExportOptions options;
  options.format = format;
  options.dtype = export_dtype(dtype);
  export_weights(load_weights(checkpoint, role), options, out);
}

TensorMap random_tensors(const ModelConfig& config) {
  TensorMap tensors = random_weights(config, 3);
  for (auto& [name, tensor] : tensors)
    tensor = tensor + 0.01 * at::rand(tensor.sizes());  // no zeros
  return tensors;
}

void expect_same(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
  }
}

template <class F>
std::string user_error(F&& f) {
  try {
    f();
  } catch (const UserError& problem) {
    EXPECT_EQ(std::string(problem.what()).find('\n'), std::string::npos);
    return problem.what();
  }
  return {};
}

TEST_F(ExportWeightsTest, EveryLayoutReadsBackWithItsConfig) {
  for (const bool mla : {false, true}) {
    const ModelConfig config = tiny(mla);
    const TensorMap tensors = random_tensors(config);
    write_checkpoint({{"generator", tensors}}, config);
    for (const ExportFormat& row : export_formats()) {
      const std::string format(row.name);
      if (row.file == WeightFile::kTorch) continue;  // tests/python: PyTorch reads it
      const fs::path out = folder_ / (format + "_out");
      if (mla && !row.latent) {
        EXPECT_THAT(user_error([&] {
                      export_checkpoint(folder_ / "step_7", format, "ema", "fp32", out / "x");
                    }),
                    HasSubstr("no exact dense form"));
        EXPECT_FALSE(fs::exists(out / "x"));
        continue;
      }
      export_checkpoint(folder_ / "step_7", format, "ema", "fp32", out);
      const LoadedWeights back = load_weights(out);
      expect_same(tensors, back.tensors);
      EXPECT_EQ(back.config.is_mla(), mla);
      EXPECT_EQ(back.config.num_heads, config.num_heads);
      EXPECT_EQ(back.diffusers_names, row.diffusers_names);
      EXPECT_TRUE(back.config_is_complete);
      check_weights(back.config, back.tensors, "back");
    }
    fs::remove_all(folder_ / "step_7");
  }
}

TEST_F(ExportWeightsTest, TheManifestTellsWhatWasWritten) {
  const ModelConfig config = tiny(true);
  const TensorMap tensors = random_tensors(config);
  write_checkpoint({{"generator", tensors}}, config);
  export_checkpoint(folder_ / "step_7", "videomla", "raw", "bf16", folder_ / "out");
  const auto json =
      nlohmann::json::parse(io::read_text_file(folder_ / "out" / "export_manifest.json"));
  EXPECT_EQ(json["layout"], "videomla");
  EXPECT_EQ(json["source"]["step"], 7);
  EXPECT_EQ(json["source"]["role"], "generator");
  EXPECT_EQ(json["source"]["init_method"], "svd_weight");
  EXPECT_EQ(json["checks"][0]["verifier"], "self");
  // config.json, weights, model card, the two Python files.
  ASSERT_EQ(json["files"].size(), 5u);
  for (const auto& [name, file] : json["files"].items()) {
    EXPECT_EQ(file["sha256"], io::file_sha256(folder_ / "out" / name)) << name;
    EXPECT_EQ(file["bytes"], fs::file_size(folder_ / "out" / name)) << name;
  }
  ASSERT_EQ(json["tensors"].size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor written = tensor.to(at::kBFloat16);
    EXPECT_EQ(json["tensors"][name], io::sha256_hex(written.const_data_ptr(), written.nbytes()));
    EXPECT_TRUE(at::equal(load_weights(folder_ / "out").tensors.at(name), written));
  }
}

TEST_F(ExportWeightsTest, LargeModelsAreSplit) {
  const ModelConfig config = tiny(false);
  LoadedWeights weights;
  weights.config = config;
  weights.config_is_complete = true;
  weights.tensors = random_tensors(config);
  weights.source = "test";
  export_weights(weights,
                 {.format = "diffusers",
                  .dtype = {},
                  .shard_bytes = 60'000,
                  .extra_files = {{"report.txt", "x"}}},
                 folder_ / "out");
  size_t shards = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    EXPECT_LT(fs::file_size(entry), 70'000u);  // the limit and a header
  }
  EXPECT_GT(shards, 2u);
  EXPECT_TRUE(fs::exists(folder_ / "out" / "diffusion_pytorch_model.safetensors.index.json"));
  EXPECT_EQ(io::read_text_file(folder_ / "out" / "report.txt"), "x");
  expect_same(weights.tensors, load_weights(folder_ / "out").tensors);
  // A pipeline's root is found through its folder `transformer`.
  fs::create_directories(folder_ / "pipeline");
  fs::rename(folder_ / "out", folder_ / "pipeline" / "transformer");
  io::write_file_atomically(folder_ / "pipeline" / "model_index.json", "{}");
  expect_same(weights.tensors, load_weights(folder_ / "pipeline").tensors);
}

TEST_F(ExportWeightsTest, ConvertSwapsTheNames) {
  const TensorMap tensors = random_tensors(tiny(false));
  write_checkpoint({{"generator", tensors}}, tiny(false));
  export_checkpoint(folder_ / "step_7", "wan", "ema", "fp32", folder_ / "wan");
  convert_weights(folder_ / "wan", folder_ / "diffusers");
  const auto in_diffusers = read_safetensors_sharded(folder_ / "diffusers").tensors;
  EXPECT_TRUE(in_diffusers.contains("blocks.1.attn1.to_out.0.bias"));
  expect_same(tensors, load_weights(folder_ / "diffusers").tensors);
  convert_weights(folder_ / "diffusers", folder_ / "back.safetensors");
  expect_same(tensors, read_safetensors(folder_ / "back.safetensors").tensors);
  convert_weights(folder_ / "wan", folder_ / "x.pt");
  expect_same(tensors, load_weights(folder_ / "x.pt").tensors);
  convert_weights(folder_ / "wan", folder_ / "names.pt", "", "diffusers");
  EXPECT_TRUE(read_tensors(folder_ / "names.pt").contains("state_dict.blocks.1.attn1.to_q.bias"));
}

TEST_F(ExportWeightsTest, PrefixesAreDropped) {
  TensorMap tensors = random_tensors(tiny(false)), wrapped;
  for (const auto& [name, tensor] : tensors) wrapped["model._fsdp_wrapped_module." + name] = tensor;
  write_safetensors(folder_ / "w.safetensors", wrapped);
  const LoadedWeights loaded = load_weights(folder_ / "w.safetensors");
  expect_same(tensors, loaded.tensors);
  EXPECT_FALSE(loaded.config_is_complete);
  wrapped["model.head.head.bias"] = tensors["head.head.bias"];
  write_safetensors(folder_ / "w.safetensors", wrapped);
  EXPECT_THAT(user_error([&] { load_weights(folder_ / "w.safetensors"); }),
              HasSubstr("two tensors"));
}

TEST_F(ExportWeightsTest, RolesAreChosenInTheAgreedOrder) {
  const ModelConfig config = tiny(false);
  const auto role = [&](const std::string& wanted) {
    return load_weights(folder_ / "step_7", wanted).role;
  };
  const TensorMap tensors = random_tensors(config);
  write_checkpoint({{"generator", tensors}}, config);
  EXPECT_EQ(role("ema"), "generator");
  write_checkpoint({{"generator", tensors}, {"target_ema", tensors}}, config);
  EXPECT_EQ(role(""), "target_ema");
  write_checkpoint({{"generator", tensors}, {"target_ema", tensors}, {"generator_ema", tensors}},
                   config);
  EXPECT_EQ(role("ema"), "generator_ema");
  EXPECT_EQ(role("raw"), "generator");
  EXPECT_EQ(role("target_ema"), "target_ema");
  EXPECT_THAT(user_error([&] { role("critic"); }),
              HasSubstr("generator, generator_ema, target_ema"));
  // A role's own file finds its network in the manifest beside it.
  const LoadedWeights one = load_weights(folder_ / "step_7" / "target_ema.safetensors");
  EXPECT_EQ(one.role, "target_ema");
  EXPECT_EQ(one.config, config);
}

TEST_F(ExportWeightsTest, OverriddenHeadsChangeWhatIsInferred) {
  write_safetensors(folder_ / "w.safetensors", random_tensors(tiny(true)));
  const LoadedWeights loaded = load_weights(folder_ / "w.safetensors");
  PartialConfig overridden;
  overridden.config.num_heads = 4;
  overridden.given = {"num_heads"};
  const ModelConfig config = model_config_with(loaded, overridden);
  EXPECT_EQ(config, tiny(true));
  check_weights(config, loaded.tensors, "w");
  // Without a word about heads nothing is guessed for a width of 48.
  EXPECT_THAT(user_error([&] { model_config_with(loaded, {}); }), HasSubstr("model.num_heads=N"));
  EXPECT_THAT(user_error([&] { export_weights(loaded, {}, folder_ / "out"); }),
              HasSubstr("dim 48"));
}

TEST_F(ExportWeightsTest, AnImpossibleConfigIsNamed) {
  const ModelConfig config = tiny(true);
  const fs::path folder = folder_ / "export";
  fs::create_directories(folder);
  write_safetensors(folder / "m.safetensors", random_tensors(config));
  ModelConfig broken = config;
  broken.sink_size = 9;
  broken.local_attn_size = 6;
  io::write_file_atomically(folder / "config.json", videomla_config_json(broken, ""));
  EXPECT_THAT(user_error([&] { load_weights(folder); }),
              testing::AllOf(HasSubstr("export: "), HasSubstr("sink_size")));
}

TEST_F(ExportWeightsTest, SaysWhatItCannotRead) {
  const auto problem = [&](const fs::path& path) {
    return user_error([&] { load_weights(path); });
  };
  EXPECT_THAT(problem(folder_ / "none"), HasSubstr("no such file or folder"));
  EXPECT_THAT(problem(folder_.path()), HasSubstr("no weights found"));
  io::write_file_atomically(folder_ / "a.pt", "x");
  EXPECT_THAT(problem(folder_ / "a.pt"), HasSubstr("a.pt: not a file of torch.save"));
  io::write_file_atomically(folder_ / "a.bin", "x");
  EXPECT_THAT(problem(folder_ / "a.bin"), HasSubstr("a.bin: not a file of torch.save"));
  write_safetensors(folder_ / "i2v.safetensors",
                    {{"blocks.0.attn1.to_q.weight", at::ones({2})}, {"img", at::ones({2})}});
  EXPECT_THAT(problem(folder_ / "i2v.safetensors"), HasSubstr("'img' is not one of diffusers'"));
  EXPECT_THAT(user_error([] { export_format("onnx"); }), HasSubstr("diffusers_causal, videomla"));
}

TEST_F(ExportWeightsTest, AFaultLeavesTheOldExport) {
  const ModelConfig config = tiny(false);
  write_checkpoint({{"generator", random_tensors(config)}}, config);
  const auto run = [&] {
    export_checkpoint(folder_ / "step_7", "wan", "ema", "fp32", folder_ / "out");
  };
  run();
  const std::string before = io::file_sha256(folder_ / "out" / "export_manifest.json");
  for (int k = 0; k < 8; ++k) {
    io::set_fault_hook([k, count = 0](std::string_view, const fs::path&) mutable {
      return count++ == k ? ENOSPC : 0;
    });
    EXPECT_THROW(run(), RunError);
    io::set_fault_hook(nullptr);
    EXPECT_EQ(io::file_sha256(folder_ / "out" / "export_manifest.json"), before);
  }
}

}  // namespace
}  // namespace vmla::model
