#include "model/io/graceful_stop.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::io {
namespace {

using namespace std::chrono_literals;

struct Ended {
  int status;
  double seconds;  // from the signal to the end
};

/// Runs `job` in a process of its own and sends it a signal when it has written `started`.
Ended stop_job(const TemporaryFolder& folder, int number, const std::function<void()>& job) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      job();
    } catch (const StopRequested& stop) {
      write_bytes(folder / "said", stop.what());
      _exit(75);
    }
    _exit(0);
  }
  while (!std::filesystem::exists(folder / "started")) std::this_thread::sleep_for(5ms);
  const auto begin = std::chrono::steady_clock::now();
  kill(child, number);
  int status = 0;
  waitpid(child, &status, 0);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), taken.count()};
}

TEST(GracefulStop, AJobThatLooksStopsAtOnceAndSaysWhatItSaved) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1}) {
    const TemporaryFolder folder;
    const Ended ended = stop_job(folder, number, [&] {
      GracefulStop stop([&] {
        write_bytes(folder / "saved", "x");
        return std::string("3 of 7 are stored");
      });
      write_bytes(folder / "started", "");
      for (;;) {
        stop.check();
        std::this_thread::sleep_for(5ms);
      }
    });
    EXPECT_EQ(ended.status, 75) << number;
    EXPECT_LT(ended.seconds, 0.9);
    EXPECT_NE(file_bytes(folder / "said").find("3 of 7 are stored"), std::string::npos);
    EXPECT_EQ(file_bytes(folder / "saved"), "x");
  }
}

TEST(GracefulStop, AJobThatDoesNotLookIsSavedAndEndedWithinTwoSeconds) {
  const TemporaryFolder folder;
  const Ended ended = stop_job(folder, SIGTERM, [&] {
    const GracefulStop stop([&] {
      write_bytes(folder / "saved", "x");
      return std::string("all");
    });
    write_bytes(folder / "started", "");
    std::this_thread::sleep_for(60s);
  });
  EXPECT_EQ(ended.status, 75);
  EXPECT_LT(ended.seconds, 2);
  EXPECT_EQ(file_bytes(folder / "saved"), "x");
}

TEST(GracefulStop, AJobThatUnwindsTooSlowlyIsEndedToo) {
  const TemporaryFolder folder;
  const Ended ended = stop_job(folder, SIGTERM, [&] {
    GracefulStop stop([] { return std::string("all"); });
    struct Slow {
      ~Slow() { std::this_thread::sleep_for(60s); }
    } const slow;
    write_bytes(folder / "started", "");
    for (;;) stop.check();
  });
  EXPECT_EQ(ended.status, 75);
  EXPECT_LT(ended.seconds, 2);
}

// A rank among many ends in the way that all of them agree on. When it is done with that, perhaps
// because another rank failed, it needs a moment to get out.
TEST(GracefulStop, TheSecondBeginsWhenAnotherThreadMayEndTheJob) {
  const TemporaryFolder folder;
  const Ended ended = stop_job(folder, SIGTERM, [&] {
    const GracefulStop whole([] { return std::string("nothing is lost"); });
    {
      const GracefulStop of_many_ranks(nullptr);
      write_bytes(folder / "started", "");
      while (!GracefulStop::is_asked()) std::this_thread::sleep_for(5ms);
      std::this_thread::sleep_for(1200ms);
    }
    std::this_thread::sleep_for(200ms);
  });
  EXPECT_EQ(ended.status, 0);
}

TEST(GracefulStop, AfterwardsSignalsAreWhatTheyWere) {
  const TemporaryFolder folder;
  const Ended ended = stop_job(folder, SIGTERM, [&] {
    {
      const GracefulStop stop([] { return std::string(); });
    }
    write_bytes(folder / "started", "");
    std::this_thread::sleep_for(60s);
  });
  EXPECT_EQ(ended.status, -SIGTERM);
}

}  // namespace
}  // namespace vmla::io
