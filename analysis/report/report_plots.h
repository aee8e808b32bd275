#pragma once

#include <string>
#include <vector>

#include "analysis/page/svg_plot.h"
#include "analysis/runs/median.h"
#include "analysis/runs/run_reading.h"

/// Plots of logged figures, as the reports draw them.
namespace vmla::analysis {

/// Adds a noisy curve: pale itself, its moving mean in full colour.
void add_noisy(std::vector<Series>& plot,
               const MetricSeries& series,
               const std::string& label,
               const std::string& colour);

/// One figure of a run over the steps; says so where it was not recorded.
std::string metric_plot(const RunContents& run,
                        const std::string& key,
                        const std::string& title,
                        bool log_y,
                        bool noisy);

/// A figure of every player in one plot: `key` is the generator's, `key_PLAYER` another's.
/// `settled` names a figure that is drawn with them as points ("" for none).
std::string player_plot(const RunContents& run,
                        const std::string& key,
                        const std::string& title,
                        const std::string& settled);

}  // namespace vmla::analysis
