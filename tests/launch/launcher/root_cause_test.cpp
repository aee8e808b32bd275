// Who failed first, and what is said about it.
#include "launch/launcher/root_cause.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

WorkerEnd exited(int64_t rank, int code) {
  WorkerEnd end;
  end.rank = rank;
  end.host = "node3";
  end.exit_code = code;
  return end;
}
WorkerEnd killed(int64_t rank, int signal) {
  WorkerEnd end = exited(rank, 0);
  end.signal = signal;
  return end;
}
WorkerEnd after_stop(WorkerEnd end) {
  end.after_stop = true;
  return end;
}

TEST(RootCause, WhatIsAFailure) {
  EXPECT_FALSE(has_failed(exited(0, 0)));
  EXPECT_FALSE(has_failed(exited(0, kStopped)));
  EXPECT_TRUE(has_failed(exited(0, 1)));
  EXPECT_TRUE(has_failed(exited(0, kPeerLost)));
  EXPECT_TRUE(has_failed(killed(0, SIGKILL)));
  EXPECT_EQ(status_of(exited(0, 7)), 7);
  EXPECT_EQ(status_of(killed(0, SIGSEGV)), 139);
}

TEST(RootCause, TheFirstThatIsNoSecondaryFailure) {
  const auto rank_of = [](const std::vector<WorkerEnd>& ends) { return root_cause(ends)->rank; };
  EXPECT_EQ(root_cause({}), nullptr);
  EXPECT_EQ(rank_of({exited(2, 1), exited(0, 1)}), 2);
  // Two ranks noticed the loss of rank 3 before its end was reported.
  EXPECT_EQ(rank_of({exited(0, kPeerLost), exited(1, kPeerLost), killed(3, SIGKILL)}), 3);
  EXPECT_EQ(rank_of({after_stop(killed(0, SIGTERM)), after_stop(exited(1, 1)), exited(2, 1)}), 2);
  // A signal whose number is that status is another matter.
  EXPECT_EQ(rank_of({killed(1, SIGQUIT), exited(0, 1)}), 1);
  EXPECT_EQ(rank_of({exited(4, kPeerLost), after_stop(killed(0, SIGTERM))}), 4);
}

TEST(RootCause, OneLineSaysAll) {
  WorkerEnd end = killed(5, SIGKILL);
  end.seconds = 12.34;
  end.last_lines = "step 7 | step 8";
  end.message = "RuntimeError: boom";
  const std::string said = describe(end);
  for (const char* part : {"rank 5", "node3", "SIGKILL", "12.3 s", "step 7 | step 8", "boom"}) {
    EXPECT_THAT(said, HasSubstr(part));
  }
  EXPECT_THAT(said, Not(HasSubstr("\n")));
  EXPECT_THAT(describe(exited(1, 9)), HasSubstr("status 9"));
  // A user's mistake has been said by the worker, in one line, just now.
  end = exited(0, kWrongInput);
  end.last_lines = "vmla: error: no such file";
  EXPECT_THAT(describe(end), Not(HasSubstr("no such file")));
}

TEST(RootCause, ErrorFiles) {
  EXPECT_EQ(
      error_file_message(R"({"message": {"message": "ValueError: x\nat y", "extraInfo": {}}})"),
      "ValueError: x");
  EXPECT_EQ(error_file_message(R"({"message": "plain"})"), "plain");
  for (const char* json :
       {"", "{", "[]", "{}", R"({"message": 3})", R"({"message": {"text": "x"}})"}) {
    EXPECT_EQ(error_file_message(json), "") << json;
  }
}

}  // namespace
}  // namespace vmla::launch
