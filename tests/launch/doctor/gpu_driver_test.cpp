// Why no GPU can be used: one line for each reason, from what a driver may say.
#include "kernels/gpu_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmla::kernels {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const CudaBuild kBuild = {.cuda_version = 13000, .architectures = {"80", "90a", "100"}};

DriverGpu gpu(const std::string& name, int major, int minor) {
  return {.name = name, .major = major, .minor = minor};
}

DriverAnswer driver_with(std::vector<DriverGpu> gpus) {
  return {.library = true, .answers = true, .cuda_version = 13000, .gpus = std::move(gpus)};
}

TEST(GpuDriver, AGpuWithKernelsIsUsed) {
  EXPECT_EQ(why_no_gpu(driver_with({gpu("H100", 9, 0)}), kBuild, nullptr), "");
  // A driver of the same major version serves every minor one, and a newer one all.
  DriverAnswer newer = driver_with({gpu("H100", 9, 0)});
  for (const int version : {13010, 14000}) {
    newer.cuda_version = version;
    EXPECT_EQ(why_no_gpu(newer, kBuild, "0"), "") << version;
  }
  for (const char* visible : {"0,", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "0,-1"}) {
    EXPECT_EQ(why_no_gpu(driver_with({gpu("H100", 9, 0)}), kBuild, visible), "") << visible;
  }
  // A library that has no such functions says nothing: the module itself is asked.
  EXPECT_EQ(why_no_gpu({.library = true}, kBuild, nullptr), "");
}

TEST(GpuDriver, NoDriver) {
  EXPECT_EQ(why_no_gpu({}, kBuild, nullptr), "no NVIDIA driver is installed (libcuda.so.1)");
}

TEST(GpuDriver, ADriverThatIsTooOld) {
  DriverAnswer old = driver_with({gpu("A100", 8, 0)});
  old.cuda_version = 12080;
  EXPECT_EQ(why_no_gpu(old, kBuild, nullptr),
            "the NVIDIA driver serves CUDA 12.8 at most, and this build needs 13.0 or later: "
            "install a newer driver");
}

TEST(GpuDriver, ADriverThatDoesNotStart) {
  DriverAnswer broken = driver_with({});
  broken.init_status = 999;
  EXPECT_THAT(why_no_gpu(broken, kBuild, nullptr), HasSubstr("cuInit: status 999"));
  broken.init_status = 802;
  EXPECT_THAT(why_no_gpu(broken, kBuild, nullptr), HasSubstr("nvidia-fabricmanager"));
}

TEST(GpuDriver, TheVariableHidesAllGpus) {
  DriverAnswer none = driver_with({});
  none.init_status = 100;
  for (const char* hides : {"-1", "", " ", "-1,0"}) {
    EXPECT_THAT(why_no_gpu(none, kBuild, hides),
                AllOf(HasSubstr(std::string("CUDA_VISIBLE_DEVICES=") + hides),
                      HasSubstr("hides all GPUs")));
  }
  for (const char* wrong : {"7", "0,0", "GPU-11111111-2222", "nonsense"}) {
    EXPECT_THAT(why_no_gpu(none, kBuild, wrong),
                AllOf(HasSubstr(wrong), HasSubstr("names no GPU of this machine")));
  }
  EXPECT_EQ(why_no_gpu(none, kBuild, nullptr), "the driver sees no GPU");
}

TEST(GpuDriver, AGpuWithoutKernels) {
  const DriverGpu old = gpu("Tesla T4", 7, 5), good = gpu("A100", 8, 0);
  const std::string line = why_no_gpu(driver_with({old}), kBuild, nullptr);
  EXPECT_THAT(line, HasSubstr("Tesla T4 has compute capability 7.5"));
  EXPECT_THAT(line, HasSubstr("80, 90a, 100"));
  EXPECT_THAT(line, HasSubstr("-DCMAKE_CUDA_ARCHITECTURES=75"));
  // Beside one that has them, only the rank that gets it is refused.
  EXPECT_EQ(why_no_gpu(driver_with({good, old}), kBuild, nullptr), "");
  EXPECT_EQ(why_gpu_unusable(driver_with({good, old}), kBuild, 0), "");
  EXPECT_THAT(why_gpu_unusable(driver_with({good, old}), kBuild, 1), HasSubstr("Tesla T4"));
  EXPECT_EQ(why_gpu_unusable(driver_with({good, old}), kBuild, 2), "");
}

TEST(GpuDriver, ArchitecturesAndCapabilities) {
  const std::vector<std::string> own = kBuild.architectures;
  for (const auto& [major, minor] :
       {std::pair{8, 0}, {8, 6}, {8, 9}, {9, 0}, {10, 0}, {10, 3}, {12, 0}}) {
    EXPECT_TRUE(has_kernels_for(major, minor, own)) << major << "." << minor;
  }
  for (const auto& [major, minor] : {std::pair{7, 5}, {7, 0}, {6, 1}}) {
    EXPECT_FALSE(has_kernels_for(major, minor, own)) << major << "." << minor;
  }
  // A letter binds code to one GPU; "-real" leaves the form out that later ones translate.
  EXPECT_TRUE(has_kernels_for(9, 0, {"90a"}));
  EXPECT_FALSE(has_kernels_for(10, 0, {"90a"}));
  EXPECT_TRUE(has_kernels_for(8, 6, {"80-real"}));
  EXPECT_FALSE(has_kernels_for(9, 0, {"80-real"}));
  EXPECT_TRUE(has_kernels_for(9, 0, {"80-virtual"}));
  EXPECT_TRUE(has_kernels_for(7, 5, {"native"}));
}

}  // namespace
}  // namespace vmla::kernels
