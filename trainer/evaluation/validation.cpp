#include "trainer/evaluation/validation.h"

#include "data/loading/batch.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/evaluation/rank_rounds.h"
#include "trainer/roles/stage_precision.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <numeric>

namespace vmla::trainer {
namespace {

/// What the batches found, a row for each: [batches, 1 + 2 bins] in fp64, the sum of the clips'
/// losses, then the sums of the frames' losses by bin of the timestep, then how many frames these
/// are.
class BatchSums {
 public:
  BatchSums(int64_t batches, int64_t bins)
      : bins_(bins), rows_(at::zeros({batches, 1 + 2 * bins}, at::kDouble)) {}

  void add_loss(int64_t batch, double sum) { rows_[batch][0] += sum; }

  void add_frames(int64_t batch, const at::Tensor& frame_loss_BF, const at::Tensor& timesteps_BF) {
    const at::Tensor losses = frame_loss_BF.to(at::kCPU, at::kDouble).flatten();
    const at::Tensor share =
        timesteps_BF.to(at::kCPU, at::kDouble).flatten() / model::kTrainTimesteps;
    const at::Tensor bin = (share * bins_).to(at::kLong).clamp(0, bins_ - 1);
    const at::Tensor row = rows_[batch];
    row.narrow(0, 1, bins_).index_add_(0, bin, losses);
    row.narrow(0, 1 + bins_, bins_).index_add_(0, bin, at::ones_like(losses));
  }

  /// Of all ranks, each of which has rows of its own and zeros in the others'. Collective.
  ValidationResult result(const distributed::Mesh& mesh, int64_t clips) {
    mesh.host().all_reduce(rows_).wait();
    // Row by row, so that a sum has the same bits however many ranks there are.
    at::Tensor sums = at::zeros({rows_.size(1)}, at::kDouble);
    for (const at::Tensor& row : rows_.unbind()) sums += row;
    const at::Tensor means = sums.narrow(0, 1, bins_) / sums.narrow(0, 1 + bins_, bins_);
    return {
        .loss = sums[0].item<double>() / static_cast<double>(clips),
        .loss_by_time = {means.const_data_ptr<double>(), means.const_data_ptr<double>() + bins_}};
  }

 private:
  int64_t bins_;
  at::Tensor rows_;
};

/// The inputs of `count` clips from `first` on.
model::TensorMap batch_inputs(const TrainConfig& config,
                              const Objective& objective,
                              const data::LatentDataset& clips,
                              const model::TensorMap& shared_inputs,
                              int64_t first,
                              int64_t count) {
  // The generator's draws, whichever role is evaluated, so that roles are compared on the same
  // noise.
  model::TensorMap inputs = objective.draws("generator",
                                            clip_shape_of(clips.info().clip_shape),
                                            {.seed = static_cast<uint64_t>(config.validation.seed),
                                             .step = 0,
                                             .first_sample = first,
                                             .batch = count,
                                             .validation = true});
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), first);
  data::Batch batch = data::read_batch(clips, indices, first);
  inputs["clean_latents"] = batch.latents;
  inputs["text"] = batch.text;
  if (batch.ode_states.defined()) inputs["ode_states"] = batch.ode_states;
  inputs.insert(shared_inputs.begin(), shared_inputs.end());
  place_inputs(config, inputs);
  return inputs;
}

}  // namespace

ValidationResult validate(const TrainConfig& config,
                          int64_t micro_batch,
                          Objective& objective,
                          const NetworkTable& networks,
                          const std::string& player,
                          const data::LatentDataset& clips,
                          const model::TensorMap& shared_inputs,
                          const distributed::Mesh& mesh,
                          const std::function<void()>& before_batch) {
  const at::NoGradGuard no_grad;
  const int64_t total = std::min(config.validation.clips, clips.size());
  // A batch on each rank at least, where that needs smaller ones.
  const int64_t share = (total + mesh.shape().data_ranks() - 1) / mesh.shape().data_ranks();
  const int64_t batch = std::max<int64_t>(1, std::min(micro_batch, share)),
                batches = (total + batch - 1) / batch;
  BatchSums sums(batches, config.validation.time_bins);
  for (const RankRound& round : rank_rounds(mesh, batches)) {
    if (before_batch) before_batch();
    const int64_t first = round.mine * batch, count = std::min(batch, total - first);
    const model::TensorMap inputs =
        batch_inputs(config, objective, clips, shared_inputs, first, count);
    objective.evaluate(
        player, inputs, networks, model::GradMode::kNone, [&](const LossTerms& terms, bool) {
          if (!round.counts) return;
          // A mean over `count` clips; the last batch may be smaller than the others.
          sums.add_loss(round.mine, terms.total.item<double>() * static_cast<double>(count));
          if (terms.details.contains("frame_loss"))
            sums.add_frames(
                round.mine, terms.details.at("frame_loss"), terms.details.at("timesteps"));
        });
  }
  return sums.result(mesh, total);
}

}  // namespace vmla::trainer
