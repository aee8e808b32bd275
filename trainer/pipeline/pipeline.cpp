#include "trainer/pipeline/pipeline.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/cpu_threads.h"
#include "trainer/pipeline/run_folder.h"
#include "trainer/pipeline/stage_process.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

// The last signal that asked us to stop; 0: none. Written by the handler.
volatile std::sig_atomic_t stop_signal = 0;

void note_signal(int signal) {
  stop_signal = signal;
}

/// Catches the stopping signals while it lives.
class SignalScope {
 public:
  SignalScope() {
    stop_signal = 0;
    struct sigaction action{};
    action.sa_handler = note_signal;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      sigaction(kSignals[i], &action, &before_[i]);
      // Under nohup the hang-up is ignored, and stays so.
      const bool ignored = before_[i].sa_handler == SIG_IGN;
      if (kSignals[i] == SIGHUP && ignored) sigaction(SIGHUP, &before_[i], nullptr);
    }
  }
  ~SignalScope() {
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  static constexpr std::array<int, 4> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
  std::array<struct sigaction, 4> before_{};
};

/// A folder that goes away with its owner; a dry run leaves nothing behind.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_((fs::temp_directory_path() / "vmla-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) fail_run("{}: cannot create a temporary folder", path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path path() const { return path_; }

 private:
  std::string path_;
};

/// The pipeline as it runs: which stages are done, which run, which wait.
class Runner {
 public:
  /// The stages' complete configurations are written into `config_dir`, which exists.
  Runner(const PipelineConfig& pipeline, const PipelineOptions& options, fs::path config_dir)
      : options_(options),
        config_dir_(std::move(config_dir)),
        jobs_(options.dry_run    ? 1
              : options.jobs > 0 ? options.jobs
                                 : pipeline.jobs) {
    for (const auto& stage : pipeline.stages) waiting_.push_back(&stage);
  }

  int run() {
    const SignalScope signals;
    while (!waiting_.empty() || !running_.empty()) {
      start_ready();
      wait_a_moment();
      if (const int signal = std::exchange(stop_signal, 0); signal != 0) stop(signal, kStopped);
      collect();
      if (stopping_ && running_.empty()) return status_;
    }
    return status_;
  }

 private:
  struct Running {
    const PipelineStage* stage;
    std::unique_ptr<StageProcess> process;
  };

  bool is_ready(const PipelineStage& stage) const {
    return std::all_of(stage.after.begin(), stage.after.end(), [&](const auto& name) {
      return done_.contains(name);
    });
  }

  void start_ready() {
    if (stopping_) return;
    std::vector<const PipelineStage*> ready;
    for (const PipelineStage* stage : waiting_) {
      if (!is_ready(*stage)) continue;
      if (!options_.dry_run && is_finished(stage->run_dir, stage->config)) {
        skip(*stage);
      } else if (running_.size() + ready.size() < static_cast<size_t>(jobs_)) {
        ready.push_back(stage);
      }
    }
    std::erase_if(waiting_, [&](const auto* stage) { return done_.contains(stage->name); });
    for (const PipelineStage* stage : ready) start(*stage, running_.size() + ready.size() > 1);
  }

  void skip(const PipelineStage& stage) {
    for (const auto& name : stage.after) {
      if (ran_.contains(name)) {
        log::warn(
            "stage {} is finished and stays as it is, but {}, which it started from, was trained "
            "further; remove {} to train it again",
            stage.name,
            name,
            stage.run_dir.string());
      }
    }
    log::info("stage {}: finished before, skipped", stage.name);
    done_.insert(stage.name);
  }

  void start(const PipelineStage& stage, bool beside_others) {
    std::erase(waiting_, &stage);
    const fs::path config = config_dir_ / (stage.name + ".yaml");
    io::write_file_atomically(config, resolved_yaml(stage.config));
    const int64_t cores = available_cores();
    const int64_t share = beside_others ? std::max<int64_t>(1, cores / jobs_) : cores;
    const std::map<std::string, std::string> environment = {
        {"OMP_WAIT_POLICY", "PASSIVE"},
        {"OMP_NUM_THREADS", std::to_string(cpu_threads(stage.config, share))}};
    std::vector<std::string> argv;
    if (!options_.nproc_per_node.empty() && !options_.dry_run) {
      const auto launcher = options_.program.parent_path() / "vmla-launch";
      argv = {launcher.string(), "--standalone", "--nproc-per-node", options_.nproc_per_node, "--"};
    }
    argv.insert(argv.end(),
                {options_.program.string(),
                 "train",
                 "--config",
                 config.string(),
                 "--run-dir",
                 stage.run_dir.string()});
    if (options_.dry_run) argv.push_back("--dry-run");
    log::info("stage {}: {}", stage.name, stage.run_dir.string());
    for (const auto& note : stage.notes) log::info("  " + note);
    running_.push_back({&stage,
                        std::make_unique<StageProcess>(
                            argv, environment, beside_others ? "[" + stage.name + "] " : "")});
    ran_.insert(stage.name);
  }

  void wait_a_moment() {
    // Short enough not to matter beside a stage, long enough to cost nothing.
    constexpr int kWaitMs = 50;
    for (auto& running : running_) running.process->pump(kWaitMs);
  }

  void stop(int signal, int status) {
    stopping_ = true;
    if (status_ == 0) status_ = status;
    for (auto& running : running_) running.process->send(signal);
  }

  void collect() {
    for (auto it = running_.begin(); it != running_.end();) {
      StageExit how;
      if (!it->process->ended(how)) {
        ++it;
        continue;
      }
      finish(*it->stage, how);
      it = running_.erase(it);
    }
  }

  void finish(const PipelineStage& stage, const StageExit& how) {
    if (how.status == kDone) {
      done_.insert(stage.name);
      return;
    }
    // Stopped on our signal before it had installed its own handler: there was nothing to save yet.
    const bool stopped = how.status == kStopped || (how.killed && stopping_);
    if (how.killed && !stopped) {
      log::error(
          "vmla: error: stage {} was killed by signal {}; run the same command again to go on from "
          "its last checkpoint",
          stage.name,
          how.status - 128);
    } else {
      log::info("stage {}{}", stage.name, stopped ? ": stopped" : ": failed");
    }
    // The others save; what is done stays done.
    if (!stopping_)
      stop(SIGTERM, stopped ? kStopped : how.status == kWrongInput ? kWrongInput : kFault);
  }

  const PipelineOptions& options_;
  fs::path config_dir_;
  int64_t jobs_;
  std::vector<const PipelineStage*> waiting_;
  std::list<Running> running_;
  std::set<std::string> done_, ran_;
  bool stopping_ = false;
  int status_ = 0;
};

// What a reader needs to know of the pipeline; also marks the folder as a pipeline's.
std::string pipeline_yaml(const PipelineConfig& pipeline) {
  ConfigNode root, stages;
  root.kind = ConfigNode::Kind::kMap;
  stages.kind = ConfigNode::Kind::kList;
  for (const auto& stage : pipeline.stages) {
    ConfigNode entry;
    entry.kind = ConfigNode::Kind::kMap;
    entry.entries.push_back({"name", scalar_node(stage.name, true)});
    entry.entries.push_back({"config", scalar_node("configs/" + stage.name + ".yaml", true)});
    stages.items.push_back(std::move(entry));
  }
  root.entries.push_back({"name", scalar_node(pipeline.name, true)});
  root.entries.push_back({"jobs", scalar_node(std::to_string(pipeline.jobs), false)});
  root.entries.push_back({"stages", std::move(stages)});
  return to_yaml(root);
}

void write_summary(const PipelineConfig& pipeline) {
  nlohmann::ordered_json summary;
  summary["pipeline"] = pipeline.name;
  summary["stages"] = nlohmann::ordered_json::object();
  for (const auto& stage : pipeline.stages) {
    const fs::path file = stage.run_dir / "summary.json";
    auto content = nlohmann::ordered_json::parse(io::read_text_file(file), nullptr, false);
    if (content.is_discarded())
      fail_run("{}: is not valid JSON; remove it and run the stage again", file.string());
    summary["stages"][stage.name] = std::move(content);
  }
  io::write_file_atomically(pipeline.run_dir / "summary.json", summary.dump(2) + "\n");
}

}  // namespace

int run_pipeline(const PipelineConfig& pipeline, const PipelineOptions& options) {
  if (options.dry_run) {
    const TemporaryFolder configs;
    return Runner(pipeline, options, configs.path()).run();
  }
  const RunFolder folder(pipeline.run_dir, RunFolder::Kind::kPipeline);
  io::write_file_atomically(pipeline.run_dir / "pipeline.yaml", pipeline_yaml(pipeline));
  log::set_file(pipeline.run_dir / "log.txt");
  fs::create_directories(pipeline.run_dir / "configs");
  const int status = Runner(pipeline, options, pipeline.run_dir / "configs").run();
  if (status == 0) write_summary(pipeline);
  return status;
}

}  // namespace vmla::trainer
