#include "tests/kernels/host_cuda/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "tests/kernels/host_cuda/cuda_language.h"

// The emulation itself: it does what CUDA does, and refuses what CUDA leaves undefined.

namespace vmla::tests::host_cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string fault_of(const dim3& block, const std::function<void()>& body) {
  try {
    run_grid(1, block, body);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return {};
}

TEST(HostGrid, RunsEveryThreadOnceInTheOrderAskedFor) {
  std::vector<unsigned> seen;
  const auto note = [&] { seen.push_back(blockIdx.y * 100 + threadIdx.z * 10 + threadIdx.x); };
  run_grid(dim3(1, 2), dim3(2, 1, 2), note);
  EXPECT_THAT(seen, ElementsAre(0, 1, 10, 11, 100, 101, 110, 111));
  seen.clear();
  const ScopedGridSettings scope({.order = Order::kDescending, .only = {}});
  run_grid(dim3(1, 2), dim3(2, 1, 2), note);
  EXPECT_THAT(seen, ElementsAre(111, 110, 101, 100, 11, 10, 1, 0));
}

TEST(HostGrid, ShufflesSumAWarpInAnyOrder) {
  for (const Order order : kOrders) {
    const ScopedGridSettings scope({.order = order, .only = {}});
    std::vector<float> sums(64);
    run_grid(1, 64, [&] {
      auto value = static_cast<float>(threadIdx.x);
      for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
      }
      sums[threadIdx.x] = value;
    });
    EXPECT_EQ(sums[0], 31 * 16);
    EXPECT_EQ(sums[31], 31 * 16);
    EXPECT_EQ(sums[40], 31 * 16 + 32 * 32);
  }
}

TEST(HostGrid, SharedMemoryIsOneOfTheBlockAndBeginsAsNaN) {
  std::vector<int> sums, fresh;
  run_grid(2, 40, [&] {
    VMLA_SHARED(float, part, [40]);
    if (threadIdx.x == 0) fresh.push_back(static_cast<int>(std::isnan(part[39])));
    part[threadIdx.x] = static_cast<float>(threadIdx.x);
    __syncthreads();
    if (threadIdx.x == 7) {
      sums.push_back(static_cast<int>(std::accumulate(part, part + 40, 0.0f)));
    }
  });
  EXPECT_THAT(sums, ElementsAre(780, 780));
  EXPECT_THAT(fresh, ElementsAre(1, 1));
}

// Kernels stand outside of the expectations: a macro's argument is one line to the compiler.
TEST(HostGrid, FindsBarriersThatNotAllThreadsReach) {
  const auto alone = [] {
    if (threadIdx.x > 0) __syncthreads();
  };
  const auto apart = [] {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  };
  EXPECT_THAT(
      fault_of(40, alone),
      HasSubstr("a barrier that others never reach: thread 1,0,0 of block 0,0,0 (grid_test.cpp:"));
  EXPECT_THAT(fault_of(40, apart), HasSubstr("barriers of one block at two places"));
}

TEST(HostGrid, FindsShufflesWithoutAllTheirLanes) {
  const auto all_but_one = [] {
    if (threadIdx.x != 3) __shfl_sync(0xFFFFFFFFu, 1, 0);
  };
  const auto half_mask = [] { __shfl_sync(0xFFFFu, 1, 0); };
  const auto from_outside = [] {
    if (threadIdx.x < 16) __shfl_sync(0xFFFFu, 1, 20);
  };
  const auto apart = [] {
    if (threadIdx.x == 0) {
      __shfl_sync(0xFFFFFFFFu, 1, 0);
    } else {
      __syncwarp();
    }
  };
  EXPECT_THAT(fault_of(32, all_but_one),
              HasSubstr("a shuffle waits for lane 3, which is not there"));
  EXPECT_THAT(fault_of(16, [] { __syncwarp(); }),
              HasSubstr("a shuffle waits for lane 16, which is not there"));
  EXPECT_THAT(fault_of(32, half_mask),
              HasSubstr("a shuffle whose mask lacks its own lane: thread 16,0,0"));
  EXPECT_THAT(fault_of(32, from_outside),
              HasSubstr("a shuffle from lane 20, which its mask lacks"));
  EXPECT_THAT(fault_of(32, apart), HasSubstr("wait for ever"));
}

TEST(HostGrid, RunsOnAfterAFaultAndPassesExceptionsOn) {
  EXPECT_THROW(run_grid(1, 8, [] { throw std::runtime_error("of a kernel"); }), std::runtime_error);
  int64_t ran = 0;
  run_grid(3, 8, [&] { ++ran; });
  EXPECT_EQ(ran, 24);
}

TEST(HostGrid, RefusesWhatCudaRefuses) {
  EXPECT_TRUE(is_valid_grid(65536, dim3(32, 8)));
  EXPECT_FALSE(is_valid_grid(0, 32));
  EXPECT_FALSE(is_valid_grid(1, 1025));
  EXPECT_FALSE(is_valid_grid(dim3(1, 65536), 32));
  EXPECT_FALSE(is_valid_grid(dim3(1, 1, 65536), 32));
}

TEST(HostGrid, RoundsToBf16AsCudaDoes) {
  EXPECT_EQ(__float2bfloat16_rn(1.0f + 0x1p-8f).bits, 0x3F80);            // tie: to even
  EXPECT_EQ(__float2bfloat16_rn(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3F82);  // tie: to even
  EXPECT_EQ(__float2bfloat16_rn(1.0f + 0x1p-8f + 0x1p-23f).bits, 0x3F81);
  EXPECT_EQ(__float2bfloat16_rn(NAN).bits, 0x7FFF);
  EXPECT_TRUE(std::isinf(__bfloat162float(__float2bfloat16_rn(3.4e38f))));
}

}  // namespace
}  // namespace vmla::tests::host_cuda
