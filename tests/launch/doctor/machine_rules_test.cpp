// The lines of processors, memory, disk and limits for made-up figures, and the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "launch/doctor/machine.h"

namespace vmla::launch::doctor {
namespace {

using ::testing::HasSubstr;

CpuFacts cpu() {
  return {.model = "a CPU",
          .online = 8,
          .usable = 8,
          .quota = 0,
          .vectors = {"avx2", "fma"},
          .gemm_flops = 4e11,
          .threads = 8};
}

TEST(DoctorCpu, VectorsQuotaAndRate) {
  EXPECT_EQ(judge_cpu(cpu()).verdict, Verdict::kOk);
  CpuFacts facts = cpu();
  facts.vectors.clear();
  EXPECT_THAT(judge_cpu(facts).advice, HasSubstr("no AVX2"));
  EXPECT_THAT(judge_cpu(facts).found, HasSubstr("vectors: none"));
  facts = cpu();
  facts.quota = 2.5;
  EXPECT_EQ(judge_cpu(facts).verdict, Verdict::kSlow);
  EXPECT_THAT(judge_cpu(facts).advice, HasSubstr("OMP_NUM_THREADS=2"));
  facts = cpu();
  facts.gemm_flops = 1e11;
  EXPECT_EQ(judge_cpu(facts).verdict, Verdict::kSlow);
}

TEST(DoctorMemory, TheControlGroupsLimitCounts) {
  EXPECT_EQ(judge_memory({.total = 64e9, .available = 50e9}).verdict, Verdict::kOk);
  const Finding small =
      judge_memory({.total = 64e9, .available = 50e9, .group_limit = 4e9, .group_used = 3.5e9});
  EXPECT_EQ(small.verdict, Verdict::kWrong);
  EXPECT_THAT(small.found, HasSubstr("allows 4.0 GB"));
}

TEST(DoctorDisk, SlowFullOrClosed) {
  const DiskFacts good{
      .folder = "runs", .free_bytes = 1e12, .write_rate = 1e9, .read_rate = 2e9, .problem = {}};
  EXPECT_EQ(judge_disk(good).verdict, Verdict::kOk);
  DiskFacts facts = good;
  facts.read_rate = 5e7;
  EXPECT_EQ(judge_disk(facts).verdict, Verdict::kSlow);
  facts = good;
  facts.free_bytes = 1e9;
  EXPECT_EQ(judge_disk(facts).verdict, Verdict::kWrong);
  facts = good;
  facts.problem = "cannot be written: Permission denied";
  EXPECT_EQ(judge_disk(facts).verdict, Verdict::kWrong);
}

TEST(DoctorLimits, MatterWhereTheyAreUsed) {
  LimitFacts facts{.open_files = 1024,
                   .most_open_files = -1,
                   .locked_memory = 8 << 20,
                   .processes = -1,
                   .shared_memory = 64e6,
                   .infiniband = false,
                   .locale = "C.UTF-8",
                   .locale_known = true};
  for (const Finding& line : judge_limits(facts, 1))
    EXPECT_EQ(line.verdict, Verdict::kOk) << line.name;
  EXPECT_EQ(judge_limits(facts, 2)[2].verdict, Verdict::kWrong) << "NCCL's shared memory";
  facts.infiniband = true;
  EXPECT_EQ(judge_limits(facts, 1)[1].verdict, Verdict::kWrong) << "locked memory";
  facts.locked_memory = -1;
  EXPECT_EQ(judge_limits(facts, 1)[1].verdict, Verdict::kOk);
  facts.open_files = 256;
  EXPECT_EQ(judge_limits(facts, 1)[0].verdict, Verdict::kWrong);
  facts.locale_known = false;
  EXPECT_EQ(judge_limits(facts, 1)[3].verdict, Verdict::kAbsent);
}

TEST(DoctorLibrary, AnOptionalOneMayBeAbsent) {
  EXPECT_EQ(judge_library({.name = "HDF5", .version = "1.10.8", .problem = {}}).verdict,
            Verdict::kOk);
  EXPECT_EQ(judge_library({.name = "HDF5", .version = {}, .problem = "gone"}).verdict,
            Verdict::kWrong);
  EXPECT_EQ(judge_library({.name = "OpenCV", .version = {}, .problem = "without", .optional = true})
                .verdict,
            Verdict::kAbsent);
}

TEST(DoctorPage, TextAndJsonHoldTheSame) {
  const Findings findings = {{.section = "machine",
                              .name = "CPU",
                              .found = "a \x1b[31mCPU",
                              .advice = {},
                              .figures = {{"flops", 1e9}, {"bad", NAN}}},
                             {.section = "machine",
                              .name = "disk",
                              .verdict = Verdict::kSlow,
                              .found = "50 MB/s",
                              .advice = "move",
                              .figures = {}},
                             {.section = "GPUs",
                              .name = "driver",
                              .verdict = Verdict::kAbsent,
                              .found = "\xff",
                              .advice = {},
                              .figures = {}}};
  const std::string text = section_text(findings, "machine");
  EXPECT_THAT(text, HasSubstr("ok      CPU"));
  EXPECT_THAT(text, HasSubstr("slow    disk                           50 MB/s; move\n"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << "nothing that a terminal obeys";
  EXPECT_EQ(verdict_counts(findings), "1 ok, 1 slow, 0 wrong, 1 absent");
  EXPECT_FALSE(any_wrong(findings));
  const auto json = nlohmann::json::parse(findings_json(findings, "vmla"));
  ASSERT_EQ(json["findings"].size(), 3U);
  EXPECT_EQ(json["findings"][1]["verdict"], "slow");
  EXPECT_EQ(json["findings"][0]["figures"], nlohmann::json({{"flops", 1e9}}));
}

}  // namespace
}  // namespace vmla::launch::doctor
