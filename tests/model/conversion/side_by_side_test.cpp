#include "model/conversion/side_by_side.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

struct Threads {
  explicit Threads(int count) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before); }
  const int before = at::get_num_threads();
};

TEST(SideBySide, EachJobOnceAndAlone) {
  const Threads three(3);
  std::vector<int> done(20, 0), threads(20, 0);
  side_by_side(20, [&](int64_t job) {
    ++done[static_cast<size_t>(job)];
    threads[static_cast<size_t>(job)] = at::get_num_threads();
  });
  EXPECT_EQ(done, std::vector<int>(20, 1));
  EXPECT_EQ(threads, std::vector<int>(20, 1));
  EXPECT_EQ(at::get_num_threads(), 3);
  side_by_side(0, [](int64_t) { FAIL(); });
}

TEST(SideBySide, BitsDoNotDependOnTheNumberOfThreads) {
  const at::Tensor a = draw("matrix", {200, 200});
  const auto factors = [&](int count) {
    const Threads set(count);
    at::Tensor vectors;
    side_by_side(1, [&](int64_t) { vectors = std::get<1>(at::linalg_eigh(a.matmul(a.t()))); });
    return vectors;
  };
  EXPECT_TRUE(at::equal(factors(1), factors(4)));
}

TEST(SideBySide, TheFirstExceptionIsThrownAndNoMoreJobsBegin) {
  const Threads two(2);
  std::atomic<int> begun = 0;
  try {
    side_by_side(1000, [&](int64_t job) {
      ++begun;
      if (job == 3) throw std::runtime_error("job 3");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "job 3");
  }
  EXPECT_LT(begun, 1000);
  EXPECT_EQ(at::get_num_threads(), 2);
}

TEST(SideBySide, JobsHaveTheCallersModes) {
  const c10::InferenceMode inference;
  bool inside = false;
  side_by_side(1, [&](int64_t) { inside = c10::InferenceMode::is_enabled(); });
  EXPECT_TRUE(inside);
}

}  // namespace
}  // namespace vmla::model
