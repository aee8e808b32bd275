#include "launch/commands/compare.h"

#include "analysis/report/comparison_page.h"
#include "analysis/report/comparison_text.h"
#include "analysis/runs/run_reading.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;
using analysis::ReferenceCheck;
using analysis::RunPair;
using analysis::RunTrace;

/// A stage's run, or all stages of a pipeline's run, by name in their order.
struct Run {
  bool pipeline = false;
  std::vector<std::pair<std::string, fs::path>> stages;

  const fs::path* find(const std::string& stage) const {
    for (const auto& [name, folder] : stages) {
      if (name == stage) return &folder;
    }
    return nullptr;
  }
};

Run open_run(const fs::path& path) {
  if (!fs::exists(path)) fail_user("{}: does not exist; a run folder is needed", path.string());
  if (!fs::is_directory(path)) fail_user("{}: is not a run folder", path.string());
  if (fs::exists(path / "metrics.jsonl")) return {false, {{path.filename(), path}}};
  Run run{true, {}};
  for (const std::string& name : analysis::stage_names(path)) {
    run.stages.emplace_back(name, path / name);
  }
  if (run.stages.empty()) {
    fail_user(
        "{}: is not a run folder of vmla train or vmla pipeline (no metrics.jsonl, no stages)",
        path.string());
  }
  return run;
}

std::string names_of(const Run& run) {
  std::string names;
  for (const auto& [name, folder] : run.stages) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// The stages that both runs have; two single stages are a pair whatever their names are.
std::vector<RunPair> pair_up(const Run& a, const Run& b) {
  std::vector<RunPair> pairs;
  if (!a.pipeline && !b.pipeline) {
    pairs.push_back(
        {analysis::read_trace(a.stages[0].second), analysis::read_trace(b.stages[0].second)});
  } else {
    for (const auto& [name, folder] : a.stages) {
      if (const fs::path* other = b.find(name)) {
        pairs.push_back({analysis::read_trace(folder), analysis::read_trace(*other)});
      }
    }
  }
  if (pairs.empty())
    fail_user("the runs have no stage in common: {} and {}", names_of(a), names_of(b));
  for (const RunPair& pair : pairs) {
    if (pair.a.objective != pair.b.objective) {
      fail_user("the runs are different stages: {} was trained by {}, {} by {}",
                pair.a.folder.string(),
                pair.a.objective,
                pair.b.folder.string(),
                pair.b.objective);
    }
  }
  return pairs;
}

/// Whether `path` is a reference trace or a folder of them, and not a run.
bool is_reference(const fs::path& path) {
  if (fs::is_regular_file(path)) return true;
  if (!fs::is_directory(path) || fs::exists(path / "metrics.jsonl")) return false;
  if (!analysis::stage_names(path).empty()) return false;
  std::error_code problem;
  fs::directory_iterator entry(path, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const fs::path name = entry->path().filename();
    if (name.extension() == ".json" && name != "summary.json") return true;
  }
  if (problem) fail_user("{}: cannot be read: {}", path.string(), problem.message());
  return false;
}

ReferenceCheck check_run(const fs::path& folder, const fs::path& file) {
  ReferenceCheck check{
      analysis::read_trace(folder), analysis::read_reference(file), file.string(), {}};
  check.verdict = analysis::judge(check.run, check.reference);
  return check;
}

/// Judges every stage of the run for which there is a reference trace.
std::vector<ReferenceCheck> check_all(const Run& run, const fs::path& reference) {
  std::vector<ReferenceCheck> checks;
  if (fs::is_directory(reference)) {
    for (const auto& [name, folder] : run.stages) {
      // A lone run's folder may be called anything: its configuration names the stage.
      fs::path file = reference / (name + ".json");
      if (!fs::exists(file)) {
        file = reference / (analysis::read_trace(folder).stage + ".json");
      }
      if (fs::exists(file)) checks.push_back(check_run(folder, file));
    }
  } else {
    const std::string stage = analysis::read_reference(reference).stage;
    const fs::path* folder = run.pipeline ? run.find(stage) : &run.stages[0].second;
    if (folder != nullptr) checks.push_back(check_run(*folder, reference));
  }
  if (checks.empty())
    fail_user("{}: holds no reference trace for the run's {}", reference.string(), names_of(run));
  return checks;
}

int make_reference(const CompareArgs& args) {
  std::map<std::string, std::vector<RunTrace>> by_stage;
  std::vector<Run> runs;
  for (const std::string& path : args.runs) runs.push_back(open_run(path));
  const bool pipelines = runs.front().pipeline;
  for (const Run& run : runs) {
    if (run.pipeline != pipelines)
      fail_user("a reference needs runs of one kind: stages or pipelines");
    for (const auto& [name, folder] : run.stages)
      by_stage[pipelines ? name : ""].push_back(analysis::read_trace(folder));
  }
  const fs::path out = args.make_reference;
  if (pipelines && out.extension() == ".json") {
    fail_user("--make-reference {}: runs of a pipeline need a folder, for one file a stage",
              out.string());
  }
  // All traces are made before the first file is written: a stage whose runs do not fit together
  // leaves no half of a reference behind.
  std::vector<std::pair<fs::path, std::string>> files;
  for (const auto& [name, traces] : by_stage) {
    files.emplace_back(pipelines ? out / (name + ".json") : out,
                       analysis::reference_json(analysis::make_reference(traces)));
  }
  for (const auto& [file, text] : files) {
    if (file.has_parent_path()) fs::create_directories(file.parent_path());
    io::write_file_atomically(file, text);
    log::info("wrote {}, from {} runs", file.string(), args.runs.size());
  }
  return kDone;
}

/// Prints the comparison of each stage, and writes the pages if `out` names a folder.
template <class Stages>
void show(const Stages& stages, const std::string& out) {
  std::string text;
  for (const auto& stage : stages) text += (text.empty() ? "" : "\n") + comparison_text(stage);
  std::fputs(text.c_str(), stdout);
  if (out.empty()) return;
  analysis::write_comparison(stages, out);
  log::info("wrote {}/comparison.csv, .html", out);
}

}  // namespace

int run(const CompareArgs& args) {
  if (!args.make_reference.empty()) return make_reference(args);
  if (args.runs.size() != 2) {
    fail_user("compare: two runs, or a run and a reference trace, are compared; got {}",
              args.runs.size());
  }
  const Run run = open_run(args.runs[0]);
  if (!is_reference(args.runs[1])) {
    if (args.check_band)
      fail_user("--check: {} is no reference trace, so there is no band to check", args.runs[1]);
    show(pair_up(run, open_run(args.runs[1])), args.out);
    return kDone;
  }
  const std::vector<ReferenceCheck> checks = check_all(run, args.runs[1]);
  show(checks, args.out);
  const bool healthy = std::all_of(
      checks.begin(), checks.end(), [](const auto& check) { return check.verdict.healthy(); });
  return args.check_band && !healthy ? kFault : kDone;
}

}  // namespace vmla::launch
