// vmla-launch's command line.
#include "launch/launcher/launch_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LaunchRequest parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"vmla-launch"};
  for (const auto& word : words) argv.push_back(word.c_str());
  return parse_launch_options(static_cast<int>(argv.size()), argv.data());
}

TEST(LaunchOptions, Defaults) {
  const LaunchOptions options = parse({"--", "sleep", "1"}).options;
  EXPECT_EQ(options.workers, 1);
  EXPECT_EQ(options.nodes, 1);
  EXPECT_EQ(options.max_restarts, 0);
  EXPECT_FALSE(options.endpoint);
  EXPECT_EQ(options.grace.count(), 10'000);
  EXPECT_EQ(options.heartbeat_timeout.count(), 10'000);
  EXPECT_EQ(options.cpu_binding, CpuBinding::kNone);
  EXPECT_THAT(options.program, ElementsAre("sleep", "1"));
}

TEST(LaunchOptions, Everything) {
  const LaunchOptions options = parse({"--nproc-per-node=4",
                                       "--nnodes",
                                       "3",
                                       "--node-rank",
                                       "2",
                                       "--rdzv-endpoint",
                                       "node0:29400",
                                       "--max-restarts",
                                       "5",
                                       "--log-dir",
                                       "logs",
                                       "--cpu-bind",
                                       "numa",
                                       "--grace",
                                       "0.5",
                                       "--rdzv-timeout",
                                       "2",
                                       "--heartbeat-timeout",
                                       "3.5",
                                       "--",
                                       "program",
                                       "--config",
                                       "--",
                                       "x"})
                                    .options;
  EXPECT_EQ(options.workers, 4);
  EXPECT_EQ(options.nodes, 3);
  EXPECT_EQ(options.node, 2);
  EXPECT_EQ(options.endpoint->host, "node0");
  EXPECT_EQ(options.endpoint->port, 29400);
  EXPECT_EQ(options.max_restarts, 5);
  EXPECT_EQ(options.log_dir, "logs");
  EXPECT_EQ(options.cpu_binding, CpuBinding::kNuma);
  EXPECT_EQ(options.grace.count(), 500);
  EXPECT_EQ(options.rendezvous_timeout.count(), 2000);
  EXPECT_EQ(options.heartbeat_timeout.count(), 3500);
  EXPECT_THAT(options.program, ElementsAre("program", "--config", "--", "x"));
}

TEST(LaunchOptions, HelpTeaches) {
  const std::string text = *parse({"--help"}).text;
  for (const char* part : {"-- PROGRAM ARGS...", "--max-restarts", "Examples:", "Exit status:"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(*parse({"--version"}).text, HasSubstr("vmla-launch "));
}

TEST(LaunchOptions, MistakesAreOneLine) {
  struct Case {
    std::vector<std::string> words;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases = {
      {{}, {"no program given", "after --"}},
      {{"--nproc-per-node", "2", "--"}, {"no program given"}},
      {{"build/vmla", "train"}, {"'build/vmla'", "after --"}},
      {{"--nproc", "2", "--", "x"}, {"unknown flag --nproc", "--nproc-per-node"}},
      {{"--nproc-per-node", "two", "--", "x"}, {"--nproc-per-node two", "cpu or gpu"}},
      {{"--nproc-per-node", "0", "--", "x"}, {"--nproc-per-node 0"}},
      {{"--max-restarts", "-1", "--", "x"}, {"--max-restarts", "-1"}},
      {{"--max-restarts", "1.5", "--", "x"}, {"1.5 is not an integer"}},
      {{"--grace", "0", "--", "x"}, {"--grace", "above 0"}},
      {{"--heartbeat-timeout", "nan", "--", "x"}, {"nan"}},
      {{"--cpu-bind", "gpu", "--", "x"}, {"--cpu-bind", "cores"}},
      {{"--nnodes", "2", "--", "x"}, {"--node-rank"}},
      {{"--nnodes", "2", "--node-rank", "1", "--", "x"}, {"--rdzv-endpoint HOST:PORT"}},
      {{"--nnodes", "2", "--node-rank", "2", "--rdzv-endpoint", "a:1", "--", "x"},
       {"--node-rank 2", "from 0 to 1"}},
      {{"--node-rank", "1", "--", "x"}, {"--node-rank 1", "--nnodes"}},
      {{"--standalone", "--nnodes", "2", "--", "x"}, {"--standalone", "--nnodes 2"}},
      {{"--standalone", "--rdzv-endpoint", "a:1", "--", "x"}, {"--standalone"}},
  };
  for (const Case& c : cases) {
    const std::string said = error_of<UserError>([&] { parse(c.words); });
    for (const auto& part : c.says) EXPECT_THAT(said, HasSubstr(part));
  }
}

}  // namespace
}  // namespace vmla::launch
