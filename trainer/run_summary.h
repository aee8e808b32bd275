#pragma once

#include "trainer/evaluation/stage_measures.h"
#include "trainer/trainer.h"

#include <filesystem>
#include <optional>

namespace vmla::trainer {

/// Writes summary.json, the stage's final figures for programs (docs/formats.md "Run folder").
/// `measures`: those of the final samples, if any were made. A summary marks the stage as finished.
void write_summary(const std::filesystem::path& run_dir,
                   const TrainConfig& config,
                   const Trainer& trainer,
                   const std::optional<StageMeasures>& measures);

/// Writes init_report.json, which says what the conversion from dense weights kept of each layer,
/// and the same lines to the log. Nothing where no weights were converted.
void write_init_report(const std::filesystem::path& run_dir, const InitialWeights& origin);
/// The text of init_report.json; `vmla init` writes it too.
std::string init_report_json(const std::string& method,
                             const std::vector<model::InitLayerReport>& layers);

}  // namespace vmla::trainer
