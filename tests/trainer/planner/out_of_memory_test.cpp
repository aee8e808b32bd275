#include "trainer/planner/out_of_memory.h"

#include "model/io/error.h"
#include "tests/trainer/drawn_stage.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <new>

namespace vmla::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// What LibTorch says when the host has no room for 2^60 bytes.
std::exception_ptr refused_tensor() {
  try {
    at::empty({int64_t{1} << 60}, at::kByte);
  } catch (const std::exception&) {
    return std::current_exception();
  }
  return nullptr;
}

template <class Call>
void with_refusal(const Call& call) {
  try {
    std::rethrow_exception(refused_tensor());
  } catch (const std::exception& error) {
    call(error);
  }
}

/// A plan needs the clips' size, not the clips.
TrainConfig stage_of_eight_clips() {
  TrainConfig config = tiny_stage("pretrain.yaml");
  const ClipShape clip = tiny_clip();
  config.data.clip_shape = {clip.frames, clip.channels, clip.height, clip.width};
  config.train.batch_size = config.train.micro_batch_size = 8;
  config.train.recompute = "none";
  return config;
}

TEST(OutOfMemory, IsToldFromOtherErrors) {
  EXPECT_TRUE(is_out_of_memory(std::bad_alloc()));
  EXPECT_TRUE(is_out_of_memory(c10::OutOfMemoryError({}, "CUDA out of memory")));
  with_refusal([](const std::exception& error) { EXPECT_TRUE(is_out_of_memory(error)); });
  EXPECT_FALSE(is_out_of_memory(RunError("cannot write: No space left on device")));
  EXPECT_FALSE(is_out_of_memory(c10::Error({}, "sizes of tensors must match")));
}

TEST(OutOfMemory, IsForeseenWhereThePlanNeedsMoreThanTheGpu) {
  EXPECT_EQ(memory_shortage(79'000'000'000, 80e9), "");
  EXPECT_THAT(memory_shortage(96'000'000'000, 80e9),
              AllOf(HasSubstr("needs up to 96 GB"),
                    HasSubstr("this GPU has 80 GB"),
                    HasSubstr("--gpu-memory 80")));
}

TEST(OutOfMemory, IsSaidWithThePlanAndWhatLowersIt) {
  with_refusal([](const std::exception& error) {
    const TrainConfig config = stage_of_eight_clips();
    const std::string one = out_of_memory_line(error, config, {});
    EXPECT_THAT(one,
                AllOf(StartsWith("out of memory (DefaultCPUAllocator: can't allocate memory"),
                      HasSubstr("you tried to allocate 11529"),
                      HasSubstr("; the plan gives this rank up to "),
                      HasSubstr(" with train.micro_batch_size 4"),
                      HasSubstr(" with train.recompute selective"),
                      HasSubstr(" with train.recompute block"),
                      Not(HasSubstr("distributed.sharding")),
                      Not(HasSubstr("\n"))));
    EXPECT_THAT(out_of_memory_line(error, config, {.world = 4}),
                AllOf(HasSubstr(" with train.micro_batch_size 1"),
                      HasSubstr(" with distributed.sharding full")));
    EXPECT_THAT(
        out_of_memory_line(error, config, {.world = 8, .shard = 8}),
        AllOf(Not(HasSubstr("train.micro_batch_size")), Not(HasSubstr("distributed.sharding"))));
  });
}

TEST(OutOfMemory, IsSaidAlsoWhereNoPlanCanBeMade) {
  TrainConfig config = tiny_stage("pretrain.yaml");
  config.data.clip_shape.clear();
  config.data.path = "nowhere.h5";
  config.data.make = {};
  EXPECT_EQ(out_of_memory_line(std::bad_alloc(), config, {}), "out of memory (std::bad_alloc)");
}

}  // namespace
}  // namespace vmla::trainer
