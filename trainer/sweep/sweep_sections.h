#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/sweep/sweep_file.h"

/// Parts of a sweep's file that several of its sections have, and the section `tune`. `section`
/// stands in front of messages. UserError with file and line.
namespace vmla::trainer {

/// Fails where a key of a pipeline does not begin with one of its stages, or is one that cells must
/// not set: the stage's name, and its seed, which only `set` may fix (`in_every_cell`).
void check_setting(const SweepFile& sweep, const SweepSetting& setting, bool in_every_cell);

/// A list of different integers.
std::vector<int64_t> read_seeds(const ConfigNode& node, const std::string& section);

/// "tf.validation_loss", or without a stage a figure of the last one.
SweepFigure read_figure(const ConfigNode& node, const std::string& section, const SweepFile& sweep);

/// The section `tune` of a sweep whose base, seeds, grid and metrics are read.
SweepTune read_tune(const ConfigNode& node, const SweepFile& sweep);

}  // namespace vmla::trainer
