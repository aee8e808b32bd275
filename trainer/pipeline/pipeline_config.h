#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/config/config_node.h"
#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// A stage of a pipeline: its complete configuration, with every init_from turned into a run folder
/// and a role.
struct PipelineStage {
  std::string name;
  std::string label = {};  // what it is called on the terminal; empty: its name
  TrainConfig config;
  std::filesystem::path run_dir;
  std::vector<std::string> after;  // stages it starts from
  std::vector<std::string> notes;  // how its init_from was resolved, for the log
};

struct PipelineConfig {
  std::string name;
  int64_t jobs = 1;
  std::filesystem::path run_dir;
  std::vector<PipelineStage> stages;  // in file order; a stage comes after those it starts from
};

/// One entry of a pipeline file's `stages` with the tree of its configuration, not read yet.
struct StageFile {
  std::string name;
  std::string origin;
  ConfigNode root;
};

/// A pipeline file whose stages are still trees, which a sweep changes before they are read.
struct PipelineFile {
  std::string name;
  int64_t jobs = 1;
  std::vector<StageFile> stages;
};

/// Reads the file and the stages' files (paths relative to the file) with the `set` of each entry.
/// UserError.
PipelineFile read_pipeline_file(const std::filesystem::path& path);

/// The same of a tree that stands in the file `path`.
PipelineFile read_pipeline(const ConfigNode& root, const std::filesystem::path& path);

/// Validates every stage and resolves init_from, as load_pipeline does; stages' run folders lie in
/// `run_dir`. UserError.
PipelineConfig resolve_pipeline(PipelineFile file, const std::filesystem::path& run_dir);

/// Reads a pipeline file (`name`, `jobs`, `stages: [{name, config, set}]`, paths relative to the
/// file), applies `overrides` ("STAGE.a.b=c"), validates every stage and resolves init_from:
/// {stage, role}. The role defaults to generator_ema when that stage keeps an average, else
/// generator. `run_dir` empty: runs/NAME. UserError on the first thing that is wrong, with file and
/// line.
PipelineConfig load_pipeline(const std::filesystem::path& path,
                             const std::vector<std::string>& overrides,
                             const std::filesystem::path& run_dir);

}  // namespace vmla::trainer
