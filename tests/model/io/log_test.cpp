#include "model/io/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LogTest : public testing::Test {
 protected:
  ~LogTest() override {
    log::close_file();
    log::set_muted(false);
  }
  TemporaryFolder folder_;
};

TEST_F(LogTest, LinesGoWhereTheyBelong) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  log::info("step 1 {loss} 0.5");  // braces are text, not a format
  log::warn("careful");
  log::error("broken");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "step 1 {loss} 0.5\n");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "careful\nbroken\n");
}

TEST_F(LogTest, TheFileKeepsEverythingAndAppends) {
  testing::internal::CaptureStdout();
  log::set_file(folder_ / "log.txt");
  log::info("one");
  log::close_file();
  log::info("not in the file");
  log::set_file(folder_ / "log.txt");
  log::info("two");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "one\nnot in the file\ntwo\n");
  const std::string text = io::read_text_file(folder_ / "log.txt");
  EXPECT_THAT(text, testing::MatchesRegex("(20[0-9-]+ [0-9:.]+ info (one|two)\n)+"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST_F(LogTest, MutedSaysErrorsOnly) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  log::set_file(folder_ / "log.txt");
  log::set_muted(true);
  log::info("step 1");
  log::warn("careful");
  log::error("broken");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "broken\n");
  EXPECT_THAT(io::read_text_file(folder_ / "log.txt"), testing::EndsWith("broken\n"));
}

TEST_F(LogTest, AFileThatCannotBeOpenedIsNamed) {
  try {
    log::set_file(folder_.path());
    FAIL() << "a folder is no log file";
  } catch (const RunError& problem) {
    EXPECT_THAT(problem.what(), HasSubstr(folder_.path().string()));
  }
}

TEST_F(LogTest, NoBarWithoutATerminal) {
  testing::internal::CaptureStderr();  // a file: not a terminal
  {
    log::ProgressBar bar("encode", 10);
    for (long i = 0; i <= 10; ++i) bar.update(i);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// On a real (pseudo-)terminal, 80 columns wide.
TEST_F(LogTest, TheBarShowsRateTimeLeftAndNoteAndYieldsToLines) {
  winsize size = {};
  size.ws_col = 80;
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  ASSERT_GE(child, 0);
  if (child == 0) {
    {
      log::ProgressBar bar("encode", 4);
      bar.update(1);  // done before this run: not part of the rate
      usleep(150'000);
      bar.update(2, "video_a.mp4");
      log::info("a line");
      bar.update(4, std::string(200, 'x'));
    }
    _exit(0);
  }
  std::string screen;
  char buffer[512];
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;) {
    screen.append(buffer, static_cast<size_t>(n));
  }
  close(terminal);
  waitpid(child, nullptr, 0);
  EXPECT_THAT(screen, HasSubstr("\rencode [######..................] 1/4\033[K"));
  EXPECT_THAT(screen, HasSubstr("\rencode [############............] 2/4  "));
  EXPECT_THAT(screen, testing::ContainsRegex("/s  0:[0-9][0-9] left  video_a.mp4"));
  EXPECT_THAT(screen, HasSubstr("video_a.mp4\033[K\r\033[Ka line\r\n"));
  EXPECT_THAT(screen, HasSubstr("] 4/4"));
  EXPECT_THAT(screen, testing::EndsWith("\r\033[K"));               // nothing of it stays
  EXPECT_EQ(screen.find(std::string(40, 'x')), std::string::npos);  // cut to one line
}

}  // namespace
}  // namespace vmla
