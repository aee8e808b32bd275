#include "model/io/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

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

/// What a (pseudo-)terminal of 80 columns gets to see of `work`, which runs in a child process and
/// may change the terminal's size.
std::string on_terminal(const std::function<void()>& work) {
  winsize size = {};
  size.ws_col = 80;
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    setenv("TERM", "xterm", 1);
    work();
    _exit(0);
  }
  std::string screen;
  char buffer[512];
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;) {
    screen.append(buffer, static_cast<size_t>(n));
  }
  close(terminal);
  waitpid(child, nullptr, 0);
  return screen;
}

// A terminal that became narrower shows what stands there in several rows: all of them go.
TEST_F(LogTest, TheBarSurvivesATerminalThatNarrows) {
  const std::string screen = on_terminal([] {
    log::ProgressBar bar("encode", 4);
    bar.update(1, std::string(200, 'x'));
    winsize narrow = {};
    narrow.ws_col = 30;
    ioctl(STDERR_FILENO, TIOCSWINSZ, &narrow);
    log::info("a line");
    bar.update(4, "\u00e4\u00f6\u00fc");
  });
  EXPECT_THAT(screen, HasSubstr("x\033[K\033[2A\r\033[Ja line\r\n"));  // 79 columns: three rows
  EXPECT_THAT(screen, HasSubstr("\rencode [" + std::string(21, '#') + "\033[K"));  // 29 columns
}

TEST_F(LogTest, ColoursAreForTerminalsAndForThoseWhoWantThem) {
  const auto say = [] {
    unsetenv("NO_COLOR");
    log::warn("careful");
    log::error("vmla: error: broken");
    setenv("NO_COLOR", "1", 1);
    log::warn("careful");
    setenv("NO_COLOR", "", 1);  // https://no-color.org: empty is not set
    setenv("TERM", "dumb", 1);
    log::error("vmla: error: broken");
  };
  EXPECT_EQ(on_terminal(say),
            "\033[33mcareful\033[0m\r\n\033[1;31mvmla: error:\033[0m broken\r\n"
            "careful\r\nvmla: error: broken\r\n");
}

TEST_F(LogTest, LinesAreShownWithoutTheirControlCharacters) {
  testing::internal::CaptureStdout();
  log::set_file(folder_ / "log.txt");
  log::info("a\033[2J\nvmla: done");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "a\\x1b[2J\\x0avmla: done\n");
  EXPECT_THAT(io::read_text_file(folder_ / "log.txt"),
              testing::EndsWith("a\\x1b[2J\\x0avmla: done\n"));
}

}  // namespace
}  // namespace vmla
