#include "trainer/pipeline/pipeline_files.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "trainer/config/config_node.h"

namespace vmla::trainer {

namespace fs = std::filesystem;

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

void write_pipeline_summary(const PipelineConfig& pipeline) {
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

}  // namespace vmla::trainer
