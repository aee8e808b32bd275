#pragma once

#include "model/network/executed_work.h"
#include "trainer/planner/planned_step.h"
#include "trainer/roles/network_phases.h"
#include "trainer/telemetry/tensor_memory.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace vmla::trainer {

/// Inside planned_step: takes the peak of the tensors on the meta device and the arithmetic of each
/// phase of an update, "generator forward", "real_score without gradient", ... Of a phase that
/// comes again the peak is the highest and the arithmetic is added up.
class PhaseWatch : public PhaseListener {
 public:
  /// `work` counts what is executed on the meta device; null: nothing does.
  PhaseWatch(std::string player, model::ExecutedWork* work)
      : player_(std::move(player)), work_(work) {
    reset_tensor_peak(at::kMeta);
    if (work_ != nullptr) work_->take();
  }

  void phase_begins(const std::string& role, NetworkWay way) override {
    close();
    current_ = role + (way == NetworkWay::kForward    ? " forward"
                       : way == NetworkWay::kBackward ? " backward"
                                                      : " without gradient");
  }
  void phase_was_rollout() override { current_ = player_ + " rollout"; }

  /// Ends the last phase. The phases in the order in which they first began.
  std::vector<PlannedPhase> finish() {
    close();
    return std::move(phases_);
  }

 private:
  void close() {
    const int64_t peak = tensor_bytes(at::kMeta).peak;
    reset_tensor_peak(at::kMeta);
    const auto executed = work_ != nullptr ? work_->take() : model::ExecutedWork::Count{};
    if (current_.empty()) return;
    const auto known = std::ranges::find(phases_, current_, &PlannedPhase::name);
    if (known == phases_.end()) {
      phases_.push_back({current_, peak, executed});
    } else {
      known->peak_bytes = std::max(known->peak_bytes, peak);
      known->executed += executed;
    }
  }

  std::string player_, current_;
  model::ExecutedWork* work_;
  std::vector<PlannedPhase> phases_;
};

}  // namespace vmla::trainer
