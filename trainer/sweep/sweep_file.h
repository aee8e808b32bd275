#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/pipeline/pipeline_config.h"
#include "trainer/sweep/sweep_grid.h"

namespace vmla::trainer {

/// A figure of a run: of one stage of a pipeline, or of the stage that is swept.
struct SweepFigure {
  std::string stage;
  /// A key of summary.json or of metrics.jsonl.
  std::string key;
  /// As the file has it.
  std::string text;
};

/// The section `tune`: a key whose value is chosen on runs with other seeds, before the cells run.
struct SweepTune {
  SweepAxis axis;
  std::vector<int64_t> seeds;
  /// The axes of which every value gets its own choice, and where on the other axes the runs are.
  std::vector<size_t> per;
  AxisPlace at;
  /// What these runs have otherwise, such as fewer steps.
  std::vector<SweepSetting> set;
  SweepFigure metric;
  bool largest = false;  // the best is the largest
};

/// The section `targets`: how many steps a curve takes to fall to values that are fixed beforehand.
struct SweepTargets {
  SweepFigure curve;
  std::vector<double> values;
};

/// What differences are taken from: the cell of that name, or for each cell the one that lies at
/// `place` and otherwise where the cell itself lies.
struct SweepBaseline {
  std::string cell;
  AxisPlace place;
};

/// A sweep's file, whose cells are not resolved into configurations yet.
struct SweepFile {
  std::string name;
  /// A pipeline, or (is_stage) one stage as a pipeline of one, whose keys have no stage in front.
  PipelineFile base;
  bool is_stage = false;
  std::vector<SweepSetting> set;  // of every cell
  std::vector<SweepAxis> axes;
  std::vector<SweepCell> cells;
  std::vector<int64_t> seeds;
  int64_t jobs = 1;
  /// Where the stages are trained, relative to the working directory; empty: SWEEP/stages. Sweeps
  /// that name one folder share what they have in common, such as pretrained models.
  std::filesystem::path stages_dir;
  std::optional<SweepTune> tune;
  std::vector<SweepFigure> metrics;
  std::optional<SweepTargets> targets;
  std::optional<SweepBaseline> baseline;
};

/// Reads a sweep's file (docs/formats.md "Sweep"; paths relative to it), with `overrides`
/// ("STAGE.a.b=c") as further settings of every cell. UserError on the first thing that is wrong,
/// with file and line. What a cell's keys and values mean is checked by resolve_runs.
SweepFile read_sweep_file(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides);

/// The cell that differences of `cell` are taken from, as an index into file.cells; nothing for the
/// baseline itself, without one, and where no cell lies there.
std::optional<size_t> baseline_of(const SweepFile& file, size_t cell);

}  // namespace vmla::trainer
