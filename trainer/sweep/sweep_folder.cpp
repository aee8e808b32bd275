#include "trainer/sweep/sweep_folder.h"

#include <algorithm>
#include <utility>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/pipeline_files.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// Lets `link` lead to `target`. The way between them is stored, so that a folder that holds both
/// can be moved. False where it did so before.
bool set_link(const fs::path& link, const fs::path& target) {
  const fs::path way = fs::absolute(target).lexically_normal().lexically_relative(
      fs::absolute(link.parent_path()).lexically_normal());
  std::error_code none;
  const fs::file_status there = fs::symlink_status(link, none);
  if (fs::is_symlink(there) && fs::read_symlink(link) == way) return false;
  if (fs::exists(there) && !fs::is_symlink(there))
    fail_user("{}: is no link to a stage of the sweep; move it away", link.string());
  const fs::path temporary = link.string() + ".tmp";
  fs::remove(temporary, none);
  fs::create_symlink(way, temporary);
  fs::rename(temporary, link);
  return true;
}

void make_pipeline_folder(const SweepRun& run, const fs::path& stages) {
  const fs::path& folder = run.pipeline.run_dir;
  fs::create_directories(folder / "configs");
  bool changed = false;
  for (size_t i = 0; i < run.shared.size(); ++i) {
    const PipelineStage& stage = run.pipeline.stages[i];
    changed |= set_link(folder / stage.name, stages / run.shared[i]);
    io::write_file_atomically(folder / "configs" / (stage.name + ".yaml"),
                              resolved_yaml(stage.config));
  }
  io::write_file_atomically(folder / "pipeline.yaml", pipeline_yaml(run.pipeline));
  if (!changed) return;
  for (const char* outdated : {"summary.json", "report.html"}) fs::remove(folder / outdated);
}

/// "2 runs", or "1 run (cells/a/seed_0)".
std::string counted(const std::vector<std::string>& runs) {
  return runs.size() == 1 ? formatted("1 run ({})", runs.front())
                          : formatted("{} runs ({}, ...)", runs.size(), runs.front());
}

}  // namespace

SweepRuns runs_of(const SweepPlan& plan, const fs::path& run_dir) {
  SweepRuns runs;
  for (const SweepRun& run : plan.runs)
    runs[run.pipeline.run_dir.lexically_relative(run_dir).string()] = run.shared;
  return runs;
}

std::string sweep_yaml(const std::string& name, const SweepRuns& runs) {
  ConfigNode root, section;
  root.kind = section.kind = ConfigNode::Kind::kMap;
  for (const auto& [folder, stages] : runs) {
    ConfigNode list;
    list.kind = ConfigNode::Kind::kList;
    for (const std::string& stage : stages) list.items.push_back(scalar_node(stage, false));
    section.entries.push_back({folder, std::move(list)});
  }
  root.entries.push_back({"name", scalar_node(name, true)});
  root.entries.push_back({"runs", std::move(section)});
  return to_yaml(root);
}

SweepRuns earlier_runs(const fs::path& run_dir) {
  SweepRuns runs;
  if (!fs::exists(run_dir / "sweep.yaml")) return runs;
  const ConfigNode root = parse_yaml_file(run_dir / "sweep.yaml");
  const ConfigNode* section = root.find("runs");
  if (section == nullptr) return runs;
  for (const auto& [folder, list] : section->entries) {
    for (const ConfigNode& stage : list.items) runs[folder].push_back(to_text(stage, folder));
  }
  return runs;
}

std::vector<std::string> changes_since(const SweepRuns& before, const SweepRuns& now) {
  std::vector<std::string> added, other, gone, sentences;
  for (const auto& [folder, stages] : now) {
    const auto earlier = before.find(folder);
    if (earlier == before.end()) {
      added.push_back(folder);
    } else if (earlier->second != stages) {
      other.push_back(folder);
    }
  }
  for (const auto& [folder, stages] : before) {
    if (!now.contains(folder)) gone.push_back(folder);
  }
  if (before.empty()) return sentences;
  if (!added.empty()) sentences.push_back(counted(added) + " new since the last start");
  if (!other.empty()) {
    sentences.push_back(counted(other) +
                        " with other settings than at the last start; what that changes is trained "
                        "anew");
  }
  if (!gone.empty())
    sentences.push_back(counted(gone) + " no longer in the file; left as at the last start");
  return sentences;
}

void make_run_folders(const SweepPlan& plan, bool is_stage) {
  for (const SweepRun& run : plan.runs) {
    const fs::path& folder = run.pipeline.run_dir;
    if (is_stage) {
      fs::create_directories(folder.parent_path());
      set_link(folder, plan.stages.run_dir / run.shared.front());
    } else {
      make_pipeline_folder(run, plan.stages.run_dir);
    }
  }
}

}  // namespace vmla::trainer
