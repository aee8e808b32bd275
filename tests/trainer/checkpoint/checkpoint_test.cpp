#include "trainer/checkpoint/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/sha256.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    std::string name = (fs::temp_directory_path() / "vmla-ckpt-XXXXXX").string();
    run_ = mkdtemp(name.data());
    checkpoints_ = run_ / "checkpoints";
  }
  ~CheckpointTest() override {
    io::set_fault_hook(nullptr);
    fs::remove_all(run_);
  }
  fs::path run_, checkpoints_;
};

/// Small, but with everything: several roles, types and shapes. Its values depend on the step.
CheckpointData example(int64_t step) {
  const double s = static_cast<double>(step);
  CheckpointData data;
  data.step = step;
  data.stage = "teacher_forcing";
  data.counters = {{"samples_seen", step * 16}, {"clipped", -1}};
  data.data_position = {{"epoch", int64_t{2}}, {"order", "3f\n\"x\""}, {"big", INT64_MAX}};
  data.config_yaml = "stage: teacher_forcing\nmodel:\n  dim: 64  # \xc3\xa9\n";
  data.model.dim = 64;
  data.model.num_heads = 4;
  data.model.attention = "mla";
  data.model.kv_lora_rank = {{8, 16}};
  data.model.num_layers = 2;
  data.model.rope_pair_indices = {{{0, 1}, {2, 3}}};
  data.init_method = "svd_weight";
  data.roles["generator"] = {
      {"blocks.0.modulation", at::full({1, 6, 4}, s)},
      {"head.head.weight", at::arange(12).reshape({3, 4}).to(at::kFloat) + s},
      {"empty", at::empty({0, 2})},
      {"scalar", at::scalar_tensor(s / 3, at::kDouble)}};
  data.roles["generator_ema"] = {{"head.head.weight", at::full({3, 4}, s / 7).to(at::kBFloat16)}};
  data.roles["generator.optimizer"] = {{"exp_avg_sq/head.head.weight", at::rand({3, 4})},
                                       {"steps", at::full({}, step, at::kLong)}};
  data.roles["real_score"] = {{"o.weight", at::eye(3).t()}};
  data.role_models["real_score"].dim = 32;
  return data;
}

bool bit_equal(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.nbytes() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

void expect_equal(const CheckpointData& a, const CheckpointData& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.stage, b.stage);
  EXPECT_EQ(a.counters, b.counters);
  EXPECT_EQ(a.data_position, b.data_position);
  EXPECT_EQ(a.config_yaml, b.config_yaml);
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.init_method, b.init_method);
  EXPECT_EQ(a.role_models, b.role_models);
  ASSERT_EQ(a.roles.size(), b.roles.size());
  for (const auto& [role, tensors] : a.roles) {
    ASSERT_EQ(tensors.size(), b.roles.at(role).size()) << role;
    for (const auto& [name, tensor] : tensors) {
      EXPECT_TRUE(bit_equal(tensor, b.roles.at(role).at(name))) << role << " " << name;
    }
  }
}

template <class Error, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& problem) {
    EXPECT_EQ(std::string(problem.what()).find('\n'), std::string::npos) << problem.what();
    return problem.what();
  }
  return {};
}

std::string load_problem(const fs::path& path) {
  return message_of<UserError>([&] { load_checkpoint(path); });
}

void overwrite(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST_F(CheckpointTest, RoundTripIsBitExact) {
  const CheckpointData data = example(5);
  EXPECT_EQ(save_checkpoint(checkpoints_, data), checkpoints_ / "step_5");
  EXPECT_EQ(fs::read_symlink(checkpoints_ / "latest"), "step_5");
  for (const fs::path& path :
       {checkpoints_ / "step_5", checkpoints_ / "latest", checkpoints_, run_}) {
    expect_equal(data, load_checkpoint(path));
  }
  const auto role = load_checkpoint_role(run_, "generator_ema");
  EXPECT_TRUE(bit_equal(role.at("head.head.weight"),
                        data.roles.at("generator_ema").at("head.head.weight")));
  EXPECT_THAT(
      message_of<UserError>([&] { load_checkpoint_role(run_, "critic"); }),
      HasSubstr(
          "no role 'critic'; it has generator, generator.optimizer, generator_ema, real_score"));
  // One process: ordinary safetensors, with the tensors' own names and shapes.
  const auto plain = model::read_safetensors(checkpoints_ / "step_5" / "generator.safetensors");
  EXPECT_EQ(plain.tensors.at("head.head.weight").sizes().vec(), (std::vector<int64_t>{3, 4}));
}

TEST_F(CheckpointTest, ThePathMayBeOneThatMovesOn) {
  save_checkpoint(checkpoints_, example(1));
  const CheckpointData first = load_checkpoint(run_);
  save_checkpoint(checkpoints_, example(2));
  EXPECT_EQ(load_checkpoint(run_).step, 2);
  EXPECT_TRUE(bit_equal(first.roles.at("generator").at("scalar"),
                        example(1).roles.at("generator").at("scalar")));
  // Saving a step again replaces it as a whole.
  CheckpointData again = example(2);
  again.stage = "again";
  save_checkpoint(checkpoints_, again);
  EXPECT_EQ(load_checkpoint(run_).stage, "again");
}

TEST_F(CheckpointTest, EveryAlteredByteIsRefused) {
  save_checkpoint(checkpoints_, example(5));
  for (const auto& entry : fs::directory_iterator(checkpoints_ / "step_5")) {
    const std::string bytes = io::read_text_file(entry.path());
    const std::string name = entry.path().filename().string();
    // Every byte of the tensor files, every 7th of the (longer) manifest.
    for (size_t at = 0; at < bytes.size(); at += name == "manifest.json" ? 7 : 1) {
      std::string altered = bytes;
      altered[at] = static_cast<char>(altered[at] ^ 0x11);
      overwrite(entry.path(), altered);
      ASSERT_THAT(load_problem(run_), HasSubstr(name)) << "byte " << at;
    }
    for (const std::string& altered :
         {bytes.substr(0, bytes.size() - 1), bytes + "x", std::string()}) {
      overwrite(entry.path(), altered);
      ASSERT_THAT(load_problem(run_), HasSubstr(name));
    }
    fs::remove(entry.path());
    EXPECT_NE(load_problem(run_), "") << name;
    overwrite(entry.path(), bytes);
  }
  EXPECT_EQ(load_problem(run_), "");
}

TEST_F(CheckpointTest, SaysWhatIsNoCheckpoint) {
  EXPECT_THAT(load_problem(run_ / "none"), HasSubstr("does not exist"));
  EXPECT_THAT(load_problem(run_), HasSubstr("no checkpoint"));
  fs::create_directories(checkpoints_);
  fs::create_symlink("step_9", checkpoints_ / "latest");
  EXPECT_THAT(load_problem(run_), HasSubstr("points to step_9"));
  EXPECT_THAT(load_problem(checkpoints_ / "latest"), HasSubstr("points to step_9"));
  fs::create_directories(checkpoints_ / "step_9");
  overwrite(checkpoints_ / "step_9" / "manifest.json",
            R"({"format":"vmla checkpoint","format_version":2})");
  EXPECT_THAT(load_problem(run_), HasSubstr("format_version 2; this program reads version 1"));
}

/// A checkpoint of two ranks, as a sharded run will write it: 1-D pieces in two files.
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

TEST_F(CheckpointTest, PiecesOfSeveralFilesBecomeOneTensor) {
  io::CheckpointManifest manifest = two_piece_manifest(run_);
  std::swap(manifest.roles["generator"].tensors["w"].pieces[0],
            manifest.roles["generator"].tensors["w"].pieces[1]);  // their order does not matter
  overwrite(run_ / "manifest.json", io::manifest_text(manifest));
  EXPECT_TRUE(at::equal(load_checkpoint(run_).roles.at("generator").at("w"),
                        at::arange(10, at::kFloat).reshape({5, 2})));
}

TEST_F(CheckpointTest, PiecesMustCoverTheTensorOnce) {
  const io::CheckpointManifest good = two_piece_manifest(run_);
  const auto problem = [&](auto&& change) {
    io::CheckpointManifest bad = good;
    change(bad, bad.roles["generator"].tensors["w"]);
    overwrite(run_ / "manifest.json", io::manifest_text(bad));
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
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].offset = UINT64_MAX; }),
              HasSubstr("reaches beyond"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].count = UINT64_MAX; }),
              HasSubstr("reaches beyond"));
  EXPECT_THAT(problem([](M&, T& w) { w.shape = {5, 3}; }),
              HasSubstr("holds 10 of its 15 elements"));
  EXPECT_THAT(problem([](M&, T& w) { w.shape = {-5, -2}; }), HasSubstr("impossible shape"));
  EXPECT_THAT(problem([](M&, T& w) { w.pieces[1].file = "rank2"; }), HasSubstr("not listed"));
  EXPECT_THAT(problem([](M& m, T&) { m.files["../x"] = {1, ""}; }),
              HasSubstr("outside the folder"));
  EXPECT_THAT(problem([](M& m, T&) { m.files["gone"] = {1, ""}; }), HasSubstr("gone"));
}

TEST_F(CheckpointTest, EveryFaultLeavesTheLastGoodCheckpoint) {
  const CheckpointData good = example(1);
  int failures = 0;
  for (int k = 0;; ++k) {
    fs::remove_all(checkpoints_);
    save_checkpoint(checkpoints_, good);
    io::set_fault_hook([k, count = 0](std::string_view, const fs::path&) mutable {
      return count++ == k ? ENOSPC : 0;
    });
    const std::string message =
        message_of<RunError>([&] { save_checkpoint(checkpoints_, example(2)); });
    io::set_fault_hook(nullptr);
    if (message.empty()) break;
    ++failures;
    EXPECT_THAT(message, HasSubstr("No space left on device"));
    EXPECT_THAT(message, HasSubstr(checkpoints_.string()));
    // `latest` names a whole checkpoint: the old one, or the new one if only its last flush failed.
    const CheckpointData left = load_checkpoint(run_);
    EXPECT_TRUE(left.step == 1 || left.step == 2);
    if (left.step == 1) expect_equal(good, left);
    expect_equal(good, load_checkpoint(checkpoints_ / "step_1"));
    for (const fs::path& folder : list_checkpoints(checkpoints_))
      EXPECT_EQ(load_problem(folder), "");
    for (const auto& entry : fs::directory_iterator(checkpoints_)) {
      EXPECT_FALSE(entry.path().filename().string().starts_with(".tmp-")) << k;
    }
  }
  // 4 role files of a header and up to 3 tensors with data, the manifest; flushes; two renames.
  EXPECT_GT(failures, 15);
  EXPECT_EQ(load_checkpoint(run_).step, 2);
}

TEST_F(CheckpointTest, KilledAtAnyMomentItGoesOn) {
  save_checkpoint(checkpoints_, example(0));
  std::mt19937 random(11);
  int64_t furthest = 0;
  for (int round = 0; round < 20; ++round) {
    const int64_t start = load_checkpoint(run_).step;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int64_t step = start + 1;; ++step) {
          save_checkpoint(checkpoints_, example(step));
          prune_checkpoints(checkpoints_, 2, 0);
        }
      } catch (...) {
        _exit(1);
      }
    }
    usleep(5'000 + random() % 60'000);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));  // not an error of its own
    const CheckpointData left = load_checkpoint(run_);
    EXPECT_GE(left.step, start);
    EXPECT_EQ(left.counters.at("samples_seen"), left.step * 16);
    EXPECT_TRUE(newest_intact_checkpoint(checkpoints_, nullptr).has_value());
    furthest = left.step;
  }
  EXPECT_GT(furthest, 0);
  save_checkpoint(checkpoints_, example(furthest + 1));
  for (const auto& entry : fs::directory_iterator(checkpoints_)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".tmp-"));
  }
}

TEST_F(CheckpointTest, PruningKeepsWhatIsAskedAndLatest) {
  for (int64_t step = 1; step <= 12; ++step) save_checkpoint(checkpoints_, example(step));
  const auto removed = prune_checkpoints(checkpoints_, 2, 5);
  EXPECT_EQ(removed.size(), 8u);
  std::vector<std::string> names;
  for (const fs::path& folder : list_checkpoints(checkpoints_))
    names.push_back(folder.filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"step_5", "step_10", "step_11", "step_12"}));
  io::publish_symlink(checkpoints_ / "latest", "step_5");
  prune_checkpoints(checkpoints_, 0, 0);  // at least one, and never the one in use
  names.clear();
  for (const fs::path& folder : list_checkpoints(checkpoints_))
    names.push_back(folder.filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"step_5", "step_12"}));
}

TEST_F(CheckpointTest, AutomaticResumePassesOverDamage) {
  EXPECT_FALSE(newest_intact_checkpoint(checkpoints_, nullptr).has_value());
  for (int64_t step = 1; step <= 3; ++step) save_checkpoint(checkpoints_, example(step));
  const fs::path damaged = checkpoints_ / "step_3" / "generator_ema.safetensors";
  std::string bytes = io::read_text_file(damaged);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  overwrite(damaged, bytes);
  fs::remove(checkpoints_ / "step_2" / "manifest.json");
  // Asked for the latest, the damage is an error; only automatic resume goes further back.
  EXPECT_THAT(load_problem(run_), HasSubstr("generator_ema.safetensors"));
  std::vector<std::string> complaints;
  EXPECT_EQ(newest_intact_checkpoint(checkpoints_, &complaints), checkpoints_ / "step_1");
  ASSERT_EQ(complaints.size(), 2u);
  EXPECT_THAT(complaints[0], HasSubstr("generator_ema.safetensors"));
  EXPECT_THAT(complaints[1], HasSubstr("step_2/manifest.json"));
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
  EXPECT_TRUE(bit_equal(data.roles.at("generator").at("head.head.bias"),
                        at::tensor({-1.f, 0.f, 1.f}).to(at::kBFloat16)));
  // Two ranks' pieces, of 5 and 3 elements.
  EXPECT_TRUE(at::equal(data.roles.at("generator_ema").at("head.modulation"), ramp / 16));
  const auto& optimizer = data.roles.at("generator.optimizer");
  EXPECT_TRUE(at::equal(optimizer.at("exp_avg_sq/head.modulation"), at::full({1, 2, 4}, 0.25)));
  EXPECT_EQ(optimizer.at("steps").item<int64_t>(), 3);
}

}  // namespace
}  // namespace vmla::trainer
