#include "trainer/evaluation/validation.h"

#include "data/loading/batch.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/roles/stage_precision.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <limits>

namespace vmla::trainer {
namespace {

/// Sums of frames' losses by bin of the timestep.
class TimeBins {
 public:
  explicit TimeBins(int64_t count)
      : sums_(static_cast<size_t>(count)), counts_(static_cast<size_t>(count)) {}

  void add(const at::Tensor& frame_loss_BF, const at::Tensor& timesteps_BF) {
    const at::Tensor losses = frame_loss_BF.to(at::kCPU, at::kDouble).contiguous();
    const at::Tensor times = timesteps_BF.to(at::kCPU, at::kDouble).contiguous();
    const auto bins = static_cast<int64_t>(sums_.size());
    for (int64_t i = 0; i < losses.numel(); ++i) {
      const double share = times.data_ptr<double>()[i] / model::kTrainTimesteps;
      const auto bin = static_cast<size_t>(std::clamp<int64_t>(
          static_cast<int64_t>(share * static_cast<double>(bins)), 0, bins - 1));
      sums_[bin] += losses.data_ptr<double>()[i];
      ++counts_[bin];
    }
  }

  std::vector<double> means() const {
    std::vector<double> means;
    for (size_t i = 0; i < sums_.size(); ++i) {
      means.push_back(counts_[i] ? sums_[i] / static_cast<double>(counts_[i])
                                 : std::numeric_limits<double>::quiet_NaN());
    }
    return means;
  }

 private:
  std::vector<double> sums_;
  std::vector<int64_t> counts_;
};

}  // namespace

ValidationResult validate(const TrainConfig& config,
                          int64_t micro_batch,
                          Objective& objective,
                          const NetworkTable& networks,
                          const std::string& player,
                          const data::LatentDataset& clips,
                          const model::TensorMap& shared_inputs,
                          const std::function<void()>& before_batch) {
  const at::NoGradGuard no_grad;
  const int64_t total = std::min(config.validation.clips, clips.size());
  const ClipShape shape = clip_shape_of(clips.info().clip_shape);
  TimeBins bins(config.validation.time_bins);
  double loss_sum = 0;
  for (int64_t first = 0; first < total; first += micro_batch) {
    if (before_batch) before_batch();
    const int64_t count = std::min(micro_batch, total - first);
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < count; ++i) indices.push_back(first + i);
    // The generator's draws, whichever role is evaluated, so that roles are compared on the same
    // noise.
    model::TensorMap inputs =
        objective.draws("generator",
                        shape,
                        {.seed = static_cast<uint64_t>(config.validation.seed),
                         .step = 0,
                         .first_sample = first,
                         .batch = count,
                         .validation = true});
    data::Batch batch = data::read_batch(clips, indices, first);
    inputs["clean_latents"] = batch.latents;
    inputs["text"] = batch.text;
    if (batch.ode_states.defined()) inputs["ode_states"] = batch.ode_states;
    inputs.insert(shared_inputs.begin(), shared_inputs.end());
    place_inputs(config, inputs);
    objective.evaluate(
        player, inputs, networks, model::GradMode::kNone, [&](const LossTerms& terms, bool) {
          // terms.total is a mean over `count` clips; the last batch may be smaller than the
          // others.
          loss_sum += terms.total.item<double>() * static_cast<double>(count);
          if (terms.details.contains("frame_loss"))
            bins.add(terms.details.at("frame_loss"), terms.details.at("timesteps"));
        });
  }
  return {loss_sum / static_cast<double>(total), bins.means()};
}

}  // namespace vmla::trainer
