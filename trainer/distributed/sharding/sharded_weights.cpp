#include "trainer/distributed/sharding/sharded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

namespace vmla::distributed {
namespace {

UnitDtypes dtypes_of(const ShardedWeights::Setup& setup) {
  return {.compute = setup.compute_dtype, .exact = setup.master_dtype};
}

/// What of a unit this rank holds. A unit that is not cut keeps the order of its layout, so that
/// the buffers are those of one process.
model::FlatPart own_elements(const ShardedWeights::Setup& setup,
                             const std::vector<model::TensorSpec>& layout) {
  if (setup.shard.size() == 1) return model::whole_unit(layout);
  return cut_unit(
             layout, dtypes_of(setup), {.rank = setup.shard.rank(), .size = setup.shard.size()})
      .part;
}

}  // namespace

ShardedWeights::ShardedWeights(const Setup& setup)
    : TrainedWeights(setup.config,
                     setup.tensors,
                     setup.source,
                     setup.home,
                     setup.compute_dtype,
                     setup.master_dtype,
                     setup.with_gradients,
                     [&](const auto& layout) { return own_elements(setup, layout); }),
      home_(setup.home),
      policy_(setup.policy),
      shard_(setup.shard),
      replica_(setup.replica) {
  TORCH_CHECK(!home_.offloaded || !setup.with_gradients,
              "what is trained is kept where it is trained");
  if (!is_cut()) return;
  gathered_ = std::make_unique<GatheredUnits>(
      shard_,
      cut_units(setup.config, dtypes_of(setup), shard_),
      [this](int64_t unit, const FlatBuffer& buffer) {
        return brought(own_part(master(unit), buffer), home_).to(buffer.dtype);
      },
      policy_.keep_gathered);
  if (!setup.with_gradients || policy_.scatter_gradients) return;
  for (const int64_t unit : units()) whole_gradients(unit);  // made now: they stay for the run
}

ShardedWeights::~ShardedWeights() {
  finish_bringing(home_);
}

std::vector<at::Tensor> ShardedWeights::acquire(int64_t unit) {
  return is_cut() ? gathered_->acquire(unit) : TrainedWeights::acquire(unit);
}

void ShardedWeights::release(int64_t unit) {
  if (is_cut()) gathered_->release(unit);
}

void ShardedWeights::prefetch(int64_t unit) {
  if (is_cut()) gathered_->prefetch(unit);
}

void ShardedWeights::hold() {
  if (is_cut() && policy_.allow_hold) gathered_->hold();
}

void ShardedWeights::unhold() {
  if (is_cut() && policy_.allow_hold) gathered_->unhold();
}

void ShardedWeights::expect_gradients(int64_t unit) {
  ++expected_[unit];
}

void ShardedWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  --expected_[unit];
  // The unit's gradients of the step are complete: their sum over the ranks can travel while the
  // backward goes on with the units before it.
  const bool complete = last_backward_ && expected_[unit] == 0;
  if (!is_cut()) {
    TrainedWeights::add_gradients(unit, gradients);
  } else {
    add_to_whole(unit, gradients);
    // The root is used first and last in a forward, so its gradients come in two shares, which
    // travel together.
    const bool more_to_come = unit == model::kRootUnit && expected_[unit] > 0;
    if (policy_.scatter_gradients && !more_to_come) scatter(unit);
  }
  if (complete) start_reduction(unit);
}

/// Adds gradients (visitor order, undefined: zero) to this rank's full-size ones.
void ShardedWeights::add_to_whole(int64_t unit, const std::vector<at::Tensor>& gradients) {
  const auto& [layout, cut] = gathered_->unit(unit);
  TORCH_CHECK(gradient(unit).defined() && gradients.size() == layout.size(),
              "gradients of a unit: ",
              gradients.size());
  const std::vector<at::Tensor> views = unit_views(cut, layout, whole_gradients(unit));
  for (size_t i = 0; i < views.size(); ++i) {
    if (gradients[i].defined()) views[i].add_(gradients[i]);
  }
}

/// The unit's full-size gradients, made (as zeros) where there are none.
std::vector<at::Tensor>& ShardedWeights::whole_gradients(int64_t unit) {
  std::vector<at::Tensor>& whole = whole_gradients_[unit];
  if (!whole.empty()) return whole;
  for (const FlatBuffer& buffer : gathered_->unit(unit).cut.buffers)
    whole.push_back(at::zeros({buffer.part_numel * shard_.size()}, gradient(unit).options()));
  return whole;
}

/// Sums the unit's full-size gradients over the shard group, adds this rank's part of the sum to
/// gradient(unit), and frees them.
void ShardedWeights::scatter(int64_t unit) {
  const auto& buffers = gathered_->unit(unit).cut.buffers;
  const std::vector<at::Tensor> whole = std::exchange(whole_gradients_[unit], {});
  for (size_t b = 0; b < buffers.size(); ++b) {
    const at::Tensor sum = at::empty({buffers[b].part_numel}, whole[b].options());
    shard_.reduce_scatter(sum, whole[b]).wait();
    own_part(gradient(unit), buffers[b]).add_(sum);
  }
}

/// Starts what is left of the sum over the ranks, once a step: the shard group's reduce-scatter
/// where gradients stayed local, then the replicas' all-reduce of the result.
void ShardedWeights::start_reduction(int64_t unit) {
  if (reductions_.contains(unit)) return;
  // What was recorded and never came to a backward left its share here.
  if (policy_.scatter_gradients && !whole_gradients_[unit].empty()) scatter(unit);
  std::vector<Pending>& pending = reductions_[unit];
  if (is_cut() && !policy_.scatter_gradients) {
    const auto& buffers = gathered_->unit(unit).cut.buffers;
    for (size_t b = 0; b < buffers.size(); ++b)
      pending.push_back(shard_.reduce_scatter(own_part(gradient(unit), buffers[b]),
                                              whole_gradients_.at(unit)[b]));
    if (replica_.size() == 1) return;
    for (Pending& part : pending) part.wait();  // the replicas add up its result
    pending.clear();
  }
  pending.push_back(replica_.all_reduce(gradient(unit)));
}

void ShardedWeights::finish_gradients() {
  const at::NoGradGuard no_grad;
  for (const int64_t unit : units()) start_reduction(unit);  // units that no backward came to
  for (auto& [unit, pending] : reductions_) {
    for (Pending& part : pending) part.wait();
  }
  reductions_.clear();
  last_backward_ = false;
}

void ShardedWeights::zero_gradients() {
  TrainedWeights::zero_gradients();
  for (auto& [unit, buffers] : whole_gradients_) {
    for (const at::Tensor& whole : buffers) whole.zero_();
  }
  expected_.clear();
  last_backward_ = false;
}

void ShardedWeights::drop_copies() {
  if (is_cut()) {
    gathered_->forget();
  } else {
    TrainedWeights::drop_copies();
  }
}

void ShardedWeights::masters_and_copies_changed() {
  if (is_cut()) gathered_->forget();  // of a part there is no copy
}

/// Gathered from the masters themselves, not in the compute dtype: for checkpoints and measures.
std::map<std::string, at::Tensor> ShardedWeights::tensors_of(int64_t unit) {
  if (!is_cut()) return TrainedWeights::tensors_of(unit);
  const at::NoGradGuard no_grad;
  const auto& [layout, cut] = gathered_->unit(unit);
  std::vector<at::Tensor> whole;
  for (const FlatBuffer& buffer : cut.buffers) {
    const at::Tensor part = brought(own_part(master(unit), buffer), home_);
    whole.push_back(at::empty({buffer.part_numel * shard_.size()}, part.options()));
    shard_.all_gather(whole.back(), part).wait();
  }
  const std::vector<at::Tensor> views = unit_views(cut, layout, whole);
  std::map<std::string, at::Tensor> named;
  for (size_t i = 0; i < layout.size(); ++i) named[layout[i].name] = views[i];
  return named;
}

}  // namespace vmla::distributed
