// Names that others know beforehand, and text that others wrote.
#include "model/io/regular_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <map>
#include <string>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_lock.h"
#include "model/io/file_writer.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"
#include "tests/support/temporary_folder.h"

namespace vmla::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(Printable, KeepsTextAndEscapesWhatATerminalObeys) {
  for (const std::string text : {"", "a b", "r\u00e4nk \u4e2d\u6587 \U0001f600", "C:\\x"}) {
    EXPECT_EQ(printable(text), text);
  }
  const std::map<std::string, std::string> cases = {
      {"a\033[2Jb", "a\\x1b[2Jb"},
      {"a\nvmla: done\r", "a\\x0avmla: done\\x0d"},
      {std::string("a\0b\x7f", 4), "a\\x00b\\x7f"},
      {"\u009b2J", "\\xc2\\x9b2J"},                  // one character that is ESC [
      {"\x9b", "\\x9b"},                             // the same byte, no UTF-8
      {"a\u202eb", "a\\xe2\\x80\\xaeb"},             // turns the direction of what follows
      {"\u2028", "\\xe2\\x80\\xa8"},                 // a line break
      {"\xc0\xaf", "\\xc0\\xaf"},                    // longer than it need be
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // half of a pair
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond the last character
      {"\xe4\xb8", "\\xe4\\xb8"}};                   // cut off
  for (const auto& [text, shown] : cases) EXPECT_EQ(printable(text), shown);
  EXPECT_EQ(quoted_name("a\033b"), "'a\\x1bb'");
}

/// What may stand at a name: each leads to, or is, something that must stay as it is.
class RegularFile : public ::testing::Test {
 protected:
  RegularFile() { write_bytes(folder_ / "foreign", "precious"); }
  ~RegularFile() override {
    log::close_file();
    EXPECT_EQ(file_bytes(folder_ / "foreign"), "precious");
  }
  std::map<std::string, std::function<void(const fs::path&)>> traps() const {
    const fs::path foreign = folder_ / "foreign", missing = folder_ / "missing";
    return {{"symbolic link", [=](const fs::path& at) { fs::create_symlink(foreign, at); }},
            {"symbolic link ", [=](const fs::path& at) { fs::create_symlink(missing, at); }},
            {"hard link", [=](const fs::path& at) { fs::create_hard_link(foreign, at); }},
            {"no regular file", [](const fs::path& at) { mkfifo(at.c_str(), 0666); }}};
  }
  TemporaryFolder folder_;
};

TEST_F(RegularFile, NothingElseIsOpened) {
  for (const auto& [what, set] : traps()) {
    const fs::path at = folder_ / "at";
    set(at);
    for (const int flags : {O_RDONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_TRUNC}) {
      EXPECT_LT(open_regular_file(at, flags), 0) << what;
      EXPECT_THAT(open_problem(errno) + " ", HasSubstr(what));
    }
    EXPECT_EQ(head_of_file(at, 10), "") << what;
    fs::remove(at);
  }
  EXPECT_FALSE(fs::exists(folder_ / "missing"));
  const int fd = open_regular_file(folder_ / "new", O_WRONLY | O_CREAT);
  EXPECT_GE(fd, 0);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  close(fd);
  EXPECT_EQ(head_of_file(folder_ / "foreign", 4), "prec");
}

TEST_F(RegularFile, ALockAndALogTakeNothingElse) {
  for (const auto& [what, set] : traps()) {
    const fs::path at = folder_ / "at";
    set(at);
    EXPECT_THAT(error_of<UserError>([&] { FileLock::try_now(at); }) + " ", HasSubstr(what));
    EXPECT_EQ(FileLock::holder(at), "another process");
    EXPECT_THAT(error_of<RunError>([&] { log::set_file(at); }) + " ", HasSubstr(what));
    fs::remove(at);
  }
  EXPECT_FALSE(fs::exists(folder_ / "missing"));
  // Nor does a lock write over a file that is something else.
  EXPECT_THAT(error_of<UserError>([&] { FileLock::try_now(folder_ / "foreign"); }),
              HasSubstr("is no lock file"));
}

TEST_F(RegularFile, ALockLeavesAloneWhatWasPutInItsPlace) {
  const fs::path at = folder_ / "at";
  auto lock = FileLock::try_now(at);
  fs::remove(at);
  write_bytes(at, "theirs");
  lock.reset();
  EXPECT_EQ(file_bytes(at), "theirs");
}

TEST_F(RegularFile, AWriterReplacesWhatStandsThere) {
  for (const auto& [what, set] : traps()) {
    const fs::path at = folder_ / "at";
    set(at);
    FileWriter file(at);
    file.write("new", 3);
    file.close();
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(at))) << what;
    EXPECT_EQ(file_bytes(at), "new");
    fs::remove(at);
  }
  EXPECT_FALSE(fs::exists(folder_ / "missing"));
}

// Whoever knew the name could put a link there.
TEST_F(RegularFile, TemporaryNamesAreNotKnownBeforehand) {
  std::string first, second;
  const auto write = [](std::string& name) {
    return [&name](const fs::path& temporary) {
      name = temporary.filename();
      write_bytes(temporary, "x");
    };
  };
  publish_file(folder_ / "a", write(first));
  publish_file(folder_ / "a", write(second));
  const auto random_part = [](const std::string& name) {
    const size_t dash = name.rfind('-');
    return name.substr(dash, name.rfind('+') - dash);
  };
  EXPECT_GT(random_part(first).size(), 12u) << first;
  EXPECT_NE(random_part(first), random_part(second));
}

}  // namespace
}  // namespace vmla::io
