#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/sweep/sweep_file.h"

/// The choice of a key's value, such as the learning rate, on other seeds than those that are
/// compared.
namespace vmla::trainer {

/// Cells that get one choice, and the cell that it is made on.
struct TuneGroup {
  std::string name;           // "method=random"
  std::vector<size_t> cells;  // indices into SweepFile::cells
  SweepCell place;
};

/// The groups of a sweep with a section `tune`: cells with equal values on the axes of `per`. A
/// cell that the file lists by itself is a group of its own.
std::vector<TuneGroup> tune_groups(const SweepFile& file);

/// The cells to choose on, group by group, in each the values of tune.axis in their order.
std::vector<SweepCell> tune_cells(const SweepFile& file, const std::vector<TuneGroup>& groups);

/// The sweep's cells with each group's chosen value (an index into tune.axis.values); cells of a
/// group without a choice have the first.
std::vector<SweepCell> tuned_cells(const SweepFile& file,
                                   const std::vector<TuneGroup>& groups,
                                   const std::vector<std::optional<size_t>>& chosen);

/// The value with the least mean over the seeds, or with `largest` the greatest; the first of equal
/// ones. figures[value][seed] is NaN where there is none: such a value is not chosen.
std::optional<size_t> best_value(const std::vector<std::vector<double>>& figures, bool largest);

}  // namespace vmla::trainer
