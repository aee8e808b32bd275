// A job's life, event by event.
#include "launch/launcher/job_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;
using Kind = JobCommand::Kind;
using namespace std::chrono_literals;

const Clock::time_point kStart{};

WorkerEnd end_of(int64_t rank, int code, int signal = 0, bool after_stop = false) {
  WorkerEnd end;
  end.rank = rank;
  end.host = "h";
  end.exit_code = code;
  end.signal = signal;
  end.after_stop = after_stop;
  return end;
}

JobCommand expect_next(JobControl& job, Kind kind) {
  const auto command = job.next();
  EXPECT_TRUE(command.has_value());
  if (!command) return {};
  EXPECT_EQ(command->kind, kind);
  EXPECT_FALSE(job.next());
  return *command;
}

JobControl started(int64_t nodes, int64_t max_restarts = 0) {
  JobControl job(nodes, max_restarts);
  job.begin(kStart);
  EXPECT_EQ(expect_next(job, Kind::kStart).attempt, 0);
  return job;
}

TEST(JobControl, AllDone) {
  JobControl job = started(2);
  job.node_ended(1, false, kStart);
  EXPECT_FALSE(job.next());
  job.node_ended(0, false, kStart);
  const JobCommand command = expect_next(job, Kind::kFinish);
  EXPECT_EQ(command.status, 0);
  EXPECT_EQ(command.why, "");
}

TEST(JobControl, StoppedIsNoFailure) {
  JobControl job = started(2, /*max_restarts=*/3);
  job.node_ended(0, false, kStart);
  job.node_ended(1, /*stopped=*/true, kStart);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 75);
}

TEST(JobControl, TheFirstFailureStopsAllNodesAndIsSaidOnce) {
  JobControl job = started(2);
  job.worker_failed(end_of(3, 0, SIGKILL), kStart);
  EXPECT_THAT(expect_next(job, Kind::kStop).why,
              HasSubstr("root cause: rank 3 on h was killed by SIGKILL"));
  job.worker_failed(end_of(0, 0, SIGTERM, true), kStart + 1s);
  job.node_ended(0, false, kStart + 1s);
  job.node_ended(1, false, kStart + 1s);
  const JobCommand command = expect_next(job, Kind::kFinish);
  EXPECT_EQ(command.status, 137);
  EXPECT_EQ(command.why, "");
}

TEST(JobControl, ASecondaryFailureWaitsForTheRootCause) {
  JobControl job = started(1);
  job.worker_failed(end_of(0, kPeerLost), kStart);
  EXPECT_FALSE(job.next());
  EXPECT_EQ(job.due(), kStart + 1s);
  job.worker_failed(end_of(1, 9), kStart + 300ms);
  EXPECT_THAT(expect_next(job, Kind::kStop).why, HasSubstr("rank 1"));
  job.node_ended(0, false, kStart + 1s);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 9);
}

TEST(JobControl, OfSecondaryFailuresAloneTheFirstIsTheCause) {
  JobControl job = started(1);
  job.worker_failed(end_of(2, kPeerLost), kStart);
  job.tick(kStart + 999ms);
  EXPECT_FALSE(job.next());
  job.tick(kStart + 1s);
  EXPECT_THAT(expect_next(job, Kind::kStop).why, HasSubstr("rank 2"));
  // Killed by the launcher while it hung: no news.
  job.worker_failed(end_of(0, 0, SIGKILL, true), kStart + 5s);
  job.node_ended(0, false, kStart + 5s);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, kPeerLost);
}

TEST(JobControl, RestartsWithGrowingPauses) {
  const std::vector<std::chrono::seconds> pauses = {1s, 2s, 4s, 8s, 16s, 30s, 30s};
  JobControl job = started(1, static_cast<int64_t>(pauses.size()));
  Clock::time_point now = kStart;
  for (size_t i = 0; i < pauses.size(); ++i) {
    job.worker_failed(end_of(0, 1), now);
    expect_next(job, Kind::kStop);
    job.node_ended(0, false, now);
    EXPECT_THAT(expect_next(job, Kind::kStop).why, HasSubstr("starting all ranks again"));
    EXPECT_EQ(job.due(), now + pauses[i]);
    job.tick(now + pauses[i] - 1ms);
    EXPECT_FALSE(job.next());
    now += pauses[i];
    job.tick(now);
    EXPECT_EQ(expect_next(job, Kind::kStart).attempt, static_cast<int64_t>(i) + 1);
  }
  job.worker_failed(end_of(0, 1), now);
  expect_next(job, Kind::kStop);
  job.node_ended(0, false, now);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 1);
}

// Two days of work between two failures are no series.
TEST(JobControl, AHealthyStretchBeginsANewSeries) {
  JobControl job = started(1, 10);
  Clock::time_point now = kStart;
  const auto fail_after = [&](std::chrono::seconds work, std::chrono::seconds pause) {
    now += work;
    job.worker_failed(end_of(0, 1), now);
    expect_next(job, Kind::kStop);
    now += 5s;  // the others end
    job.node_ended(0, false, now);
    expect_next(job, Kind::kStop);
    EXPECT_EQ(job.due(), now + pause);
    now += pause;
    job.tick(now);
    expect_next(job, Kind::kStart);
  };
  fail_after(0s, 1s);
  fail_after(58s, 2s);  // with the five seconds above it is over a minute, but not of work
  fail_after(1s, 4s);
  fail_after(kHealthy, 1s);
  fail_after(0s, 2s);
}

TEST(JobControl, ARestartForgetsTheAttemptBefore) {
  JobControl job = started(1, 1);
  job.worker_failed(end_of(0, 5), kStart);
  expect_next(job, Kind::kStop);
  job.node_ended(0, true, kStart);
  expect_next(job, Kind::kStop);
  job.tick(kStart + 1s);
  expect_next(job, Kind::kStart);
  job.node_ended(0, false, kStart + 2s);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 0);
}

TEST(JobControl, WrongInputIsNotTriedAgain) {
  JobControl job = started(1, 3);
  job.worker_failed(end_of(0, kWrongInput), kStart);
  expect_next(job, Kind::kStop);
  job.node_ended(0, false, kStart);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 2);
}

TEST(JobControl, ARequestedStopIsNotTriedAgain) {
  JobControl job = started(1, 3);
  job.stop_requested(SIGTERM, false);
  EXPECT_FALSE(job.next());  // the workers have the signal and end by themselves
  job.worker_failed(end_of(0, 0, SIGTERM), kStart);
  EXPECT_FALSE(job.next());
  job.node_ended(0, false, kStart);
  const JobCommand command = expect_next(job, Kind::kFinish);
  EXPECT_EQ(command.status, 143);
  EXPECT_THAT(command.why, HasSubstr("SIGTERM"));
}

TEST(JobControl, ASecondInterruptEndsWith130) {
  JobControl job = started(1, 3);
  job.stop_requested(SIGINT, false);
  job.stop_requested(SIGINT, true);
  job.worker_failed(end_of(0, 0, SIGKILL, true), kStart);
  job.node_ended(0, false, kStart);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 130);
}

TEST(JobControl, AStopBetweenAttemptsMeansRunMeAgain) {
  JobControl waiting(2, 0);
  waiting.stop_requested(SIGUSR1, false);
  EXPECT_EQ(expect_next(waiting, Kind::kFinish).status, 75);

  JobControl pausing = started(1, 1);
  pausing.worker_failed(end_of(0, 1), kStart);
  expect_next(pausing, Kind::kStop);
  pausing.node_ended(0, false, kStart);
  expect_next(pausing, Kind::kStop);
  pausing.stop_requested(SIGTERM, false);
  EXPECT_EQ(expect_next(pausing, Kind::kFinish).status, 75);
  pausing.tick(kStart + 1h);
  EXPECT_FALSE(pausing.next());
}

TEST(JobControl, ALostNodeEndsTheJob) {
  JobControl job = started(3, 5);
  job.node_lost(2, "node 2 is gone");
  EXPECT_EQ(expect_next(job, Kind::kStop).why, "node 2 is gone");
  job.worker_failed(end_of(0, kPeerLost), kStart);
  job.node_ended(0, false, kStart);
  EXPECT_FALSE(job.next());
  job.node_ended(1, false, kStart);
  EXPECT_EQ(expect_next(job, Kind::kFinish).status, 1);
}

TEST(JobControl, ANodeLostDuringAPauseEndsTheJob) {
  JobControl job = started(2, 5);
  job.worker_failed(end_of(0, 1), kStart);
  expect_next(job, Kind::kStop);
  job.node_ended(0, false, kStart);
  job.node_ended(1, false, kStart);
  expect_next(job, Kind::kStop);
  job.node_lost(1, "node 1 is gone");
  const JobCommand command = expect_next(job, Kind::kFinish);
  EXPECT_EQ(command.status, 1);
  EXPECT_EQ(command.why, "node 1 is gone");
}

}  // namespace
}  // namespace vmla::launch
