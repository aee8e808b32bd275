#include "trainer/plan_checks.h"

#include "model/config/model_config.h"
#include "trainer/inputs/planned_media.h"
#include "trainer/inputs/stage_codec.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/roles/initial_weights.h"
#include "trainer/start_checks.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

namespace vmla::trainer {
namespace {

/// Whether all that the stage reads is there: a pipeline is planned before its first stage has run,
/// and large weights may lie on another machine.
bool inputs_are_there(const TrainConfig& config) {
  const auto exists = [](const std::string& path) { return std::filesystem::exists(path); };
  const data::DataConfig& d = config.data;
  return exists(d.path) && (d.validation_path.empty() || exists(d.validation_path)) &&
         std::ranges::all_of(config.init_from,
                             [&](const auto& entry) { return exists(entry.second.path); });
}

}  // namespace

std::optional<MediaInfo> known_media(const TrainConfig& config,
                                     const std::optional<SavedStage>& checkpoint) {
  if (checkpoint) return read_media_info(checkpoint->info.data_position, "the checkpoint");
  const auto source = config.init_from.find("generator");
  return source == config.init_from.end() ? std::nullopt : checkpoint_media(source->second.path);
}

void check_plan(const TrainConfig& config, const Objective& objective) {
  check_sources(config);
  if (inputs_are_there(config)) {
    const StageData data(config, known_media(config, {}), StageData::Missing::kRefuse);
    check_prompt_texts(config, data.media());
    if (std::filesystem::exists(config.data.codec_weights)) stage_codec(config, data.media());
  }
  const ClipShape clip = planned_media(config).clip;
  objective.check_clip(clip);
  if (objective_traits(config.objective).causal) model::chunk_sizes(config.model, clip.frames);
}

void check_stage(const TrainConfig& config, const std::filesystem::path& run_dir, bool dry_run) {
  const auto objective = make_objective(config.objective, config.model);
  check_inputs(config, run_dir, dry_run);
  check_plan(config, *objective);
}

}  // namespace vmla::trainer
