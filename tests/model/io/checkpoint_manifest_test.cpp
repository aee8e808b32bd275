#include "model/io/checkpoint_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "model/io/error.h"
#include "model/io/sha256.h"
#include "tests/support/temporary_folder.h"

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
  using testing::AllOf;
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
  // No element, but strides that overflow.
  EXPECT_THAT(problem([](M& m) { m.roles["g"].tensors["e"].shape = {0, INT64_MAX, INT64_MAX}; }),
              AllOf(HasSubstr("m: tensor 'e' of 'g'"), HasSubstr("impossible shape")));
  EXPECT_THAT(problem([](M& m) { m.step = -1; }), HasSubstr("m: step is -1"));
}

/// The text with one part replaced and a hash that is right again.
std::string resealed(const std::string& from, const std::string& to) {
  std::string text = manifest_text(example());
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  constexpr std::string_view kKey = "\"manifest_sha256\": \"";
  const size_t digits = text.find(kKey) + kKey.size();
  text.replace(digits, 64, std::string(64, '0'));
  text.replace(digits, 64, sha256_hex(text.data(), text.size()));
  return text;
}

TEST(CheckpointManifest, NumbersAreWholeAndNestingEnds) {
  const auto problem = [](const std::string& from, const std::string& to) {
    return error_of<UserError>([&] { parse_manifest(resealed(from, to), "m"); });
  };
  using testing::HasSubstr;
  using testing::StartsWith;
  EXPECT_NO_THROW(parse_manifest(resealed("\"step\": 12", "\"step\": 13"), "m"));
  EXPECT_THAT(problem("\"step\": 12", "\"step\": 12.5"), StartsWith("m: step is 12.5"));
  EXPECT_THAT(problem("\"step\": 12", "\"step\": 1e300"), StartsWith("m: step is 1e+300"));
  EXPECT_THAT(problem("\"samples\": -3", "\"samples\": 1.5"),
              StartsWith("m: counter 'samples' is 1.5"));
  EXPECT_THAT(problem("\"epoch\": 4", "\"epoch\": 1e300"),
              StartsWith("m: data_position 'epoch' is"));
  EXPECT_THAT(problem("\"bytes\": 400", "\"bytes\": 4e2"), StartsWith("m: bytes of"));
  EXPECT_THAT(problem("\"offset\": 80", "\"offset\": 18446744073709551615"),
              HasSubstr("offset is 18446744073709551615"));
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += '[';
  EXPECT_THAT(problem("\"dim\": 64", "\"dim\": " + deep), StartsWith("m: JSON nested more"));
  std::string list = "0";
  for (int i = 0; i < 100; ++i) list = "[" + list + "]";
  EXPECT_THAT(problem("\"dim\": 64", "\"dim\": " + list), StartsWith("m: JSON nested more"));
}

}  // namespace
}  // namespace vmla::io
