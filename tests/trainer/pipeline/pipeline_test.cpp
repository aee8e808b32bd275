// Pipeline files, and the runner on a stand-in for the training program.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>

#include "model/io/error.h"
#include "model/io/file_lock.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/pipeline.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;
using testing::TemporaryFolder;
using ::testing::UnorderedElementsAre;

std::string text_of(const fs::path& file) {
  std::ostringstream out;
  out << std::ifstream(file).rdbuf();
  return out.str();
}

/// A pipeline of one dense stage and two that start from it.
class Pipeline : public ::testing::Test {
 protected:
  Pipeline() {
    folder_.write("dense.yaml",
                  "model: {preset: tiny}\nobjective: {name: flow_matching}\ndata: {path: x}\n"
                  "ema: {decay: 0.9}\n");
    folder_.write("mla.yaml",
                  "model: {preset: tiny, attention: mla}\ninit: {method: svd_weight}\n"
                  "init_from: {generator: {stage: zero}}\ndata: {path: x}\n");
    write(
        "name: p\njobs: 2\nstages:\n- {name: zero, config: dense.yaml}\n- {name: a, config: "
        "mla.yaml}\n"
        "- {name: b, config: mla.yaml, set: {init.method: random, seed: 3}}\n");
  }
  void write(const std::string& text) { file_ = folder_.write("p.yaml", text); }
  PipelineConfig load(const std::vector<std::string>& overrides = {}) {
    return load_pipeline(file_, overrides, folder_.path() / "run");
  }
  std::string error(const std::vector<std::string>& overrides = {}) {
    return message_of<UserError>([&] { load(overrides); });
  }
  /// A program with the command line of vmla-core (`train --config F --run-dir D ...`) whose body
  /// is this shell text: it sees CONFIG, RUN and NAME, and records its start in calls.txt.
  fs::path program(const std::string& body) {
    const fs::path file =
        folder_.write("core",
                      "#!/bin/sh\nCONFIG=\"$3\"; RUN=\"$5\"; NAME=$(basename \"$RUN\")\n"
                      "echo $NAME >> " +
                          (folder_.path() / "calls.txt").string() +
                          "\n"
                          "finish() { mkdir -p \"$RUN\"; cp \"$CONFIG\" \"$RUN/config.yaml\"; "
                          "echo '{\"loss\": 1}' > \"$RUN/summary.json\"; }\n" +
                          body + "\n");
    chmod(file.c_str(), 0755);
    return file;
  }
  int run(const std::string& body,
          const std::vector<std::string>& overrides = {},
          bool dry_run = false) {
    const PipelineConfig pipeline = load(overrides);
    return run_pipeline(pipeline, {.program = program(body), .jobs = 0, .dry_run = dry_run});
  }
  std::vector<std::string> calls() const {
    std::vector<std::string> names;
    std::ifstream in(folder_.path() / "calls.txt");
    for (std::string line; std::getline(in, line);) names.push_back(line);
    return names;
  }

  TemporaryFolder folder_;
  fs::path file_;
};

TEST_F(Pipeline, ResolvesStagesRolesAndSettings) {
  const PipelineConfig pipeline = load({"b.train.steps=7"});
  ASSERT_EQ(pipeline.stages.size(), 3u);
  EXPECT_EQ(pipeline.name, "p");
  EXPECT_EQ(pipeline.jobs, 2);
  const PipelineStage& a = pipeline.stages[1];
  const PipelineStage& b = pipeline.stages[2];
  EXPECT_EQ(a.config.stage, "a");
  EXPECT_EQ(a.run_dir, folder_.path() / "run/a");
  EXPECT_EQ(a.config.init_from.at("generator"),
            (InitSource{(folder_.path() / "run/zero").string(), "zero", "generator_ema", ""}));
  EXPECT_THAT(a.after, ElementsAre("zero"));
  EXPECT_THAT(a.notes,
              ElementsAre("a: generator starts from generator_ema of stage zero (by default)"));
  EXPECT_EQ(b.config.init.method, "random");
  EXPECT_EQ(b.config.seed, 3);
  EXPECT_EQ(b.config.train.steps, 7);
  EXPECT_EQ(a.config.train.steps, TrainSection{}.steps);
  // What a stage's process is given is a complete stage file.
  EXPECT_EQ(load_config(parse_yaml(resolved_yaml(a.config), "r"), Purpose::kTrain), a.config);
}

TEST_F(Pipeline, RoleFollowsWhatTheStageSaves) {
  EXPECT_EQ(load({"zero.ema.decay=0"}).stages[1].config.init_from.at("generator").role,
            "generator");
  EXPECT_THAT(
      error({"zero.ema.decay=0", "a.init_from.generator.role=generator_ema"}),
      HasSubstr("init_from.generator.role: stage zero saves no 'generator_ema'; valid: generator"));
}

TEST_F(Pipeline, DefaultRunFolderIsNamedAfterIt) {
  EXPECT_EQ(load_pipeline(file_, {}, "").run_dir, fs::path("runs/p"));
}

TEST_F(Pipeline, MistakesNameFileAndLine) {
  EXPECT_EQ(error({"c.train.steps=7"}),
            "--set c.train.steps=7: no stage 'c'; write STAGE.key=value with one of: zero, a, b");
  EXPECT_EQ(error({"a.train.stepz=7"}).substr(0, 64),
            "--set a.train.stepz=7: unknown key train.stepz; did you mean tra");
  EXPECT_THAT(error({"a"}), HasSubstr("write STAGE.key=value"));
  EXPECT_THAT(error({"a.init_from.generator.stage=b"}),
              HasSubstr("no stage 'b' before a; valid: zero"));
  EXPECT_THAT(error({"a.init_from.generator.stage=a"}),
              HasSubstr("no stage 'a' before a; valid: zero"));
  EXPECT_THAT(
      error({"a.model.dim=128", "a.init.method=random", "a.model.v_head_dim=32"}),
      HasSubstr("stage a: model.dim: 128, but stage zero, whose weights it starts from, has 64"));
  EXPECT_THAT(error({"a.init.method=\"\""}),
              HasSubstr("init.method: is missing: stage zero is dense and this model is mla"));
  EXPECT_THAT(error({"zero.model.attention=mla"}),
              HasSubstr("svd_weight converts dense weights, but stage zero is mla already"));

  write("stages:\n- {name: a, config: none.yaml}\n");
  EXPECT_THAT(
      error(),
      AllOf(StartsWith(file_.string() + ":2: stages[0].config: no file "), HasSubstr("none.yaml")));
  write("stages:\n- {name: a, config: dense.yaml}\n- {name: a, config: dense.yaml}\n");
  EXPECT_EQ(
      error(),
      file_.string() + ":3: stages[1].name: 'a' is given twice, first at " + file_.string() + ":2");
  write("stages:\n- {name: a.b, config: dense.yaml}\n");
  EXPECT_THAT(error(), HasSubstr("stages[0].name: 'a.b' is no name"));
  write("stages:\n- {name: a, config: dense.yaml, sett: {}}\n");
  EXPECT_THAT(error(), HasSubstr(":2: unknown key stages[0].sett; did you mean stages[0].set?"));
  write("stage: []\n");
  EXPECT_THAT(error(),
              HasSubstr(":1: unknown key stage; did you mean stages? valid: name, jobs, stages"));
  write("jobs: 0\nstages:\n- {name: a, config: dense.yaml}\n");
  EXPECT_THAT(error(), HasSubstr(":1: jobs: 0 is too small"));
  write("stages: []\n");
  EXPECT_THAT(error(), HasSubstr("stages: a list is not a list of {name, config, set}"));
}

TEST_F(Pipeline, RunsInOrderThenSkipsWhatIsFinished) {
  EXPECT_EQ(run("finish"), 0);
  ASSERT_EQ(calls().size(), 3u);
  EXPECT_EQ(calls()[0], "zero");
  const auto summary = nlohmann::json::parse(text_of(folder_.path() / "run/summary.json"));
  EXPECT_EQ(summary["pipeline"], "p");
  EXPECT_EQ(summary["stages"]["b"]["loss"], 1);
  EXPECT_EQ(run("finish"), 0);
  EXPECT_EQ(calls().size(), 3u);
  // A stage whose settings changed runs again, alone.
  EXPECT_EQ(run("finish", {"b.train.steps=9"}), 0);
  EXPECT_EQ(calls().size(), 4u);
  EXPECT_EQ(calls().back(), "b");
}

TEST_F(Pipeline, DryRunAsksEveryStageAndLeavesNothing) {
  EXPECT_EQ(run("case \" $* \" in *' --dry-run '*) ;; *) exit 3;; esac", {}, true), 0);
  EXPECT_THAT(calls(), ElementsAre("zero", "a", "b"));
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

TEST_F(Pipeline, AFailingStageEndsItWithItsStatusAndLaterStagesDoNotStart) {
  EXPECT_EQ(run("exit 2"), 2);
  EXPECT_THAT(calls(), ElementsAre("zero"));
  EXPECT_EQ(run("exit 1"), 1);
  EXPECT_EQ(run("exit 75"), 75);
  EXPECT_EQ(run("kill -9 $$"), 1);
  EXPECT_FALSE(fs::exists(folder_.path() / "run/summary.json"));
}

TEST_F(Pipeline, StagesSideBySideAreStoppedTogether) {
  // `a` fails at once; `b` would take a minute, but saves when asked to. Its sleep must end with
  // it: whoever reads this test's output (ctest does) waits for every process that holds it.
  const std::string body =
      "case $NAME in zero) finish;; a) sleep 0.3; exit 2;; "
      "b) trap 'touch \"$(dirname \"$RUN\")/b-saved\"; kill $!; exit 75' TERM; sleep 60 & wait;; "
      "esac";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run(body), 2);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_TRUE(fs::exists(folder_.path() / "run/b-saved"));
}

TEST_F(Pipeline, KeepingGoingEndsOnlyWhatStartsFromAFailedStage) {
  write(
      "stages:\n- {name: zero, config: dense.yaml}\n- {name: a, config: mla.yaml}\n"
      "- {name: c, config: mla.yaml, set: {init_from.generator: {stage: a}, init.method: \"\"}}\n"
      "- {name: b, config: mla.yaml}\n");
  std::map<std::string, std::string> ends;
  const PipelineConfig pipeline = load();
  const auto run_keeping = [&](const std::string& body) {
    ends.clear();
    const fs::path core = program(body);
    return run_pipeline(pipeline,
                        {.program = core,
                         .jobs = 2,
                         .keep_going = true,
                         .on_end = [&](const auto& stage, const auto& why) { ends[stage] = why; }});
  };
  EXPECT_EQ(
      run_keeping("case $NAME in a) echo 'vmla: error: no memory' >&2; exit 2;; esac; finish"), 1);
  EXPECT_EQ(ends,
            (std::map<std::string, std::string>{
                {"zero", ""}, {"a", "no memory"}, {"b", ""}, {"c", "not started: a failed"}}));
  // What had failed is tried again; what was finished is only skipped.
  EXPECT_EQ(run_keeping("case $NAME in a) kill -9 $$;; esac; finish"), 1);
  EXPECT_EQ(ends["a"], "killed by signal 9");
  EXPECT_EQ(run_keeping("finish"), 0);
  EXPECT_THAT(calls(), UnorderedElementsAre("zero", "a", "b", "a", "a", "c"));
}

TEST_F(Pipeline, WaitsForAProcessOfAnEarlierStartThatStillSaves) {
  folder_.write("run/pipeline.yaml", "name: p\n");  // the earlier start's
  auto lock = io::FileLock::try_now(folder_.path() / "run/zero/run.lock");
  ASSERT_TRUE(lock);
  std::atomic<bool> released = false;
  std::thread saving([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    released = !fs::exists(folder_.path() / "calls.txt");  // nothing has started meanwhile
    lock.reset();
  });
  EXPECT_EQ(run("finish"), 0);
  saving.join();
  EXPECT_TRUE(released);
  EXPECT_EQ(calls().size(), 3u);
}

TEST_F(Pipeline, PassesSignalsOnAndReportsTheStop) {
  const PipelineConfig pipeline = load();
  const fs::path core = program("trap 'kill $!; exit 75' INT; touch " +
                                (folder_.path() / "up").string() + "; sleep 60 & wait");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(run_pipeline(pipeline, {.program = core, .jobs = 0, .dry_run = false}));
  for (int i = 0; i < 400 && !fs::exists(folder_.path() / "up"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  kill(child, SIGINT);
  int state = 0;
  waitpid(child, &state, 0);
  ASSERT_TRUE(WIFEXITED(state));
  EXPECT_EQ(WEXITSTATUS(state), 75);
}

TEST_F(Pipeline, SideBySideLinesCarryTheStagesName) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(run("echo first; printf 'no end'; echo wrong >&2; finish"), 0);
  const std::string out = ::testing::internal::GetCapturedStdout();
  const std::string err = ::testing::internal::GetCapturedStderr();
  // `zero` runs alone and writes by itself; the other two pass through the pipeline, whole lines
  // only.
  for (const char* line :
       {"\nfirst\n", "[a] first\n", "[b] first\n", "[a] no end\n", "[b] no end\n"}) {
    EXPECT_THAT(out, HasSubstr(line));
  }
  for (const char* line : {"[a] wrong\n", "[b] wrong\n"}) EXPECT_THAT(err, HasSubstr(line));
}

TEST_F(Pipeline, GivesEveryStageItsShareOfTheCores) {
  ASSERT_EQ(setenv("OMP_NUM_THREADS", "6", 1), 0);
  const std::string body =
      "echo $OMP_NUM_THREADS $OMP_WAIT_POLICY > \"$(dirname \"$RUN\")/$NAME.threads\"; finish";
  EXPECT_EQ(run(body,
                {"zero.model.dim=512",
                 "a.model.dim=512",
                 "b.train.threads=5",
                 "a.init.method=random",
                 "a.model.num_heads=32",
                 "zero.model.num_heads=32",
                 "b.model.dim=512",
                 "b.model.num_heads=32"}),
            0);
  ASSERT_EQ(unsetenv("OMP_NUM_THREADS"), 0);
  EXPECT_EQ(text_of(folder_.path() / "run/zero.threads"), "6 PASSIVE\n");  // alone
  EXPECT_EQ(text_of(folder_.path() / "run/a.threads"), "3 PASSIVE\n");     // one of two
  EXPECT_EQ(text_of(folder_.path() / "run/b.threads"), "5 PASSIVE\n");     // what its file says
}

}  // namespace
}  // namespace vmla::trainer
