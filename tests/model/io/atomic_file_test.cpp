#include "model/io/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/sha256.h"
#include "tests/support/temporary_folder.h"

namespace vmla::io {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class AtomicFileTest : public testing::Test {
 protected:
  ~AtomicFileTest() override { set_fault_hook(nullptr); }

  /// Makes the `k`-th operation from now on fail with ENOSPC.
  void fail_operation(int k) {
    set_fault_hook([k, count = 0](std::string_view, const fs::path&) mutable {
      return count++ == k ? ENOSPC : 0;
    });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      out.push_back(entry.path().filename().string());
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  static void write(const fs::path& path, const std::string& text) {
    FileWriter file(path);
    file.write(text.data(), text.size());
    file.close();
  }

  TemporaryFolder folder_;
};

template <class F>
std::string run_error(F&& f) {
  try {
    f();
  } catch (const RunError& problem) {
    return problem.what();
  }
  return {};
}

TEST_F(AtomicFileTest, WritesAndReplaces) {
  const fs::path path = folder_ / "new folder" / "file.txt";
  write_file_atomically(path, "one");
  EXPECT_EQ(read_text_file(path), "one");
  write_file_atomically(path, std::string("two\0three", 9));
  EXPECT_EQ(read_text_file(path), std::string("two\0three", 9));
  write_file_atomically(path, "");
  EXPECT_EQ(read_text_file(path), "");
}

TEST_F(AtomicFileTest, KnownHash) {
  // FIPS 180-4, example "abc"; the file's and the writer's running hash must agree with it.
  const std::string expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(sha256_hex("abc", 3), expected);
  FileWriter file(folder_ / "abc");
  file.write("a", 1);
  file.write("bc", 2);
  file.close();
  EXPECT_EQ(file.bytes(), 3u);
  EXPECT_EQ(file.sha256(), expected);
  EXPECT_EQ(file_sha256(folder_ / "abc"), expected);
}

TEST_F(AtomicFileTest, EveryFaultOfAFileLeavesTheOldOne) {
  const fs::path path = folder_ / "file.txt";
  int failures = 0;
  for (int k = 0;; ++k) {
    write_file_atomically(path, "old");
    fail_operation(k);
    const std::string message = run_error([&] { write_file_atomically(path, "new"); });
    set_fault_hook(nullptr);
    if (message.empty()) break;
    ++failures;
    EXPECT_THAT(message, HasSubstr("No space left on device"));
    EXPECT_THAT(message, HasSubstr(folder_.path().string()));
    EXPECT_THAT(message, Not(HasSubstr(".tmp-")));
    // The last operation flushes the folder after the rename: then the new file is there, and
    // whole.
    EXPECT_EQ(read_text_file(path), k < 3 ? "old" : "new");
    EXPECT_EQ(names(), std::vector<std::string>{"file.txt"});
  }
  EXPECT_EQ(failures, 4);  // write, flush, rename, flush of the folder
}

TEST_F(AtomicFileTest, EveryFaultOfAFolderLeavesTheOldOne) {
  const fs::path target = folder_ / "step_5";
  const auto publish = [&](const std::string& text) {
    publish_folder(target, [&](const fs::path& temporary) {
      fs::create_directory(temporary / "inner");
      write(temporary / "a", text);
      write(temporary / "inner" / "b", text);
    });
  };
  int failures = 0;
  for (int k = 0;; ++k) {
    fs::remove_all(target);
    publish("old");
    fail_operation(k);
    const std::string message = run_error([&] { publish("new"); });
    set_fault_hook(nullptr);
    if (message.empty()) break;
    ++failures;
    EXPECT_THAT(message, HasSubstr("No space left on device"));
    EXPECT_THAT(message, Not(HasSubstr(".tmp-")));
    const std::string seen = read_text_file(target / "a");
    EXPECT_EQ(seen, k < 7 ? "old" : "new");
    EXPECT_EQ(read_text_file(target / "inner" / "b"), seen);
    EXPECT_EQ(names(), std::vector<std::string>{"step_5"});
  }
  EXPECT_EQ(failures, 8);  // 2 writes, 4 flushes inside, rename, flush of the parent
  EXPECT_EQ(read_text_file(target / "a"), "new");
}

TEST_F(AtomicFileTest, AThrowingFillLeavesNothing) {
  const auto fill = [](const fs::path& temporary) {
    write(temporary / "half", "x");
    throw std::logic_error("stop");
  };
  EXPECT_THROW(publish_folder(folder_ / "out/", fill), std::logic_error);
  EXPECT_TRUE(names().empty());
}

TEST_F(AtomicFileTest, SymlinkMovesByOneRename) {
  publish_symlink(folder_ / "latest", "step_1");
  publish_symlink(folder_ / "latest", "step_2");
  EXPECT_EQ(fs::read_symlink(folder_ / "latest"), "step_2");
  fail_operation(0);
  EXPECT_THAT(run_error([&] { publish_symlink(folder_ / "latest", "step_3"); }),
              HasSubstr("latest"));
  EXPECT_EQ(fs::read_symlink(folder_ / "latest"), "step_2");
  EXPECT_EQ(names(), std::vector<std::string>{"latest"});
}

TEST_F(AtomicFileTest, RemovesWhatKilledProcessesLeft) {
  const pid_t child = fork();
  if (child == 0) {
    publish_folder(folder_ / "x", [](const fs::path& temporary) {
      write(temporary / "half", "x");
      kill(getpid(), SIGKILL);
    });
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(names().size(), 1u);
  ASSERT_TRUE(names()[0].starts_with(".tmp-"));
  // A live owner's temporaries stay: this process is inside publish_file while another one
  // publishes.
  publish_file(folder_ / "outer", [&](const fs::path& temporary) {
    write(temporary, "outer");
    write_file_atomically(folder_ / "inner", "inner");
  });
  EXPECT_EQ(names(), (std::vector<std::string>{"inner", "outer"}));
}

TEST_F(AtomicFileTest, SaysWhyNothingCanBeWritten) {
  write(folder_ / "file", "x");
  EXPECT_THAT(run_error([&] { write_file_atomically(folder_ / "file" / "below", "x"); }),
              HasSubstr("Not a directory"));
  // A real full disk, where the system offers one.
  if (fs::exists("/dev/full")) {
    EXPECT_THAT(run_error([&] { write("/dev/full", "x"); }),
                HasSubstr("cannot write /dev/full: No space left on device"));
  }
}

TEST_F(AtomicFileTest, ReadNamesTheFileAndTheReason) {
  EXPECT_THROW(
      {
        try {
          read_text_file(folder_ / "missing.yaml");
        } catch (const UserError& problem) {
          EXPECT_THAT(problem.what(), HasSubstr("missing.yaml: No such file or directory"));
          throw;
        }
      },
      UserError);
  EXPECT_THROW(read_text_file(folder_.path()), UserError);
  EXPECT_THROW(file_sha256(folder_ / "missing"), UserError);
}

}  // namespace
}  // namespace vmla::io
