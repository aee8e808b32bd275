#include "trainer/pipeline/pipeline.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/log.h"
#include "trainer/config/config_node.h"
#include "trainer/pipeline/pipeline_runner.h"
#include "trainer/pipeline/run_folder.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

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

/// The run folder's pipeline.yaml: for people, and the mark of a pipeline's folder.
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

/// Writes summary.json: every stage's own, by name.
void write_summary(const PipelineConfig& pipeline) {
  nlohmann::ordered_json summary;
  summary["pipeline"] = pipeline.name;
  summary["stages"] = nlohmann::ordered_json::object();
  for (const auto& stage : pipeline.stages) {
    const fs::path file = stage.run_dir / "summary.json";
    const std::string text = io::read_text_file(file);
    auto content = io::parse_json<nlohmann::ordered_json>(text, file.string());
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
    return run_stages(pipeline, options, configs.path());
  }
  RunFolder folder(pipeline.run_dir, RunFolder::Kind::kPipeline);
  folder.begin_pipeline(pipeline_yaml(pipeline));
  log::set_file(pipeline.run_dir / "log.txt");
  fs::create_directories(pipeline.run_dir / "configs");
  const int status = run_stages(pipeline, options, pipeline.run_dir / "configs");
  if (status != 0) return status;
  folder.expect_in_place();
  write_summary(pipeline);
  return status;
}

}  // namespace vmla::trainer
