#include "model/formats/engine_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/formats/export_format.h"

namespace vmla::model {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

/// A dense student of chunks of 3 frames in a window of 7.
ExportSource student() {
  ExportSource source;
  source.config.local_attn_size = 7;
  source.config.sink_size = 1;
  source.config.num_frame_per_block = 3;
  source.sampling.denoising_step_list = {1000, 750, 500, 250};
  source.sampling_is_known = true;
  return source;
}

EngineNote note_of(std::string_view engine, std::string_view format, const ExportSource& source) {
  for (const EngineNote& note : engine_notes(format, source.config, source.sampling)) {
    if (note.engine.starts_with(engine)) return note;
  }
  ADD_FAILURE() << engine << " does not open " << format;
  return {};
}

nlohmann::json text_of(std::string_view format, std::string_view path, const ExportSource& source) {
  for (const TextFile& file : export_format(format).texts(source)) {
    if (file.path == path) return nlohmann::json::parse(file.text);
  }
  ADD_FAILURE() << format << " has no " << path;
  return {};
}

TEST(EngineRules, EngineThatReNoisesDoesNotServeManyStepModels) {
  ExportSource source = student();
  EXPECT_EQ(note_of("LightX2V", "lightx2v", source).exact_frames, 7);
  source.sampling.sampler = "unipc";
  EXPECT_EQ(note_of("LightX2V", "lightx2v", source).exact_frames, 0);
  EXPECT_THAT(note_of("LightX2V", "lightx2v", source).why, HasSubstr("few-step"));
  const auto ar = text_of("lightx2v", "lightx2v.json", source)["ar_config"];
  EXPECT_FALSE(ar.contains("denoising_step_list") || ar.contains("timesteps_index"));
}

TEST(EngineRules, AbsolutePositionsGoOnInEnginesThatKeepThem) {
  ExportSource source = student();
  source.config.rope_cache_policy = "absolute";
  for (const auto& [engine, format] : {std::pair{"Self-Forcing", "pt"},
                                       {"LightX2V", "lightx2v"},
                                       {"FastVideo", "diffusers_causal"}}) {
    EXPECT_EQ(note_of(engine, format, source).exact_frames, kMaxPositions) << engine;
  }
  EXPECT_EQ(note_of("FlashDreams", "pt", source).exact_frames, 7);  // its keys move up
  EXPECT_EQ(note_of("modeling_videomla", "videomla", source).exact_frames, kMaxPositions);
  const auto config = text_of("diffusers_causal", "transformer/config.json", source);
  EXPECT_EQ(config["rope_cache_policy"], "absolute");
  source.config.rope_cache_policy = "relativistic";
  EXPECT_EQ(note_of("Self-Forcing", "pt", source).exact_frames, 7);
  const auto own = text_of("diffusers_causal", "transformer/config.json", source);
  EXPECT_EQ(own["rope_cache_policy"], "relativistic");
}

TEST(EngineRules, StepsOfTheFirstChunkAreNobodysButOurs) {
  ExportSource source = student();
  source.sampling.first_chunk_denoising_step_list = {1000, 500};
  for (const std::string_view engine : {"Self-Forcing", "LightX2V", "Scope", "FlashDreams"}) {
    EXPECT_EQ(note_of(engine, "pt", source).exact_frames, 0) << engine;
    EXPECT_THAT(note_of(engine, "pt", source).why, HasSubstr("first chunk"));
  }
  EXPECT_EQ(note_of("modeling_videomla", "videomla", source).exact_frames, std::nullopt);
  const auto sampling = text_of("videomla", "sampling.json", source);
  EXPECT_EQ(sampling["first_chunk_denoising_step_list"], (std::vector<double>{1000, 500}));
}

TEST(EngineRules, LightX2VGetsTheTimesThatTheNetworkSees) {
  ExportSource source = student();
  const auto ar = text_of("lightx2v", "lightx2v.json", source)["ar_config"];
  // 1000 s u / (1 + (s - 1) u) with s = 5.
  EXPECT_THAT(ar["denoising_step_list"].get<std::vector<double>>(),
              ElementsAre(DoubleNear(1000, 1e-9),
                          DoubleNear(937.5, 1e-9),
                          DoubleNear(2500.0 / 3, 1e-9),
                          DoubleNear(625, 1e-9)));
  // The table's steps are five times as fine near noise, and its times are rounded down.
  const auto index = ar["timesteps_index"].get<std::vector<int64_t>>();
  ASSERT_EQ(index.size(), 4u);
  for (size_t k = 0; k < 4; ++k) {
    const double u = 0.999 * (1 - static_cast<double>(index[k]) / 1000);
    const double time = 5000 * u / (1 + 4 * u);
    EXPECT_NEAR(time, ar["denoising_step_list"][k].get<double>(), 2.0);
  }
}

TEST(EngineRules, LightX2VGetsAnyStepListAndShift) {
  ExportSource source = student();
  source.sampling.denoising_step_list = {1000, 400};
  source.sampling.timestep_shift = 3;
  const auto json = text_of("lightx2v", "lightx2v.json", source);
  EXPECT_EQ(json["infer_steps"], 2);
  EXPECT_THAT(json["ar_config"]["denoising_step_list"].get<std::vector<double>>(),
              ElementsAre(DoubleNear(1000, 1e-9), DoubleNear(1200.0 / 1.8, 1e-9)));
}

}  // namespace
}  // namespace vmla::model
