#include "model/io/checkpoint_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "model/io/error.h"

namespace vmla::io {
namespace {

CheckpointManifest example() {
  CheckpointManifest manifest;
  manifest.step = 12;
  manifest.stage = "stage \"x\"\n";
  manifest.counters = {{"samples", -3}};
  manifest.data_position = {{"epoch", int64_t{4}}, {"seed", "18446744073709551615"}};
  manifest.config_yaml = "a: 1\n";
  manifest.model_json = R"({"dim":64})";
  manifest.files["g.safetensors"] = {400, std::string(64, 'a')};
  manifest.roles["g"].tensors["w"] = {StoredType::bf16, {3, 5}, {{"g.safetensors", 80, 0, 15}}};
  manifest.roles["g"].tensors["e"] = {StoredType::f32, {0}, {{"g.safetensors", 80, 0, 0}}};
  manifest.roles["r"].model_json = R"({"dim":32})";
  return manifest;
}

TEST(CheckpointManifest, RoundTrip) {
  const CheckpointManifest in = example();
  const CheckpointManifest out = parse_manifest(manifest_text(in), "m");
  EXPECT_EQ(manifest_text(out), manifest_text(in));  // every field is in the text
  EXPECT_EQ(out.step, 12);
  EXPECT_EQ(out.stage, in.stage);
  EXPECT_EQ(out.data_position, in.data_position);
  EXPECT_EQ(out.roles.at("r").model_json, R"({"dim":32})");
  EXPECT_EQ(out.roles.at("g").tensors.at("w").pieces.at(0).offset, 80u);
}

// One changed, missing or added byte anywhere is noticed and reported in one line, never a crash.
TEST(CheckpointManifest, EveryMutationIsRefused) {
  const std::string text = manifest_text(example());
  std::mt19937 random(5);
  for (int round = 0; round < 20'000; ++round) {
    std::string mutant = text;
    const size_t at = random() % mutant.size();
    switch (random() % 4) {
      case 0:
        mutant[at] = static_cast<char>(mutant[at] ^ static_cast<char>(1 + random() % 255));
        break;
      case 1:
        mutant.erase(at, 1 + random() % 5);
        break;
      case 2:
        mutant.insert(at, 1, static_cast<char>(random()));
        break;
      default:
        mutant.resize(at);
        break;
    }
    try {
      parse_manifest(mutant, "manifest.json");
      ADD_FAILURE() << "accepted: " << mutant;
    } catch (const UserError& problem) {
      EXPECT_THAT(problem.what(), testing::StartsWith("manifest.json: "));
      EXPECT_EQ(std::string(problem.what()).find('\n'), std::string::npos);
    }
  }
}

// A manifest whose own hash is right but whose content is not (written by a faulty program).
TEST(CheckpointManifest, WrongContentIsRefused) {
  const auto problem = [](auto&& change) -> std::string {
    CheckpointManifest manifest = example();
    change(manifest);
    try {
      parse_manifest(manifest_text(manifest), "m");
    } catch (const UserError& error) {
      return error.what();
    }
    return {};
  };
  using M = CheckpointManifest;
  using testing::HasSubstr;
  EXPECT_EQ(problem([](M&) {}), "");
  EXPECT_THAT(problem([](M& m) { m.format_version = 2; }), HasSubstr("format_version 2"));
  EXPECT_THAT(problem([](M& m) { m.files["/etc/passwd"] = {}; }), HasSubstr("outside the folder"));
  EXPECT_THAT(problem([](M& m) { m.roles["g"].tensors["w"].pieces[0].count = 14; }),
              HasSubstr("tensor 'w' of 'g' holds 14 of its 15 elements"));
  EXPECT_THAT(problem([](M& m) { m.roles["g"].tensors["w"].pieces[0].offset = 371; }),
              HasSubstr("beyond the end of g.safetensors"));
  EXPECT_THAT(problem([](M& m) { m.roles["g"].tensors["w"].shape = {INT64_MAX, 4, 4}; }),
              HasSubstr("impossible shape"));
}

}  // namespace
}  // namespace vmla::io
