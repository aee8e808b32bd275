#include "trainer/checkpoint/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "model/io/error.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/checkpoint/saved_run.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Checkpoint = SavedRun;

TEST_F(Checkpoint, RoundTripIsBitExact) {
  const CheckpointData data = example_checkpoint(5);
  EXPECT_EQ(save_whole(checkpoints_, data), checkpoints_ / "step_5");
  EXPECT_EQ(fs::read_symlink(checkpoints_ / "latest"), "step_5");
  for (const fs::path& path :
       {checkpoints_ / "step_5", checkpoints_ / "latest", checkpoints_, run_}) {
    expect_equal(data, load_checkpoint(path));
  }
  const auto role = model::read_checkpoint_role(model::open_checkpoint(run_), "generator_ema");
  EXPECT_TRUE(tests::same_bits(role.at("head.head.weight"),
                               data.roles.at("generator_ema").at("head.head.weight")));
  EXPECT_THAT(
      message_of<UserError>(
          [&] { model::read_checkpoint_role(model::open_checkpoint(run_), "critic"); }),
      HasSubstr(
          "no role 'critic'; it has generator, generator.optimizer, generator_ema, real_score"));
  // One process: ordinary safetensors, with the tensors' own names and shapes.
  const auto plain = model::read_safetensors(checkpoints_ / "step_5" / "generator.safetensors");
  EXPECT_EQ(plain.tensors.at("head.head.weight").sizes().vec(), (std::vector<int64_t>{3, 4}));
}

TEST_F(Checkpoint, ThePathMayBeOneThatMovesOn) {
  save_whole(checkpoints_, example_checkpoint(1));
  const CheckpointData first = load_checkpoint(run_);
  save_whole(checkpoints_, example_checkpoint(2));
  EXPECT_EQ(load_checkpoint(run_).step, 2);
  EXPECT_TRUE(tests::same_bits(first.roles.at("generator").at("scalar"),
                               example_checkpoint(1).roles.at("generator").at("scalar")));
  // Saving a step again replaces it as a whole.
  CheckpointData again = example_checkpoint(2);
  again.stage = "again";
  save_whole(checkpoints_, again);
  EXPECT_EQ(load_checkpoint(run_).stage, "again");
}

TEST_F(Checkpoint, EveryAlteredByteIsRefused) {
  save_whole(checkpoints_, example_checkpoint(5));
  for (const auto& entry : fs::directory_iterator(checkpoints_ / "step_5")) {
    const std::string bytes = io::read_text_file(entry.path());
    const std::string name = entry.path().filename().string();
    // Every byte of the tensor files, every 7th of the (longer) manifest.
    for (size_t at = 0; at < bytes.size(); at += name == "manifest.json" ? 7 : 1) {
      std::string altered = bytes;
      altered[at] = static_cast<char>(altered[at] ^ 0x11);
      write_bytes(entry.path(), altered);
      ASSERT_THAT(load_problem(run_), HasSubstr(name)) << "byte " << at;
    }
    for (const std::string& altered :
         {bytes.substr(0, bytes.size() - 1), bytes + "x", std::string()}) {
      write_bytes(entry.path(), altered);
      ASSERT_THAT(load_problem(run_), HasSubstr(name));
    }
    fs::remove(entry.path());
    EXPECT_NE(load_problem(run_), "") << name;
    write_bytes(entry.path(), bytes);
  }
  EXPECT_EQ(load_problem(run_), "");
}

TEST_F(Checkpoint, SaysWhatIsNoCheckpoint) {
  EXPECT_THAT(load_problem(run_ / "none"), HasSubstr("does not exist"));
  EXPECT_THAT(load_problem(run_), HasSubstr("no checkpoint"));
  fs::create_directories(checkpoints_);
  fs::create_symlink("step_9", checkpoints_ / "latest");
  EXPECT_THAT(load_problem(run_), HasSubstr("points to step_9"));
  EXPECT_THAT(load_problem(checkpoints_ / "latest"), HasSubstr("points to step_9"));
  fs::create_directories(checkpoints_ / "step_9");
  write_bytes(checkpoints_ / "step_9" / "manifest.json",
              R"({"format":"vmla checkpoint","format_version":2})");
  EXPECT_THAT(load_problem(run_), HasSubstr("format_version 2; this program reads version 1"));
}

/// A checkpoint of two ranks: 1-D pieces in two files.
io::CheckpointManifest two_piece_manifest(const fs::path& folder) {
  io::CheckpointManifest manifest;
  manifest.step = 3;
  manifest.stage = "pretrain";
  manifest.model_json = R"({"dim": 64, "num_heads": 1})";
  const at::Tensor whole = at::arange(10, at::kFloat);
  auto& tensor = manifest.roles["generator"].tensors["w"];
  tensor.type = io::StoredType::f32;
  tensor.shape = {5, 2};
  uint64_t first = 0;
  for (const auto& [file, count] : {std::pair<std::string, int64_t>{"rank0.safetensors", 7},
                                    std::pair<std::string, int64_t>{"rank1.safetensors", 3}}) {
    const auto piece = whole.narrow(0, static_cast<int64_t>(first), count);
    const auto written = model::write_safetensors(folder / file, {{"w", piece}});
    manifest.files[file] = {written.bytes, written.sha256};
    tensor.pieces.push_back({file, written.tensors[0].offset, first, static_cast<uint64_t>(count)});
    first += static_cast<uint64_t>(count);
  }
  return manifest;
}

TEST_F(Checkpoint, PiecesOfSeveralFilesBecomeOneTensor) {
  io::CheckpointManifest manifest = two_piece_manifest(run_);
  std::swap(manifest.roles["generator"].tensors["w"].pieces[0],
            manifest.roles["generator"].tensors["w"].pieces[1]);  // their order does not matter
  write_bytes(run_ / "manifest.json", io::manifest_text(manifest));
  EXPECT_TRUE(at::equal(load_checkpoint(run_).roles.at("generator").at("w"),
                        at::arange(10, at::kFloat).reshape({5, 2})));
}

TEST_F(Checkpoint, PiecesMustCoverTheTensorOnce) {
  const io::CheckpointManifest good = two_piece_manifest(run_);
  const auto problem = [&](auto&& change) {
    io::CheckpointManifest bad = good;
    change(bad, bad.roles["generator"].tensors["w"]);
    write_bytes(run_ / "manifest.json", io::manifest_text(bad));
    return load_problem(run_);
  };
  using M = io::CheckpointManifest;
  using T = io::ManifestTensor;
  EXPECT_EQ(problem([](M&, T&) {}), "");
  EXPECT_THAT(problem([](M&, T& w) { w.pieces.pop_back(); }),
              HasSubstr("holds 7 of its 10 elements"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces.erase(w.pieces.begin()); }),
              HasSubstr("lacks elements 0 to 6"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[0].count = 6; }), HasSubstr("lacks elements 6 to 6"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[0].count = 8; }),
              HasSubstr("reaches beyond the end"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].first = 6; }),
              HasSubstr("has twice the elements 6 to 6"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].offset = INT64_MAX; }),
              HasSubstr("reaches beyond"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].count = INT64_MAX; }),
              HasSubstr("reaches beyond"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].offset = UINT64_MAX; }),
              HasSubstr("offset is 18446744073709551615; a whole number from 0 to 92233"));
  EXPECT_THAT(problem([](M&, T& w) { w.shape = {5, 3}; }),
              HasSubstr("holds 10 of its 15 elements"));
  EXPECT_THAT(problem([](M&, T& w) { w.shape = {-5, -2}; }),
              HasSubstr("a size of its shape is -5"));
  EXPECT_THAT(problem([](M&, T& w) { w.shape = {INT64_MAX, 2}; }), HasSubstr("impossible shape"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].file = "rank2"; }), HasSubstr("not listed"));
  EXPECT_THAT(problem([](M& m, T&) { m.files["../x"] = {1, ""}; }),
              HasSubstr("outside the folder"));
  EXPECT_THAT(problem([](M& m, T&) { m.files["gone"] = {1, ""}; }), HasSubstr("gone"));
}

// Written once, by the program that introduced the format, and kept as it is: whatever comes later
// must read it.
TEST(CheckpointFixture, FormatVersionOneStaysReadable) {
  const CheckpointData data = load_checkpoint(VMLA_CHECKPOINT_V1);
  EXPECT_EQ(data.step, 3);
  EXPECT_EQ(data.stage, "teacher_forcing");
  EXPECT_EQ(data.counters.at("samples_seen"), 48);
  EXPECT_EQ(data.data_position.at("epoch"), io::ManifestValue(int64_t{1}));
  EXPECT_EQ(data.data_position.at("order"), io::ManifestValue("7f3a"));
  EXPECT_EQ(data.config_yaml, "stage: teacher_forcing\n");
  EXPECT_EQ(data.init_method, "svd_weight");
  EXPECT_EQ(data.model.kv_lora_rank, (model::PerLayer{{8, 12}}));
  ASSERT_EQ(data.roles.size(), 3u);
  const at::Tensor ramp = at::arange(8, at::kFloat).reshape({1, 2, 4});
  EXPECT_TRUE(at::equal(data.roles.at("generator").at("head.modulation"), ramp / 8));
  EXPECT_TRUE(tests::same_bits(data.roles.at("generator").at("head.head.bias"),
                               at::tensor({-1.f, 0.f, 1.f}).to(at::kBFloat16)));
  // Two ranks' pieces, of 5 and 3 elements.
  EXPECT_TRUE(at::equal(data.roles.at("generator_ema").at("head.modulation"), ramp / 16));
  const auto& optimizer = data.roles.at("generator.optimizer");
  EXPECT_TRUE(at::equal(optimizer.at("exp_avg_sq/head.modulation"), at::full({1, 2, 4}, 0.25)));
  EXPECT_EQ(optimizer.at("steps").item<int64_t>(), 3);
}

}  // namespace
}  // namespace vmla::trainer
