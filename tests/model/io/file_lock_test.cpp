#include "model/io/file_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::io {
namespace {

namespace fs = std::filesystem;
using testing::StartsWith;

class FileLockTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(FileLockTest, OneHolderAtATimeWhoIsNamed) {
  const fs::path path = folder_ / "deep/a.lock";
  {
    const auto lock = FileLock::try_now(path);
    ASSERT_TRUE(lock);
    EXPECT_FALSE(FileLock::try_now(path));
    EXPECT_THAT(FileLock::holder(path), StartsWith("process " + std::to_string(getpid()) + " on "));
  }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(FileLock::holder(path), "another process");
  EXPECT_TRUE(FileLock::try_now(path));
  fs::create_directory(folder_ / "a.folder");
  EXPECT_THROW(FileLock::try_now(folder_ / "a.folder"), UserError);
}

TEST_F(FileLockTest, EndsWithItsProcessHoweverItEnds) {
  const fs::path path = folder_ / "a.lock";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = FileLock::wait(path);
    std::ofstream(folder_ / "locked") << "x";
    for (;;) pause();
  }
  while (!fs::exists(folder_ / "locked")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(FileLock::try_now(path));
  EXPECT_THAT(FileLock::holder(path), StartsWith("process " + std::to_string(child)));
  kill(child, SIGKILL);
  EXPECT_TRUE(FileLock::wait(path));
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace vmla::io
