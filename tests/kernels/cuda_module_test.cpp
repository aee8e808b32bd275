#include "kernels/cuda_module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

namespace vmla::kernels {
namespace {

using testing::HasSubstr;

TEST(CudaModule, OfAnotherBuildIsRefusedBeforeItsTableIsRead) {
  const OpenedModule module = open_cuda_module(FOREIGN_CUDA_MODULE);
  EXPECT_EQ(module.table, nullptr);
  EXPECT_THAT(module.problem, HasSubstr(FOREIGN_CUDA_MODULE));
  EXPECT_THAT(module.problem, HasSubstr("belongs to another build than this program"));
  EXPECT_EQ(module.problem.find('\n'), std::string::npos);
}

TEST(CudaModule, ThatIsNoLibraryIsRefused) {
  const OpenedModule module = open_cuda_module("/proc/self/cmdline");
  EXPECT_EQ(module.table, nullptr);
  EXPECT_THAT(module.problem, HasSubstr("the CUDA module cannot be loaded: "));
}

TEST(CudaModule, HashesTheHeadersItShares) {
  const std::string_view hash = kernel_table_hash();
  EXPECT_EQ(hash.size(), 64U);
  EXPECT_EQ(hash.find_first_not_of("0123456789abcdef"), std::string_view::npos);
  EXPECT_NE(hash.find_first_not_of('0'), std::string_view::npos);
}

}  // namespace
}  // namespace vmla::kernels
