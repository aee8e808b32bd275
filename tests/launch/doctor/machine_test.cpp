// What is read from the system's files, from made-up files and from this machine.
#include "launch/doctor/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "launch/doctor/other_programs.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch::doctor {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Machine : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  const TemporaryFolder folder_;
};

TEST_F(Machine, CpuAndItsQuota) {
  write("proc/cpuinfo",
        "processor\t: 0\nmodel name\t: Some CPU 7\nflags\t\t: fpu avx2 fma avx512f\n");
  write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  const CpuFacts facts = measure_cpu(folder_.path());
  EXPECT_EQ(facts.model, "Some CPU 7");
  EXPECT_THAT(facts.vectors, ElementsAre("avx2", "fma", "avx512f"));
  EXPECT_DOUBLE_EQ(facts.quota, 1.5);
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(measure_cpu(folder_.path()).quota, 0);
}

TEST_F(Machine, MemoryAndItsLimit) {
  write("proc/meminfo", "MemTotal:       2000000 kB\nMemFree: 1 kB\nMemAvailable:   1000000 kB\n");
  EXPECT_EQ(measure_memory(folder_.path()).total, 2000000.0 * 1024);
  EXPECT_EQ(measure_memory(folder_.path()).available, 1000000.0 * 1024);
  write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(measure_memory(folder_.path()).group_limit, 0);
  write("sys/fs/cgroup/memory.max", "500000000\n");
  write("sys/fs/cgroup/memory.current", "100000000\n");
  EXPECT_EQ(measure_memory(folder_.path()).group_limit, 5e8);
  EXPECT_EQ(measure_memory(folder_.path()).group_used, 1e8);
}

TEST_F(Machine, TheSmallestLimitOfAllGroupsHolds) {
  write("proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\n");
  write("proc/self/cgroup", "0::/batch/job_7/task\n");
  write("sys/fs/cgroup/batch/memory.max", "9000000000\n");
  write("sys/fs/cgroup/batch/job_7/memory.max", "4000000000\n");
  write("sys/fs/cgroup/batch/job_7/memory.current", "1000000000\n");
  write("sys/fs/cgroup/batch/job_7/task/memory.max", "max\n");
  write("sys/fs/cgroup/batch/job_7/cpu.max", "400000 100000\n");
  EXPECT_EQ(measure_memory(folder_.path()).group_limit, 4e9);
  EXPECT_EQ(measure_memory(folder_.path()).group_used, 1e9);
  EXPECT_EQ(measure_cpu(folder_.path()).quota, 4);
}

TEST_F(Machine, GroupsOfVersion1) {
  write("proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\n");
  write("proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2000000000\n");
  write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(measure_memory(folder_.path()).group_limit, 2e9);
  EXPECT_EQ(measure_cpu(folder_.path()).quota, 1.5);
}

TEST_F(Machine, WithoutFilesThereAreNoFigures) {
  EXPECT_EQ(measure_cpu(folder_.path()).model, "");
  EXPECT_EQ(measure_memory(folder_.path()).total, 0);
}

TEST_F(Machine, TheDiskIsTriedAndLeftAsItWas) {
  const DiskFacts facts = measure_disk(folder_.path());
  EXPECT_EQ(facts.problem, "");
  EXPECT_GT(facts.write_rate, 0);
  EXPECT_GT(facts.read_rate, 0);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  EXPECT_THAT(measure_disk(folder_ / "none").problem, HasSubstr("No such file"));
}

TEST(OtherPrograms, EndsOutputsAndTime) {
  EXPECT_EQ(ask_program("/bin/echo", {"hello"}, 5).out, "hello\n");
  EXPECT_THAT(ask_program("/bin/echo", {"hello"}, 5).problem, IsEmpty());
  EXPECT_THAT(ask_program("/bin/false", {}, 5).problem, HasSubstr("status 1"));
  EXPECT_THAT(ask_program("/no/such/program", {}, 5).problem, HasSubstr("No such file"));
  const ProgramAnswer late = ask_program("/bin/sleep", {"60"}, 0.1);
  EXPECT_THAT(late.problem, HasSubstr("did not end within 0.1 s"));
  EXPECT_LT(late.seconds, 10);
  EXPECT_LE(ask_program("/usr/bin/head", {"-c", "300000", "/dev/zero"}, 5).out.size(), 65536U);
}

TEST(OtherPrograms, TellTheirLibraries) {
  const fs::path build = VMLA_BUILD_DIR;
  const ProgramAnswer hdf5 = ask_program(build / "vmla-hdf5", {"--libraries"}, 10);
  EXPECT_EQ(hdf5.problem, "");
  EXPECT_THAT(hdf5.out, ::testing::StartsWith("HDF5 1."));
  const ProgramAnswer opencv = ask_program(build / "vmla-decode", {"--libraries"}, 10);
  EXPECT_EQ(opencv.problem, "");
  EXPECT_TRUE(opencv.out.empty() || opencv.out.starts_with("OpenCV ")) << opencv.out;
}

}  // namespace
}  // namespace vmla::launch::doctor
