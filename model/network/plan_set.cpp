#include "model/network/plan_set.h"

namespace vmla::model {

const PreparedPlan& PlanSet::get(const ModelConfig& config,
                                 const AttentionPlan& plan,
                                 int64_t rows,
                                 int64_t cols,
                                 const at::TensorOptions& options) {
  const auto dtype = c10::typeMetaToScalarType(options.dtype());
  if (rows != rows_ || cols != cols_ || dtype != dtype_ || options.device() != device_) {
    plans_.clear();
    rows_ = rows;
    cols_ = cols;
    dtype_ = dtype;
    device_ = options.device();
  }
  for (const PreparedPlan& known : plans_) {
    if (known.plan == plan) return known;
  }
  plans_.push_back(prepare_plan(config, plan, rows, cols, options));
  return plans_.back();
}

}  // namespace vmla::model
