#include "trainer/pipeline/pipeline_runner.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
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
#include "trainer/pipeline/stopping_signals.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// The pipeline as it runs: which stages are done, which run, which wait. One thread; the stages
/// are processes.
class Runner {
 public:
  Runner(const PipelineConfig& pipeline, const PipelineOptions& options, fs::path config_dir)
      : options_(options),
        config_dir_(std::move(config_dir)),
        jobs_(options.dry_run    ? 1
              : options.jobs > 0 ? options.jobs
                                 : pipeline.jobs) {
    for (const auto& stage : pipeline.stages) {
      waiting_.push_back(&stage);
      numbers_.emplace(stage.name, numbers_.size() + 1);
      labels_.emplace(stage.name, stage.label.empty() ? stage.name : stage.label);
    }
  }

  int run() {
    StoppingSignals signals;
    while (!waiting_.empty() || !running_.empty()) {
      start_ready();
      wait_a_moment();
      if (const int signal = signals.take(); signal != 0) stop(signal, kStopped);
      collect();
      show_progress();
      if (stopping_ && running_.empty()) return status_;
    }
    bar_.reset();
    log::info("{} stages in {}", numbers_.size(), log::clock_text(seconds_since(begun_)));
    return failed_.empty() ? status_ : kFault;
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    const PipelineStage* stage;
    std::unique_ptr<StageProcess> process;
    bool beside_others;
    Clock::time_point since = Clock::now();
  };

  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  /// Whether every stage that it starts from is done.
  bool is_ready(const PipelineStage& stage) const {
    return std::all_of(stage.after.begin(), stage.after.end(), [&](const auto& name) {
      return done_.contains(name);
    });
  }

  /// Skips what was finished before, and starts as many stages as there is room for.
  void start_ready() {
    if (stopping_) return;
    give_up_waiting();
    std::vector<const PipelineStage*> ready;
    for (const PipelineStage* stage : waiting_) {
      if (!is_ready(*stage)) continue;
      if (!options_.dry_run && is_finished(stage->run_dir, stage->config)) {
        skip(*stage);
      } else if (running_.size() + ready.size() < static_cast<size_t>(jobs_) && !is_held(*stage)) {
        ready.push_back(stage);
      }
    }
    std::erase_if(waiting_, [&](const auto* stage) { return done_.contains(stage->name); });
    for (const PipelineStage* stage : ready) start(*stage, running_.size() + ready.size() > 1);
  }

  /// Whether the stage's folder is in use: by a process of an earlier start, which saves and ends
  /// when its parent was killed, or by another program that trains the stage, too. It is waited for
  /// as long as the options say; after that the stage is started all the same, and says who has its
  /// folder.
  bool is_held(const PipelineStage& stage) {
    constexpr std::chrono::seconds kLongest(60);
    const std::string holder = options_.dry_run ? "" : holder_of(stage.run_dir);
    if (holder.empty()) return false;
    const auto [since, is_new] = held_since_.emplace(stage.name, Clock::now());
    if (is_new)
      log::info("stage {}: waiting for {}, which has its folder", labels_.at(stage.name), holder);
    return options_.wait_for_others || Clock::now() - since->second < kLongest;
  }

  /// Drops the stages that start from one that failed. A stage comes after those it starts from,
  /// so one pass finds the whole line of descent.
  void give_up_waiting() {
    std::erase_if(waiting_, [&](const PipelineStage* stage) {
      const auto lost = std::ranges::find_if(
          stage->after, [&](const auto& name) { return failed_.contains(name); });
      if (lost == stage->after.end()) return false;
      end(*stage, formatted("not started: {} failed", labels_.at(*lost)));
      return true;
    });
  }

  /// Notes that a stage is finished, or why it is not.
  void end(const PipelineStage& stage, const std::string& failure) {
    (failure.empty() ? done_ : failed_).insert(stage.name);
    if (options_.on_end) options_.on_end(stage.name, failure);
  }

  void skip(const PipelineStage& stage) {
    for (const auto& name : stage.after) {
      if (ran_.contains(name)) {
        log::warn(
            "stage {} is finished and stays as it is, but {}, which it started from, was trained "
            "further; remove {} to train it again",
            labels_.at(stage.name),
            labels_.at(name),
            stage.run_dir.string());
      }
    }
    log::info("stage {}: finished before, skipped", labels_.at(stage.name));
    end(stage, "");
  }

  void start(const PipelineStage& stage, bool beside_others) {
    std::erase(waiting_, &stage);
    const fs::path config = config_dir_ / (stage.name + ".yaml");
    io::write_file_atomically(config, resolved_yaml(stage.config));
    const int64_t cores = available_cores();
    // Stages that are compared get the same share, alone or not: another number of threads adds in
    // another order.
    const int64_t share =
        beside_others || options_.keep_going ? std::max<int64_t>(1, cores / jobs_) : cores;
    const std::map<std::string, std::string> environment = {
        {"OMP_WAIT_POLICY", "PASSIVE"},
        {"OMP_NUM_THREADS", std::to_string(cpu_threads(stage.config, share))}};
    log::info("stage {}: {} of {}, in {}",
              labels_.at(stage.name),
              numbers_.at(stage.name),
              numbers_.size(),
              stage.run_dir.string());
    for (const auto& note : stage.notes) log::info("  {}", note);
    const bool shown_alone = !beside_others && !options_.keep_going;
    const std::string prefix = shown_alone ? "" : formatted("[{}] ", labels_.at(stage.name));
    running_.push_back(
        {&stage,
         std::make_unique<StageProcess>(command_of(stage, config), environment, prefix),
         !shown_alone});
    ran_.insert(stage.name);
  }

  /// `vmla-core train ...`, under vmla-launch where the stages are to have several ranks.
  std::vector<std::string> command_of(const PipelineStage& stage, const fs::path& config) const {
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
    return argv;
  }

  /// A bar over all stages while some run side by side. A stage that runs alone has the terminal to
  /// itself, and shows a bar of its own.
  void show_progress() {
    const bool shown = std::any_of(running_.begin(), running_.end(), [](const auto& running) {
      return running.beside_others;
    });
    if (!shown) return bar_.reset();
    if (!bar_) bar_.emplace("stages", static_cast<long>(numbers_.size()));
    std::string note = log::clock_text(seconds_since(begun_)) + ";";
    for (const auto& running : running_)
      note += formatted(
          " {} {}", labels_.at(running.stage->name), log::clock_text(seconds_since(running.since)));
    bar_->update(static_cast<long>(done_.size()), note);
  }

  /// Passes on what the stages print, and sleeps meanwhile.
  void wait_a_moment() {
    // Short enough not to matter beside a stage, long enough to cost nothing.
    constexpr int kWaitMs = 50;
    if (running_.empty() && !waiting_.empty()) poll(nullptr, 0, kWaitMs);  // a signal ends it
    for (auto& running : running_) running.process->pump(kWaitMs);
  }

  /// Ends the pipeline with `status`: no stage starts any more, and those that run are sent
  /// `signal`.
  void stop(int signal, int status) {
    stopping_ = true;
    if (status_ == 0) status_ = status;
    for (auto& running : running_) running.process->send(signal);
  }

  /// Takes note of the stages that have ended.
  void collect() {
    for (auto it = running_.begin(); it != running_.end();) {
      StageExit how;
      if (!it->process->ended(how)) {
        ++it;
        continue;
      }
      finish(*it->stage, how, it->process->last_error());
      it = running_.erase(it);
    }
  }

  void finish(const PipelineStage& stage, const StageExit& how, const std::string& last_error) {
    if (how.status == 0) return end(stage, "");
    if (options_.wait_for_others && !stopping_ && !holder_of(stage.run_dir).empty()) {
      waiting_.push_back(&stage);  // another program began to train it at the same moment
      return;
    }
    // A stage that was asked to stop before it installed its handler had nothing to save yet.
    const bool asked = how.killed && (stopping_ || StoppingSignals::includes(how.status - 128));
    const bool stopped = how.status == kStopped || asked;
    if (how.killed && !stopped) {
      log::error(
          "vmla: error: stage {} was killed by signal {}; run the same command again to go on from "
          "its last checkpoint",
          labels_.at(stage.name),
          how.status - 128);
    } else {
      log::info("stage {}{}", labels_.at(stage.name), stopped ? ": stopped" : ": failed");
    }
    if (options_.keep_going && !stopped) {
      end(stage,
          how.killed           ? formatted("killed by signal {}", how.status - 128)
          : last_error.empty() ? formatted("ended with status {}", how.status)
                               : last_error);
      return;
    }
    // The other stages save and end too; the next start goes on with all of them.
    if (!stopping_)
      stop(SIGTERM, stopped ? kStopped : how.status == kWrongInput ? kWrongInput : kFault);
  }

  const PipelineOptions& options_;
  fs::path config_dir_;
  int64_t jobs_;
  std::vector<const PipelineStage*> waiting_;
  std::list<Running> running_;
  std::set<std::string> done_;    // finished, now or before
  std::set<std::string> failed_;  // with keep_going: ended without success, or not started
  std::set<std::string> ran_;     // started here
  std::map<std::string, Clock::time_point> held_since_;  // by name: not startable since then
  std::map<std::string, size_t> numbers_;      // of all stages, from 1, in the pipeline's order
  std::map<std::string, std::string> labels_;  // by name: what the terminal calls them
  Clock::time_point begun_ = Clock::now();
  std::optional<log::ProgressBar> bar_;
  bool stopping_ = false;
  int status_ = 0;
};

}  // namespace

int run_stages(const PipelineConfig& pipeline,
               const PipelineOptions& options,
               const fs::path& config_dir) {
  return Runner(pipeline, options, config_dir).run();
}

}  // namespace vmla::trainer
