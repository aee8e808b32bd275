#include "trainer/stage_end.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/evaluation/stage_measures.h"
#include "trainer/run_summary.h"

#include <optional>

namespace vmla::trainer {
namespace {

/// All ranks stop before the same pass. Collective.
void stop_if_asked(const TrainedStage& stage) {
  const char* const signal = stage.stop.received();
  if (stage.mesh.everywhere(signal == nullptr)) return;
  const int64_t steps = stage.request.config.train.steps;
  throw StopRequested(
      formatted("{}: step {} of {} is saved in {}, but not measured yet; run the same command "
                "again to measure it",
                signal ? signal : "a signal to another rank",
                steps,
                steps,
                stage.request.run_dir.string()));
}

std::optional<StageMeasures> measure(const TrainedStage& stage) {
  const TrainConfig& config = stage.request.config;
  const bool wanted = config.sample.measure_clips > 0 || config.sample.long_frames > 0;
  if (!wanted || !stage.data.held_out()) return std::nullopt;
  std::optional<log::ProgressBar> bar;
  const auto show = [&](int64_t done, int64_t total) {
    if (!stage.mesh.is_lead()) return;
    if (!bar) bar.emplace(formatted("{}: measuring", config.stage), total);
    bar->update(done);
  };
  return measure_stage(config,
                       stage.sampler,
                       stage.roles.network(stage.roles.best()),
                       *stage.data.held_out(),
                       {.before_pass = [&] { stop_if_asked(stage); }, .progress = show});
}

}  // namespace

void finish_stage(const TrainedStage& stage) {
  const std::optional<StageMeasures> measures = measure(stage);
  if (stage.folder == nullptr) return;
  stage.folder->expect_in_place();
  write_summary(stage.folder->path(), stage.request.config, stage.trainer, measures);
}

}  // namespace vmla::trainer
