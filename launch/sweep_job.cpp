#include "launch/sweep_job.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "analysis/runs/run_reading.h"
#include "analysis/sweep/earlier_tables.h"
#include "launch/sweep_progress.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/pipeline/pipeline_runner.h"
#include "trainer/pipeline/run_folder.h"
#include "trainer/plan_checks.h"
#include "trainer/sweep/sweep_folder.h"
#include "trainer/sweep/sweep_plan.h"
#include "trainer/sweep/sweep_tuning.h"

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;
using trainer::PipelineStage;
using trainer::SweepFile;
using trainer::SweepPlan;
using trainer::SweepRun;

/// What each stage would find amiss when it starts, hours later. Seeds change none of it, so the
/// first one's runs stand for all. UserError names the cell.
void check_stages(const SweepPlan& plan, bool dry_run) {
  std::set<std::string> checked;
  for (const SweepRun& run : plan.runs) {
    if (run.seed != plan.runs.front().seed) continue;
    for (const std::string& name : run.shared) {
      if (!checked.insert(name).second) continue;
      const PipelineStage& stage =
          *std::ranges::find(plan.stages.stages, name, &PipelineStage::name);
      try {
        for (const auto& [role, source] : stage.config.init_from) {
          const bool made_here = fs::path(source.path).parent_path() == plan.stages.run_dir;
          if (made_here || dry_run || fs::exists(source.path)) continue;
          fail_user("init_from.{}: {} does not exist", role, source.path);
        }
        trainer::check_stage(stage.config, stage.run_dir, dry_run);
      } catch (const UserError& error) {
        fail_user("stage {}: {}", stage.label, error.what());
      }
    }
  }
}

/// One line a stage: what it is for, its length, whether it is finished.
void list_stages(const SweepPlan& plan, const std::string& what) {
  int64_t steps = 0, left = 0;
  size_t finished = 0, uses = 0;
  for (const SweepRun& run : plan.runs) uses += run.shared.size();
  for (const PipelineStage& stage : plan.stages.stages) {
    const bool done = trainer::is_finished(stage.run_dir, stage.config);
    const size_t users = plan.users_of(stage.name).size();
    log::info("  {}{}: {} steps{}, in {}",
              stage.label,
              users > 1 ? formatted(" (shared by {} runs)", users) : "",
              stage.config.train.steps,
              done ? ", finished" : "",
              stage.run_dir.string());
    steps += stage.config.train.steps;
    left += done ? 0 : stage.config.train.steps;
    finished += done ? 1 : 0;
  }
  log::info("{}: {} runs; {} stages instead of {}, {} of them finished; {} steps, {} left",
            what,
            plan.runs.size(),
            plan.stages.stages.size(),
            uses,
            finished,
            steps,
            left);
}

/// A sweep as it runs.
class SweepJob {
 public:
  SweepJob(const SweepFile& file, const SweepOptions& options)
      : file_(file), options_(options), groups_(file.tune ? tune_groups(file) : Groups{}) {
    if (file.tune) {
      tune_plan_ = resolve_runs(
          file, tune_cells(file, groups_), file.tune->seeds, trainer::kSweepTune, options.run_dir);
    }
    chosen_.resize(groups_.size());
    for (const std::string& folder : options.reuse) {
      for (analysis::EarlierRun& run : analysis::read_earlier_tables(folder))
        earlier_.push_back(std::move(run));
    }
  }

  int run() {
    trainer::check_sweep(file_, options_.run_dir);
    if (tune_plan_) check_stages(*tune_plan_, options_.dry_run);
    const SweepPlan expected = cells_plan();  // values of `tune` that are not chosen yet: the first
    check_stages(expected, options_.dry_run);
    if (options_.dry_run) return list(expected);
    trainer::RunFolder folder(options_.run_dir, trainer::RunFolder::Kind::kSweep);
    before_ = trainer::earlier_runs(options_.run_dir);
    begin(folder, tune_plan_ ? before_ : trainer::SweepRuns{});
    log::set_file(options_.run_dir / "log.txt");
    fs::create_directories(options_.run_dir / "configs");
    if (tune_plan_ && choose(folder) == kStopped) return kStopped;
    SweepPlan plan = cells_plan();
    begin(folder, runs_of(plan, options_.run_dir));
    for (const std::string& change : trainer::changes_since(before_, now_)) log::info(change);
    return run_cells(folder, std::move(plan));
  }

 private:
  using Groups = std::vector<trainer::TuneGroup>;

  /// The cells' runs with what is chosen so far.
  SweepPlan cells_plan() const {
    return resolve_runs(file_,
                        file_.tune ? tuned_cells(file_, groups_, chosen_) : file_.cells,
                        file_.seeds,
                        trainer::kSweepCells,
                        options_.run_dir);
  }

  int list(const SweepPlan& cells) {
    for (size_t i = 0; i < file_.cells.size(); ++i) {
      const std::optional<size_t> baseline = baseline_of(file_, i);
      log::info("cell {}{}",
                file_.cells[i].name,
                baseline ? ", compared with " + file_.cells[*baseline].name : "");
    }
    if (tune_plan_) {
      list_stages(left_of_tune(), "tune");
      log::info("the cells' runs, with {} as it may be chosen:", file_.tune->axis.name);
    }
    SweepProgress progress(file_, cells, options_.run_dir);
    SweepPlan left = cells;
    take_over(left, progress);
    list_stages(left, "cells");
    return kDone;
  }

  /// The same run in one of the tables to reuse; null where there is none, and where all of its
  /// stages are finished here, for a run with its folder says more.
  const analysis::EarlierRun* known(
      const SweepRun& run,
      const SweepPlan& plan,
      const std::function<bool(const analysis::EarlierRun&)>& suffices) const {
    const bool is_here = std::ranges::all_of(run.shared, [&](const std::string& name) {
      const auto stage = std::ranges::find(plan.stages.stages, name, &PipelineStage::name);
      return trainer::is_finished(stage->run_dir, stage->config);
    });
    if (is_here) return nullptr;
    const auto found = std::ranges::find_if(earlier_, [&](const analysis::EarlierRun& earlier) {
      return earlier.stages == run.shared && suffices(earlier);
    });
    return found == earlier_.end() ? nullptr : &*found;
  }

  /// Gives `progress` the runs that are in tables to reuse, and takes them out of the plan.
  void take_over(SweepPlan& plan, SweepProgress& progress) const {
    if (earlier_.empty()) return;
    const size_t all = plan.runs.size();
    const SweepPlan whole = plan;
    leave_out(plan, [&](const SweepRun& run) {
      const analysis::EarlierRun* earlier =
          known(run, whole, [&](const auto& one) { return progress.has_all_figures(one); });
      if (earlier != nullptr) progress.take_over(run, *earlier);
      return earlier != nullptr;
    });
    log::info("{} of {} runs are taken from the tables of --reuse", all - plan.runs.size(), all);
  }

  /// Marks the folder as that of the sweep with the runs of `tune` and `others`.
  void begin(trainer::RunFolder& folder, const trainer::SweepRuns& others) {
    now_ = others;
    if (tune_plan_) now_.merge(runs_of(*tune_plan_, options_.run_dir));
    folder.begin_group(trainer::sweep_yaml(file_.name, now_));
  }

  /// Trains the plan's stages; `on_end` hears of each.
  int train(const SweepPlan& plan,
            const std::function<void(const std::string&, const std::string&)>& on_end) {
    make_run_folders(plan, file_.is_stage);
    const trainer::PipelineOptions options = {.program = fs::read_symlink("/proc/self/exe"),
                                              .jobs = options_.jobs,
                                              .nproc_per_node = options_.nproc_per_node,
                                              .keep_going = true,
                                              .wait_for_others = true,
                                              .on_end = on_end};
    return trainer::run_stages(plan.stages, options, options_.run_dir / "configs");
  }

  /// Runs `tune` and makes its choices.
  int choose(const trainer::RunFolder& folder) {
    log::info("tune: {} of {} groups of cells, on seeds of its own",
              file_.tune->axis.name,
              groups_.size());
    std::set<std::string> failed;
    const int status = train(left_of_tune(), [&](const std::string& stage, const std::string& why) {
      if (!why.empty()) failed.insert(stage);
    });
    folder.expect_in_place();
    if (status == kStopped) {
      log::warn("vmla: stopped: the runs of `tune` are not finished; run the same command again");
      return status;
    }
    const size_t values = file_.tune->axis.values.size();
    for (size_t g = 0; g < groups_.size(); ++g) {
      analysis::SweepChoice choice{
          .group = groups_[g].name, .figures = {}, .stages = {}, .chosen = {}};
      for (size_t value = 0; value < values; ++value)
        read_tuned(g * values + value, failed, choice);
      choice.chosen = chosen_[g] = trainer::best_value(choice.figures, file_.tune->largest);
      say(choice);
      choices_.push_back(std::move(choice));
    }
    return kDone;
  }

  /// The runs of `tune` that no table to reuse has; what the tables say of the others is kept.
  SweepPlan left_of_tune() {
    const std::string& metric = file_.tune->metric.text;
    const auto has_metric = [&](const analysis::EarlierRun& earlier) {
      const auto figure = earlier.figures.find(metric);
      return figure != earlier.figures.end() && figure->second.value;
    };
    SweepPlan left = *tune_plan_;
    leave_out(left, [&](const SweepRun& run) {
      const analysis::EarlierRun* earlier = known(run, *tune_plan_, has_metric);
      if (earlier != nullptr) known_tune_figures_[run.name] = *earlier->figures.at(metric).value;
      return earlier != nullptr;
    });
    return left;
  }

  /// Adds the figure of every seed of one of the plan's cells to the choice.
  void read_tuned(size_t cell,
                  const std::set<std::string>& failed,
                  analysis::SweepChoice& choice) const {
    std::vector<double>& figures = choice.figures.emplace_back();
    std::vector<std::vector<std::string>>& stages = choice.stages.emplace_back();
    for (const SweepRun& run : tune_plan_->runs) {
      if (run.cell != cell) continue;
      stages.push_back(run.shared);
      const auto known = known_tune_figures_.find(run.name);
      if (known != known_tune_figures_.end()) {
        figures.push_back(known->second);
        continue;
      }
      const bool lost =
          std::ranges::any_of(run.shared, [&](const auto& name) { return failed.contains(name); });
      const auto stage =
          std::ranges::find(run.pipeline.stages, file_.tune->metric.stage, &PipelineStage::name);
      const std::optional<double> figure =
          lost ? std::nullopt
               : analysis::run_figure(analysis::read_run(stage->run_dir), file_.tune->metric.key);
      figures.push_back(figure.value_or(NAN));
    }
  }

  void say(const analysis::SweepChoice& choice) const {
    const trainer::SweepAxis& axis = file_.tune->axis;
    if (!choice.chosen) {
      log::error("vmla: error: tune: {}: no value of {} has {} on every seed",
                 choice.group,
                 axis.name,
                 file_.tune->metric.text);
      return;
    }
    log::info("tune: {}: {} = {}", choice.group, axis.name, axis.values[*choice.chosen].label);
    if (*choice.chosen == 0 || *choice.chosen + 1 == axis.values.size()) {
      log::warn("tune: {}: {} is the first or last of tune.values; a better one may lie beyond it",
                choice.group,
                axis.values[*choice.chosen].label);
    }
  }

  /// Trains the cells, and writes the tables.
  int run_cells(const trainer::RunFolder& folder, SweepPlan plan) {
    SweepProgress progress(file_, plan, options_.run_dir);
    if (file_.tune) progress.set_choices(groups_, choices_);
    std::vector<size_t> lost;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (!chosen_[g]) lost.insert(lost.end(), groups_[g].cells.begin(), groups_[g].cells.end());
    }
    for (const size_t cell : lost) progress.fail_cell(cell, "no value was chosen for it by tune");
    leave_out(plan,
              [&](const SweepRun& run) { return std::ranges::find(lost, run.cell) != lost.end(); });
    take_over(plan, progress);
    const int status = train(plan, [&](const std::string& stage, const std::string& why) {
      progress.stage_ended(stage, why);
    });
    folder.expect_in_place();
    progress.write();
    const std::string page = (options_.run_dir / "sweep.html").string();
    if (status == kStopped) {
      log::warn("vmla: stopped: {} of {} runs are finished; run the same command again to go on",
                progress.done(),
                progress.runs());
      return kStopped;
    }
    progress.warn_of_missing();
    if (progress.failed() > 0) {
      log::error(
          "vmla: error: {} of {} runs failed; why: {}", progress.failed(), progress.runs(), page);
      return kFault;
    }
    log::info("done: {}", page);
    return kDone;
  }

  const SweepFile& file_;
  const SweepOptions& options_;
  Groups groups_;
  std::optional<SweepPlan> tune_plan_;
  std::vector<std::optional<size_t>> chosen_;   // of each group
  std::vector<analysis::SweepChoice> choices_;  // likewise, once made
  std::vector<analysis::EarlierRun> earlier_;
  std::map<std::string, double> known_tune_figures_;  // by the run's name
  trainer::SweepRuns before_, now_;                   // of the last start, and of this one
};

}  // namespace

int run_sweep(const SweepFile& file, const SweepOptions& options) {
  return SweepJob(file, options).run();
}

}  // namespace vmla::launch
