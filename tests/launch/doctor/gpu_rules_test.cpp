// The lines of GPUs, kernels, attention and ranks: verdicts and texts for made-up figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "launch/doctor/gpu.h"

namespace vmla::launch::doctor {
namespace {

using ::testing::HasSubstr;

const kernels::CudaBuild kBuild = {.cuda_version = 13000, .architectures = {"80", "90a"}};

// An H100 SXM: 132 SMs at 1.98 GHz, HBM3 at 2.619 GHz on 5120 bits.
const kernels::DriverGpu kH100 = {.name = "H100",
                                  .major = 9,
                                  .minor = 0,
                                  .memory_bytes = 85'000'000'000,
                                  .multiprocessors = 132,
                                  .clock_hz = 1.98e9,
                                  .memory_clock_hz = 2.619e9,
                                  .memory_bus_bits = 5120};

GpuFacts healthy() {
  return {.index = 0,
          .gpu = kH100,
          .free_bytes = 84e9,
          .to_device = 50e9,
          .from_device = 50e9,
          .copy = 2.9e12,
          .gemm_bf16 = 7e14,
          .gemm_fp32 = 5e13,
          .problem = {}};
}

TEST(DoctorGpu, PeaksAreThoseOfTheDataSheet) {
  EXPECT_NEAR(peak_bandwidth(kH100), 3.35e12, 0.01e12);
  EXPECT_NEAR(peak_bf16(kH100), 132 * 4096 * 1.98e9, 1);
  // The sheet's 312 TFLOP/s of an A100: 108 SMs at 1.41 GHz.
  EXPECT_NEAR(peak_bf16({.major = 8, .minor = 0, .multiprocessors = 108, .clock_hz = 1.41e9}),
              312e12,
              1e12);
  EXPECT_EQ(peak_bf16({.major = 13, .multiprocessors = 100, .clock_hz = 1e9}), 0);
}

TEST(DoctorGpu, AHealthyOneIsOk) {
  const Finding line = judge_gpu(healthy(), kBuild);
  EXPECT_EQ(line.verdict, Verdict::kOk);
  EXPECT_EQ(line.advice, "");
  EXPECT_THAT(line.found, HasSubstr("H100, capability 9.0, 84.0 GB of 85.0 GB free"));
  EXPECT_THAT(line.found, HasSubstr("700 TFLOP/s (65 % of the peak)"));
}

TEST(DoctorGpu, EachFigureAloneMakesItSlow) {
  const auto expect_slow = [](const GpuFacts& facts, const std::string& advice) {
    const Finding line = judge_gpu(facts, kBuild);
    EXPECT_EQ(line.verdict, Verdict::kSlow) << advice;
    EXPECT_THAT(line.advice, HasSubstr(advice));
  };
  GpuFacts facts = healthy();
  facts.free_bytes = 10e9;
  expect_slow(facts, "half of its memory is taken");
  facts = healthy();
  facts.gemm_bf16 = 4e14;
  expect_slow(facts, "throttles");
  facts = healthy();
  facts.copy = 1e12;
  expect_slow(facts, "below half of its rate");
  facts = healthy();
  facts.from_device = 3e9;
  expect_slow(facts, "way to the host is narrow");
}

TEST(DoctorGpu, UnknownPeaksJudgeNothing) {
  GpuFacts facts = healthy();
  facts.gpu.clock_hz = facts.gpu.memory_clock_hz = 0;
  facts.gemm_bf16 = facts.copy = 1;
  EXPECT_EQ(judge_gpu(facts, kBuild).verdict, Verdict::kOk);
  facts.gpu = {};
  EXPECT_EQ(judge_gpu(facts, kBuild).verdict, Verdict::kOk);
  EXPECT_THAT(judge_gpu(facts, kBuild).found,
              HasSubstr("not described by its driver, 84.0 GB free"));
}

TEST(DoctorGpu, WrongWithoutKernelsOrAfterAFailure) {
  GpuFacts facts = healthy();
  facts.gpu.major = 7;
  EXPECT_EQ(judge_gpu(facts, kBuild).verdict, Verdict::kWrong);
  EXPECT_THAT(judge_gpu(facts, kBuild).advice, HasSubstr("no kernel"));
  facts = healthy();
  facts.problem = "CUDA error: an illegal memory access was encountered";
  EXPECT_EQ(judge_gpu(facts, kBuild).verdict, Verdict::kWrong);
  EXPECT_EQ(judge_gpu(facts, kBuild).advice, facts.problem);
}

TEST(DoctorDriver, AbsentOnlyWhereNothingSpeaksForAGpu) {
  DriverFacts none;
  none.problem = "no NVIDIA driver is installed (libcuda.so.1)";
  EXPECT_EQ(judge_driver(none, kBuild).verdict, Verdict::kAbsent);
  none.device_files = true;
  EXPECT_EQ(judge_driver(none, kBuild).verdict, Verdict::kWrong);

  DriverFacts hidden;
  hidden.driver = {.library = true, .answers = true, .cuda_version = 13000, .init_status = 100};
  hidden.visible = "-1";
  hidden.visible_set = true;
  hidden.problem = kernels::why_no_gpu(hidden.driver, kBuild, "-1");
  EXPECT_EQ(judge_driver(hidden, kBuild).verdict, Verdict::kAbsent) << "the user hides it";
  EXPECT_THAT(judge_driver(hidden, kBuild).found, HasSubstr("CUDA_VISIBLE_DEVICES=-1"));
  hidden.visible = "9";
  hidden.problem = kernels::why_no_gpu(hidden.driver, kBuild, "9");
  EXPECT_EQ(judge_driver(hidden, kBuild).verdict, Verdict::kWrong) << "a mistake";

  DriverFacts silent;
  silent.driver.library = true;
  EXPECT_EQ(judge_driver(silent, kBuild).verdict, Verdict::kOk);
  EXPECT_EQ(judge_driver(silent, kBuild).found, "libcuda.so.1 answers no question");

  DriverFacts good;
  good.driver = {.library = true, .answers = true, .cuda_version = 13000, .gpus = {kH100}};
  good.version = "580.65.06";
  const Finding line = judge_driver(good, kBuild);
  EXPECT_EQ(line.verdict, Verdict::kOk);
  EXPECT_EQ(line.found, "580.65.06, serves CUDA 13.0, LibTorch is built for 13.0; 1 GPUs visible");
}

TEST(DoctorKernel, ErrorsAreWrongAndLowRatesSlow) {
  const auto verdict = [](double error, double rate, double copy) {
    return judge_kernel(
               {.name = "gelu", .error = error, .tolerance = 2e-6, .rate = rate, .problem = {}},
               copy)
        .verdict;
  };
  EXPECT_EQ(verdict(1e-7, 1e12, 2e12), Verdict::kOk);
  EXPECT_EQ(verdict(1e-7, 5e11, 2e12), Verdict::kSlow);
  EXPECT_EQ(verdict(1e-7, 5e11, 0), Verdict::kOk) << "no copy rate: not judged";
  EXPECT_EQ(verdict(3e-6, 1e12, 2e12), Verdict::kWrong);
  EXPECT_EQ(verdict(3e-6, 1, 2e12), Verdict::kWrong) << "wrong hides slow";
  EXPECT_EQ(verdict(NAN, 1e12, 2e12), Verdict::kWrong);
  EXPECT_EQ(verdict(INFINITY, 1e12, 2e12), Verdict::kWrong);
  EXPECT_EQ(judge_kernel({.name = "gelu", .problem = "no kernel image"}, 0).verdict,
            Verdict::kWrong);
}

TEST(DoctorAttention, SaysWhichBackEndServes) {
  AttentionFacts facts{.shape = "dense head, 128/128, bf16",
                       .serves = "flash",
                       .also_take = {{"cudnn", 4.5e14}},
                       .error = 1e-2,
                       .tolerance = 3e-2,
                       .rate = 3e14,
                       .problem = {}};
  EXPECT_EQ(judge_attention(facts, 7e14).verdict, Verdict::kOk);
  EXPECT_THAT(judge_attention(facts, 7e14).found, HasSubstr("flash serves it"));
  EXPECT_THAT(judge_attention(facts, 7e14).found, HasSubstr("cudnn would take it, too: 450"));
  facts.rate = 5e13;
  EXPECT_EQ(judge_attention(facts, 7e14).verdict, Verdict::kSlow);
  EXPECT_EQ(judge_attention(facts, 0).verdict, Verdict::kOk);
  facts.error = NAN;
  EXPECT_EQ(judge_attention(facts, 7e14).verdict, Verdict::kWrong);
  facts.problem = "head dimension should be at most 256";
  EXPECT_THAT(judge_attention(facts, 7e14).found, HasSubstr("flash: head dimension"));
}

TEST(DoctorNccl, VersionsAndBandwidth) {
  EXPECT_EQ(judge_nccl({}).verdict, Verdict::kAbsent);
  EXPECT_EQ(judge_nccl({.gpus = 1}).verdict, Verdict::kAbsent);
  EXPECT_EQ(judge_nccl({.gpus = 2}).verdict, Verdict::kWrong) << "no NCCL in the module";
  NcclFacts facts{
      .gpus = 8, .built_with = "2.28.9", .loaded = "2.28.9", .rate = 3e11, .problem = {}};
  EXPECT_EQ(judge_nccl(facts).verdict, Verdict::kOk);
  EXPECT_THAT(judge_nccl(facts).found, HasSubstr("8 GPUs 300.0 GB/s"));
  facts.rate = 1e9;
  EXPECT_EQ(judge_nccl(facts).verdict, Verdict::kSlow);
  facts.loaded = "2.27.3";
  EXPECT_EQ(judge_nccl(facts).verdict, Verdict::kWrong);
  EXPECT_THAT(judge_nccl(facts).advice, HasSubstr("one version"));
  facts.problem = "unhandled system error";
  EXPECT_THAT(judge_nccl(facts).found, HasSubstr("unhandled system error"));
}

TEST(DoctorNetwork, StoreAndLauncher) {
  NetworkFacts facts{.host = "node1",
                     .address = "10.0.0.1",
                     .store_seconds = 2e-4,
                     .launcher_seconds = 0.3,
                     .store_problem = {},
                     .launcher_problem = {}};
  for (const Finding& line : judge_network(facts)) EXPECT_EQ(line.verdict, Verdict::kOk);
  facts.store_seconds = 1;
  EXPECT_EQ(judge_network(facts)[0].verdict, Verdict::kSlow);
  facts.store_problem = "no address";
  EXPECT_EQ(judge_network(facts)[0].verdict, Verdict::kWrong);
  facts.launcher_seconds = 60;
  EXPECT_EQ(judge_network(facts)[1].verdict, Verdict::kSlow);
  facts.launcher_problem = "vmla-launch ended with status 1";
  EXPECT_EQ(judge_network(facts)[1].verdict, Verdict::kWrong);
}

}  // namespace
}  // namespace vmla::launch::doctor
