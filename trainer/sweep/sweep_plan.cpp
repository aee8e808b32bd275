#include "trainer/sweep/sweep_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "model/io/error.h"
#include "model/io/sha256.h"
#include "trainer/config/config_visit.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/run_folder.h"
#include "trainer/sweep/sweep_tuning.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// Removes the leaves that have their default or change no result, and the sections that are empty
/// then. False where nothing is left.
bool keep_what_decides(ConfigNode& node, const ConfigNode* by_default, const std::string& key) {
  if (!node.is_map()) {
    const bool same = by_default != nullptr && to_inline_yaml(*by_default) == to_inline_yaml(node);
    return !same && changes_result(key);
  }
  std::erase_if(node.entries, [&](ConfigEntry& entry) {
    const ConfigNode* other = by_default != nullptr ? by_default->find(entry.key) : nullptr;
    return !keep_what_decides(entry.value, other, visit::below(key, entry.key));
  });
  return !node.entries.empty();
}

/// Sets a key of the sweep's file in the stage that it names.
void apply(PipelineFile& base, bool is_stage, const SweepSetting& setting) {
  if (is_stage) return assign(base.stages.front().root, setting.key, setting.value);
  const size_t dot = setting.key.find('.');
  const auto stage = std::ranges::find(base.stages, setting.key.substr(0, dot), &StageFile::name);
  assign(stage->root, setting.key.substr(dot + 1), setting.value);
}

/// The base with everything that the cell sets.
PipelineFile base_of(const SweepFile& file, const SweepCell& cell, int64_t seed) {
  PipelineFile base = file.base;
  ConfigNode seed_node = scalar_node(std::to_string(seed), false);
  seed_node.origin = cell.origin;
  for (StageFile& stage : base.stages) assign(stage.root, "seed", seed_node);
  for (const SweepSetting& setting : file.set) apply(base, file.is_stage, setting);
  for (const SweepSetting& setting : cell.settings) apply(base, file.is_stage, setting);
  return base;
}

/// A latent of one number has the same size for every token behind its RMSNorm: only its sign is
/// left, and the cell would measure that.
void refuse_rank_one(const PipelineFile& base, const PipelineConfig& pipeline) {
  for (size_t i = 0; i < pipeline.stages.size(); ++i) {
    const model::ModelConfig& model = pipeline.stages[i].config.model;
    if (!model.is_mla() ||
        std::ranges::find(model.kv_lora_rank.values, 1) == model.kv_lora_rank.values.end())
      continue;
    fail_user(
        "{}: stage {}: model.kv_lora_rank: of a latent of 1 number RMSNorm leaves only the sign; "
        "use at least 2",
        origin_of(base.stages[i].root, "model.kv_lora_rank"),
        pipeline.stages[i].name);
  }
}

PipelineConfig resolved(const SweepFile& file,
                        const SweepCell& cell,
                        int64_t seed,
                        const fs::path& folder) {
  PipelineFile base = base_of(file, cell, seed);
  PipelineConfig pipeline{.name = file.name, .jobs = 1, .run_dir = folder, .stages = {}};
  try {
    if (file.is_stage) {
      const StageFile& stage = base.stages.front();
      pipeline.stages.push_back({.name = stage.name,
                                 .config = load_config(stage.root, Purpose::kTrain),
                                 .run_dir = folder,
                                 .after = {},
                                 .notes = {}});
    } else {
      pipeline.stages = resolve_pipeline(base, folder).stages;
    }
    refuse_rank_one(base, pipeline);
  } catch (const UserError& error) {
    fail_user("{} (cell {})", error.what(), cell.name);
  }
  return pipeline;
}

/// Adds the stages of a run that no run before it has, and notes which each of them is.
void share(SweepRun& run, PipelineConfig& stages) {
  std::vector<std::pair<std::string, std::string>> hashes;  // of the run's stages so far
  std::map<std::string, std::string> names;
  for (const PipelineStage& stage : run.pipeline.stages) {
    constexpr size_t kDigits = 12;
    const std::string hash = stage_hash(stage.config, hashes);
    const std::string name = stage.name + "-" + hash.substr(0, kDigits);
    hashes.emplace_back(stage.name, hash);
    names[stage.name] = name;
    run.shared.push_back(name);
    if (std::ranges::find(stages.stages, name, &PipelineStage::name) != stages.stages.end())
      continue;
    PipelineStage own = stage;
    own.name = name;
    own.label = run.pipeline.stages.size() == 1 ? run.name : run.name + "/" + stage.name;
    own.run_dir = stages.run_dir / name;
    for (auto& [role, source] : own.config.init_from) {
      const auto from = names.find(source.stage);
      if (from != names.end()) source.path = (stages.run_dir / from->second).string();
    }
    for (std::string& before : own.after) before = names.at(before);
    stages.stages.push_back(std::move(own));
  }
}

/// What a stage that several runs share is called by: the values of the axes and the seed that all
/// of them have.
std::string what_is_common(const std::vector<const SweepRun*>& users,
                           const std::vector<SweepAxis>& axes,
                           const std::vector<SweepCell>& cells) {
  const SweepRun& first = *users.front();
  const auto same = [&](const auto& part) {
    return std::ranges::all_of(users, [&](auto* run) { return part(*run) == part(first); });
  };
  std::string text;
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    const auto label = [&](const SweepRun& run) {
      const std::vector<std::string>& labels = cells[run.cell].labels;
      return axis < labels.size() ? labels[axis] : "";
    };
    if (same(label) && !label(first).empty())
      text += formatted("{}{}={}", text.empty() ? "" : ",", axes[axis].name, label(first));
  }
  if (!same([](const SweepRun& run) { return run.seed; })) return text.empty() ? "all" : text;
  return formatted("{}{}seed_{}", text, text.empty() ? "" : "/", first.seed);
}

}  // namespace

std::string stage_hash(const TrainConfig& config,
                       const std::vector<std::pair<std::string, std::string>>& upstream) {
  TrainConfig what = config;
  for (auto& [role, source] : what.init_from) {
    for (const auto& [stage, hash] : upstream) {
      if (source.stage == stage) source.path = hash;
    }
  }
  static const ConfigNode defaults = to_node(TrainConfig{});
  ConfigNode node = to_node(what);
  keep_what_decides(node, &defaults, "");
  const std::string text = to_yaml(node);
  return io::sha256_hex(text.data(), text.size());
}

std::vector<const SweepRun*> SweepPlan::users_of(const std::string& stage) const {
  std::vector<const SweepRun*> users;
  for (const SweepRun& run : runs) {
    if (std::ranges::find(run.shared, stage) != run.shared.end()) users.push_back(&run);
  }
  return users;
}

SweepPlan resolve_runs(const SweepFile& file,
                       const std::vector<SweepCell>& cells,
                       const std::vector<int64_t>& seeds,
                       const std::string& top,
                       const fs::path& run_dir) {
  SweepPlan plan;
  plan.stages = {.name = file.name,
                 .jobs = file.jobs,
                 .run_dir = file.stages_dir.empty() ? run_dir / "stages" : file.stages_dir,
                 .stages = {}};
  std::map<std::vector<std::string>, size_t> seen;  // cells by their stages
  for (const int64_t seed : seeds) {
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string folder = folder_name(cells[i].name);
      SweepRun run{.cell = i,
                   .seed = seed,
                   .name = formatted("{}/seed_{}", cells[i].name, seed),
                   .pipeline = resolved(
                       file, cells[i], seed, run_dir / top / folder / formatted("seed_{}", seed)),
                   .shared = {}};
      share(run, plan.stages);
      const auto [other, is_new] = seen.emplace(run.shared, i);
      if (!is_new && other->second != i) {
        fail_user(
            "{}: cells {} and {} are the same run: nothing in which they differ changes a "
            "result; keep one",
            cells[i].origin,
            cells[other->second].name,
            cells[i].name);
      }
      plan.runs.push_back(std::move(run));
    }
  }
  for (PipelineStage& stage : plan.stages.stages) {
    const std::vector<const SweepRun*> users = plan.users_of(stage.name);
    if (users.size() == 1) continue;
    const std::string own_name = stage.name.substr(0, stage.name.rfind('-'));
    stage.label = formatted("{}/{}", what_is_common(users, file.axes, cells), own_name);
    stage.notes.push_back(formatted("shared by {} runs", users.size()));
  }
  return plan;
}

void leave_out(SweepPlan& plan, const std::function<bool(const SweepRun&)>& which) {
  std::erase_if(plan.runs, which);
  std::erase_if(plan.stages.stages,
                [&](const PipelineStage& stage) { return plan.users_of(stage.name).empty(); });
}

void check_sweep(const SweepFile& file, const fs::path& run_dir) {
  const auto check = [&](const std::vector<SweepCell>& cells) {
    const SweepPlan plan = resolve_runs(file, cells, file.seeds, kSweepCells, run_dir);
    if (!file.targets || file.targets->curve.key != "validation_loss") return;
    for (const SweepRun& run : plan.runs) {
      const auto stage =
          std::ranges::find(run.pipeline.stages, file.targets->curve.stage, &PipelineStage::name);
      if (stage->config.validation.every > 0) continue;
      fail_user(
          "targets: stage {} of cell {} never measures its validation loss; set its "
          "validation.every",
          stage->name,
          cells[run.cell].name);
    }
  };
  if (!file.tune) return check(file.cells);
  const std::vector<TuneGroup> groups = tune_groups(file);
  resolve_runs(file, tune_cells(file, groups), file.tune->seeds, kSweepTune, run_dir);
  for (size_t value = 0; value < file.tune->axis.values.size(); ++value)
    check(tuned_cells(file, groups, std::vector<std::optional<size_t>>(groups.size(), value)));
}

}  // namespace vmla::trainer
