#include "launch/launcher/worker_count.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "launch/launcher/cpu_binding.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;

TEST(WorkerCount, NumbersCoresAndGpus) {
  const TemporaryFolder folder;
  const std::filesystem::path& devices = folder.path();
  EXPECT_EQ(count_workers("7", nullptr, devices), 7);
  EXPECT_EQ(count_workers("cpu", nullptr, devices), static_cast<int64_t>(usable_cpus().size()));
  EXPECT_THAT(error_of<UserError>([&] { count_workers("gpu", nullptr, devices); }),
              HasSubstr("nvidia0"));
  for (const char* name : {"nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "nvidia"}) {
    std::ofstream{devices / name};
  }
  EXPECT_EQ(count_workers("gpu", nullptr, devices), 3);
  EXPECT_EQ(count_workers("gpu", "2,5", devices), 2);
  for (const char* text : {"", "0", "-1", "4097", "2.0", "gpus"}) {
    EXPECT_THAT(error_of<UserError>([&] { count_workers(text, nullptr, devices); }),
                HasSubstr("a number from 1 to 4096, cpu or gpu"))
        << text;
  }
}

// As CUDA reads the list: up to the first word that names no GPU.
TEST(WorkerCount, VisibleGpusAreThoseThatCudaSees) {
  const TemporaryFolder folder;
  std::ofstream device(folder / "nvidia0");  // an empty file stands for the device
  const auto count = [&](const char* list) { return count_workers("gpu", list, folder.path()); };
  EXPECT_EQ(count("0"), 1);
  EXPECT_EQ(count("0,1,"), 2);
  EXPECT_EQ(count("0,1,-1,2"), 2);
  EXPECT_EQ(count(" 3 , 1"), 2);
  EXPECT_EQ(count("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-GPU-1/2/3"), 2);
  EXPECT_EQ(count("0,,1"), 1);
  for (const char* list : {"", "-1", "none", ",", "NoDevFiles", "-1,0"}) {
    EXPECT_THAT(error_of<UserError>([&] { count(list); }), HasSubstr("hides all GPUs")) << list;
  }
  EXPECT_THAT(error_of<UserError>([&] { count("1,0,1"); }), HasSubstr("names 1 twice"));
}

}  // namespace
}  // namespace vmla::launch
