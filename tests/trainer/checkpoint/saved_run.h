#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "model/io/atomic_file.h"
#include "tests/support/temporary_folder.h"
#include "trainer/checkpoint/save_checkpoint.h"

/// A run folder to save in, and a checkpoint that has everything in it.
namespace vmla::trainer {

/// A run folder of its own, and no fault hook left behind.
class SavedRun : public testing::Test {
 protected:
  ~SavedRun() override { io::set_fault_hook(nullptr); }

  /// Names in the checkpoints folder that begin with a dot: saves that were not finished.
  std::vector<std::string> left_over() const;

 private:
  const TemporaryFolder folder_;

 protected:
  const std::filesystem::path run_ = folder_.path();
  const std::filesystem::path checkpoints_ = run_ / "checkpoints";
};

/// Every tensor as one piece.
PieceMap whole_pieces(const model::TensorMap& tensors);

/// Saves as a rank that is alone.
std::filesystem::path save_whole(const std::filesystem::path& checkpoints,
                                 const CheckpointData& data);

/// Small, but with everything: several roles, types and shapes. Its values depend on the step.
CheckpointData example_checkpoint(int64_t step);

void expect_equal(const CheckpointData& a, const CheckpointData& b);

/// What a call that throws `Error` says, which must be one line; empty when it does not throw.
template <class Error, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& problem) {
    EXPECT_EQ(std::string(problem.what()).find('\n'), std::string::npos) << problem.what();
    return problem.what();
  }
  return {};
}

/// What load_checkpoint says of a checkpoint; empty when it is intact.
std::string load_problem(const std::filesystem::path& path);

}  // namespace vmla::trainer
