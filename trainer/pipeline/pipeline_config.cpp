#include "trainer/pipeline/pipeline_config.h"

#include <algorithm>
#include <utility>

#include "model/config/config_rule.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/file_keys.h"
#include "trainer/config/stage_roles.h"
#include "trainer/config/stage_start.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// Entry `index` of `stages`; its file's path is relative to `folder`.
StageFile read_entry(const ConfigNode& node, size_t index, const fs::path& folder) {
  const std::string section = formatted("stages[{}]", index);
  if (!node.is_map()) fail_type(node, section, "a section with name, config and set");
  check_keys(node, section, {"name", "config", "set"});
  StageFile stage;
  const ConfigNode& name = required(node, section + ".", "name");
  stage.name = to_text(name, section + ".name");
  stage.origin = name.origin;
  check_name(name, section + ".name", stage.name);
  for (const char* taken : {"configs", "samples", "checkpoints"}) {
    if (stage.name == taken)
      fail_user("{}: {}.name: '{}' is taken; choose another name", stage.origin, section, taken);
  }
  const ConfigNode& config = required(node, section + ".", "config");
  const fs::path path = folder / to_text(config, section + ".config");
  std::error_code unreadable;  // such as a name longer than file systems take
  if (!fs::is_regular_file(path, unreadable)) {
    fail_user("{}: {}.config: no file {} (paths are relative to the pipeline file)",
              config.origin,
              section,
              path.string());
  }
  stage.root = parse_yaml_file(path);
  if (const ConfigNode* set = node.find("set"); set != nullptr && !set->is_null()) {
    if (!set->is_map())
      fail_type(*set, section + ".set", "a section of `key.of.the.stage: value` lines");
    for (const auto& [key, value] : set->entries) assign(stage.root, key, value);
  }
  return stage;
}

/// Applies --set STAGE.key=value to that stage.
void override_stage(std::vector<StageFile>& stages, const std::string& assignment) {
  const std::string name =
      assignment.substr(0, std::min(assignment.find('.'), assignment.find('=')));
  std::vector<std::string> names;
  for (auto& stage : stages) {
    names.push_back(stage.name);
    if (stage.name != name || assignment.size() <= name.size() || assignment[name.size()] != '.')
      continue;
    apply_override(stage.root, assignment, name.size() + 1);
    return;
  }
  const std::string near = nearest(name, names);
  fail_user("--set {}: no stage '{}'{}; write STAGE.key=value with one of: {}",
            assignment,
            name,
            near.empty() ? "" : formatted("; did you mean {}?", near),
            join(names));
}

const PipelineStage* find(const std::vector<PipelineStage>& stages, const std::string& name) {
  for (const auto& stage : stages) {
    if (stage.name == name) return &stage;
  }
  return nullptr;
}

/// Turns every init_from that names a stage into that stage's run folder and a role, and checks
/// that the stage can start from it.
void resolve_init_from(PipelineStage& stage, const std::vector<PipelineStage>& earlier) {
  for (auto& [role, source] : stage.config.init_from) {
    if (source.stage.empty()) continue;
    const std::string key = formatted("init_from.{}", role);
    const PipelineStage* from = find(earlier, source.stage);
    if (from == nullptr) {
      std::vector<std::string> names;
      for (const auto& other : earlier) names.push_back(other.name);
      fail_rule(key + ".stage",
                "no stage '{}' before {}; valid: {}",
                source.stage,
                stage.name,
                names.empty() ? "none, it is the first" : join(names));
    }
    const std::vector<std::string> roles = saved_roles(from->config);
    const bool by_default = source.role.empty();
    if (by_default) source.role = roles.front();
    if (std::find(roles.begin(), roles.end(), source.role) == roles.end()) {
      fail_rule(
          key + ".role", "stage {} saves no '{}'; valid: {}", from->name, source.role, join(roles));
    }
    check_start(stage.config, role, from->config, formatted("stage {}", from->name));
    source.path = from->run_dir.string();
    stage.after.push_back(from->name);
    stage.notes.push_back(formatted("{}: {} starts from {} of stage {}{}",
                                    stage.name,
                                    role,
                                    source.role,
                                    from->name,
                                    by_default ? " (by default)" : ""));
  }
}

/// Everything in a pipeline file but its stages.
PipelineFile read_head(const ConfigNode& root, const fs::path& path) {
  PipelineFile pipeline;
  pipeline.name = fs::absolute(path).parent_path().filename().string();
  if (const ConfigNode* name = root.find("name")) {
    pipeline.name = to_text(*name, "name");
    check_name(*name, "name", pipeline.name);
  }
  if (const ConfigNode* jobs = root.find("jobs")) {
    pipeline.jobs = to_int(*jobs, "jobs");
    if (pipeline.jobs < 1)
      fail_user("{}: jobs: {} is too small; use at least 1", jobs->origin, pipeline.jobs);
  }
  return pipeline;
}

/// The entries of `stages`, each with the tree of its file and of its `set`.
std::vector<StageFile> read_entries(const ConfigNode& root, const fs::path& folder) {
  const ConfigNode& list = required(root, "", "stages");
  if (!list.is_list() || list.items.empty())
    fail_type(list, "stages", "a list of {name, config, set}");
  std::vector<StageFile> files;
  for (size_t i = 0; i < list.items.size(); ++i) {
    StageFile stage = read_entry(list.items[i], i, folder);
    for (const auto& other : files) {
      if (other.name == stage.name)
        fail_user("{}: stages[{}].name: '{}' is given twice, first at {}",
                  stage.origin,
                  i,
                  stage.name,
                  other.origin);
    }
    files.push_back(std::move(stage));
  }
  return files;
}

/// The stage that a file describes, validated, with its init_from resolved to `earlier` stages.
PipelineStage resolved_stage(StageFile file,
                             const fs::path& pipeline_dir,
                             const std::vector<PipelineStage>& earlier) {
  ConfigNode name = scalar_node(file.name, true);
  name.origin = file.origin;
  assign(file.root, "stage", name);
  PipelineStage stage;
  stage.name = file.name;
  stage.run_dir = pipeline_dir / file.name;
  try {
    stage.config = load_config(file.root, Purpose::kPipelineStage);
    resolve_init_from(stage, earlier);
  } catch (const ConfigRuleError& error) {
    fail_user("{}: stage {}: {}", origin_of(file.root, error.key()), file.name, error.what());
  }
  return stage;
}

}  // namespace

PipelineFile read_pipeline_file(const fs::path& path) {
  return read_pipeline(parse_yaml_file(path), path);
}

PipelineFile read_pipeline(const ConfigNode& root, const fs::path& path) {
  if (!root.is_map()) fail_type(root, "the file", "a pipeline: name, jobs, stages");
  if (root.find("stages") == nullptr && (root.find("model") || root.find("objective"))) {
    fail_user("{}: is one stage, no pipeline; run it with `vmla train --config {}`",
              path.string(),
              path.string());
  }
  if (root.find("base") != nullptr && root.find("seeds") != nullptr)
    fail_user("{}: is a sweep; run it with `vmla sweep --config {}`", path.string(), path.string());
  check_keys(root, "", {"name", "jobs", "stages"});
  PipelineFile pipeline = read_head(root, path);
  pipeline.stages = read_entries(root, path.parent_path());
  return pipeline;
}

PipelineConfig resolve_pipeline(PipelineFile file, const fs::path& run_dir) {
  PipelineConfig pipeline{
      .name = std::move(file.name), .jobs = file.jobs, .run_dir = run_dir, .stages = {}};
  for (StageFile& stage : file.stages)
    pipeline.stages.push_back(resolved_stage(std::move(stage), run_dir, pipeline.stages));
  return pipeline;
}

PipelineConfig load_pipeline(const fs::path& path,
                             const std::vector<std::string>& overrides,
                             const fs::path& run_dir) {
  PipelineFile file = read_pipeline_file(path);
  for (const auto& override : overrides) override_stage(file.stages, override);
  const fs::path folder = run_dir.empty() ? fs::path("runs") / file.name : run_dir;
  return resolve_pipeline(std::move(file), folder);
}

}  // namespace vmla::trainer
