#include "trainer/distributed/job/abandonable_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>

namespace vmla::distributed {
namespace {

constexpr double kLong = 30;  // seconds: never waited for

TEST(AbandonableThread, ReturnsWhatACallReturnsOrThrows) {
  AbandonableThread thread;
  std::thread::id first;
  EXPECT_EQ(thread.run<int>([&] { return first = std::this_thread::get_id(), 7; }, kLong).get(), 7);
  EXPECT_NE(first, std::this_thread::get_id());
  EXPECT_THROW(thread.run<int>([]() -> int { throw std::out_of_range("x"); }, kLong).get(),
               std::out_of_range);
  thread.run<void>([&] { EXPECT_EQ(first, std::this_thread::get_id()); }, kLong).get();
}

/// What a call that does not return holds, so that the test can let it go.
struct Held {
  std::atomic<bool> go = false;
  std::atomic<bool> over = false;
  void wait() {
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    over = true;
  }
};

TEST(AbandonableThread, GivesACallUpAndGoesOnWithoutIt) {
  const auto held = std::make_shared<Held>();
  {
    AbandonableThread thread;
    EXPECT_FALSE(thread.run<void>([held] { held->wait(); }, 0.01).valid());
    // It is still in that call: nothing more is asked of it, however long it may take.
    const auto start = Clock::now();
    EXPECT_FALSE(thread.run<int>([] { return 1; }, kLong).valid());
    EXPECT_LT(seconds_since(start), kLong / 2);
  }  // and nobody waits for it
  EXPECT_FALSE(held->over);
  held->go = true;
  while (!held->over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace
}  // namespace vmla::distributed
