#pragma once

#include "trainer/evaluation/stage_measures.h"
#include "trainer/trainer.h"

#include <filesystem>
#include <optional>

namespace vmla::trainer {

/// Writes summary.json: the stage's final figures, for programs (docs/formats.md "Run folder").
void write_summary(const std::filesystem::path& run_dir,
                   const TrainConfig& config,
                   const Trainer& trainer,
                   const std::optional<StageMeasures>& measures);

/// Writes init_report.json, what the conversion from dense weights kept, and says it in the log.
void write_init_report(const std::filesystem::path& run_dir, const InitialWeights& origin);
/// The report's JSON text, for `vmla init`.
std::string init_report_json(const std::string& method,
                             const std::vector<model::InitLayerReport>& layers);

}  // namespace vmla::trainer
