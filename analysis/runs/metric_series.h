#pragma once

#include <vector>

namespace vmla::analysis {

/// One figure of metrics.jsonl over the steps that have it: values[i] was logged at steps[i]. Never
/// empty in RunContents.
struct MetricSeries {
  std::vector<double> steps, values;
};

}  // namespace vmla::analysis
