#include "trainer/stage_end.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/distributed/collectives/shared_stop.h"
#include "trainer/evaluation/stage_measures.h"
#include "trainer/run_summary.h"

#include <optional>

namespace vmla::trainer {
namespace {

std::string said_at_stop(const TrainedStage& stage) {
  const int64_t steps = stage.request.config.train.steps;
  return formatted(
      "step {} of {} is saved in {}, but not measured yet; run the same command again to measure "
      "it",
      steps,
      steps,
      stage.request.run_dir.string());
}

std::optional<StageMeasures> measure(const TrainedStage& stage) {
  const TrainConfig& config = stage.request.config;
  const bool wanted = config.sample.measure_clips > 0 || config.sample.long_frames > 0;
  if (!wanted || !stage.data.held_out()) return std::nullopt;
  distributed::SharedStop stop(stage.mesh, [&] { return said_at_stop(stage); });
  std::optional<log::ProgressBar> bar;
  const auto show = [&](int64_t done, int64_t total) {
    if (!stage.mesh.is_lead()) return;
    if (!bar) bar.emplace(formatted("{}: measuring", config.stage), total);
    bar->update(done);
  };
  stage.roles.make_room_for_best();
  return measure_stage(config,
                       stage.sampler,
                       stage.roles.network(stage.roles.best()),
                       *stage.data.held_out(),
                       stage.mesh,
                       {.before_pass = [&] { stop.look(); }, .progress = show});
}

}  // namespace

void finish_stage(const TrainedStage& stage) {
  const std::optional<StageMeasures> measures = measure(stage);
  if (stage.folder == nullptr) return;
  stage.folder->expect_in_place();
  write_summary(stage.folder->path(), stage.request.config, stage.trainer, measures);
}

}  // namespace vmla::trainer
