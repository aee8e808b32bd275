// The built programs: exit statuses, one line on stderr, nothing written, and how long the front
// program takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "model/io/format.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int status;
  std::string out, err;
};

class Program : public ::testing::Test {
 protected:
  // Runs `PROGRAM words` by the shell in the test's folder.
  Outcome run(const std::string& words, const std::string& program = VMLA_PROGRAM) const {
    const std::string command = formatted(
        "cd {} && {} {} >out.txt 2>err.txt </dev/null", folder_.path().string(), program, words);
    const int state = std::system(command.c_str());
    return {WIFEXITED(state) ? WEXITSTATUS(state) : -1,
            file_bytes(folder_ / "out.txt"),
            file_bytes(folder_ / "err.txt")};
  }
  void expect_refused(const std::string& words, const std::string& said) const {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 2) << words;
    EXPECT_THAT(outcome.err, StartsWith("vmla: error: ")) << words;
    EXPECT_THAT(outcome.err, HasSubstr(said)) << words;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "") << words;
  }

  const TemporaryFolder folder_;
  const std::string configs_ = VMLA_CONFIG_DIR;
};

TEST_F(Program, HelpAndVersionSucceed) {
  for (const char* words :
       {"--help", "train --help", "data encode --help", "--version", "train --list-keys"}) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 0) << words;
    EXPECT_NE(outcome.out, "") << words;
    EXPECT_EQ(outcome.err, "") << words;
  }
}

TEST_F(Program, MistakesEndWithTwoAndOneLine) {
  expect_refused("", "no command given");
  expect_refused("bake", "unknown command 'bake'");
  expect_refused("train", "--config is required");
  expect_refused("train --config no.yaml", "no.yaml");
  expect_refused("train --config " + configs_ + "/tiny/pretrain.yaml --set optimizer.lrr=1",
                 "did you mean optimizer.lr?");
  expect_refused(
      "train --config " + configs_ + "/tiny/teacher_forcing.yaml --set model.sink_size=5",
      "model.local_attn_size: 7");
  expect_refused(
      "pipeline --config " + configs_ + "/tiny/pipeline.yaml --set tf_svd.model.qk_rope_head_dim=5",
      "5 is odd");
  expect_refused("forward --weights w --inputs i --output o --mode cached --set model.dims=3",
                 "did you mean model.dim?");
  // Nothing was created on the way.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator{}),
            2);  // out.txt, err.txt
}

TEST_F(Program, TheCoreChecksTheSame) {
  const Outcome outcome =
      run("pipeline --config " + configs_ + "/tiny/pipeline.yaml --set nope.seed=1", VMLA_CORE);
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("no stage 'nope'"));
  EXPECT_EQ(run("train --list-keys", VMLA_CORE).out, run("train --list-keys").out);
}

TEST_F(Program, RefusesAFolderThatIsNoRun) {
  fs::create_directories(folder_ / "photos");
  write_bytes(folder_ / "photos/a.jpg", "x");
  expect_refused("pipeline --config " + configs_ + "/tiny/pipeline.yaml --run-dir photos",
                 "photos: holds a.jpg");
}

#ifdef __SANITIZE_ADDRESS__
constexpr double kHelpSeconds = 0.5;  // the sanitizer's own start
#else
constexpr double kHelpSeconds = 0.05;  // the goal
#endif

TEST_F(Program, HelpIsImmediate) {
  // The best of five leaves out what other processes take.
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_EQ(run("--help").status, 0);
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  EXPECT_LT(best, kHelpSeconds);
}

}  // namespace
}  // namespace vmla::launch
