#include "trainer/distributed/sharding/sharded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

namespace vmla::distributed {
namespace {

std::map<int64_t, GatheredUnits::Unit> cut_units(const model::ModelConfig& config,
                                                 at::ScalarType compute,
                                                 at::ScalarType exact,
                                                 const Communicator& shard) {
  std::map<int64_t, GatheredUnits::Unit> units;
  for (const int64_t unit : model::all_units(config)) {
    auto layout = model::unit_layout(config, unit);
    UnitCut cut = cut_unit(layout, compute, exact, shard.rank(), shard.size());
    units.emplace(unit, GatheredUnits::Unit{std::move(layout), std::move(cut)});
  }
  return units;
}

}  // namespace

ShardedWeights::ShardedWeights(const model::ModelConfig& config,
                               const std::map<std::string, at::Tensor>& tensors,
                               const std::string& source,
                               at::Device home,
                               at::Device device,
                               at::ScalarType compute_dtype,
                               at::ScalarType master_dtype,
                               bool with_gradients,
                               const ShardingPolicy& policy,
                               Communicator& shard,
                               Communicator& replica)
    : TrainedWeights(
          config,
          tensors,
          source,
          home,
          compute_dtype,
          master_dtype,
          with_gradients,
          [&](const std::vector<model::TensorSpec>& layout) {
            if (shard.size() == 1) return model::whole_unit(layout);
            return cut_unit(layout, compute_dtype, master_dtype, shard.rank(), shard.size()).part;
          }),
      device_(device),
      policy_(policy),
      shard_(shard),
      replica_(replica) {
  TORCH_CHECK(home == device || !with_gradients, "what is trained is kept where it is trained");
  if (!is_cut()) return;
  gathered_ = std::make_unique<GatheredUnits>(
      shard,
      cut_units(config, compute_dtype, master_dtype, shard),
      [this](int64_t unit, const FlatBuffer& buffer) { return own_part(unit, buffer); },
      policy.keep_gathered);
  if (!with_gradients || policy.scatter_gradients) return;
  for (const int64_t unit : units()) whole_gradients(unit);
}

at::Tensor ShardedWeights::own_part(int64_t unit, const FlatBuffer& buffer) {
  return master(unit).narrow(0, buffer.local_offset, buffer.cut).to(device_, buffer.dtype);
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

void ShardedWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>& found) {
  const at::NoGradGuard no_grad;
  --expected_[unit];
  const bool last = last_backward_ && expected_[unit] == 0;
  if (!is_cut()) {
    TrainedWeights::add_gradients(unit, found);
    if (last) reduce(unit);
    return;
  }
  const GatheredUnits::Unit& cut = gathered_->unit(unit);
  TORCH_CHECK(gradient(unit).defined() && found.size() == cut.layout.size(),
              "gradients of a unit: ",
              found.size());
  std::vector<at::Tensor>& whole = whole_gradients(unit);
  for (size_t b = 0; b < cut.cut.buffers.size(); ++b) {
    const FlatBuffer& buffer = cut.cut.buffers[b];
    const auto views = buffer_views(buffer, cut.layout, whole[b]);
    for (size_t i = 0; i < views.size(); ++i) {
      if (found[buffer.tensors[i]].defined()) views[i].add_(found[buffer.tensors[i]]);
    }
  }
  // The root is used first and last in a forward: its two shares travel together.
  const bool waits = unit == model::kRootUnit && expected_[unit] > 0;
  if (policy_.scatter_gradients && !waits) scatter(unit);
  if (last) reduce(unit);
}

std::vector<at::Tensor>& ShardedWeights::whole_gradients(int64_t unit) {
  std::vector<at::Tensor>& whole = gradients_[unit];
  if (!whole.empty()) return whole;
  for (const FlatBuffer& buffer : gathered_->unit(unit).cut.buffers)
    whole.push_back(at::zeros({buffer.cut * shard_.size()}, gradient(unit).options()));
  return whole;
}

/// Adds the sum over the ranks of what is there of a unit to this rank's part, and drops it.
void ShardedWeights::scatter(int64_t unit) {
  const auto& buffers = gathered_->unit(unit).cut.buffers;
  const std::vector<at::Tensor> found = std::exchange(gradients_[unit], {});
  for (size_t b = 0; b < buffers.size(); ++b) {
    const at::Tensor part = at::empty({buffers[b].cut}, found[b].options());
    shard_.reduce_scatter(part, found[b]).wait();
    gradient(unit).narrow(0, buffers[b].local_offset, buffers[b].cut).add_(part);
  }
}

/// Starts what is left of the sum over the ranks.
void ShardedWeights::reduce(int64_t unit) {
  if (reductions_.contains(unit)) return;
  if (policy_.scatter_gradients && !gradients_[unit].empty())
    scatter(unit);  // a use had no backward
  std::vector<Pending>& pending = reductions_[unit];
  if (is_cut() && !policy_.scatter_gradients) {
    const auto& buffers = gathered_->unit(unit).cut.buffers;
    for (size_t b = 0; b < buffers.size(); ++b) {
      pending.push_back(
          shard_.reduce_scatter(gradient(unit).narrow(0, buffers[b].local_offset, buffers[b].cut),
                                gradients_.at(unit)[b]));
    }
    if (replica_.size() == 1) return;
    for (Pending& part : pending) part.wait();  // its result is what the replicas add up
    pending.clear();
  }
  pending.push_back(replica_.all_reduce(gradient(unit)));
}

void ShardedWeights::finish_gradients() {
  const at::NoGradGuard no_grad;
  for (const int64_t unit : units()) reduce(unit);
  for (auto& [unit, pending] : reductions_) {
    for (Pending& part : pending) part.wait();
  }
  reductions_.clear();
  last_backward_ = false;
}

void ShardedWeights::zero_gradients() {
  TrainedWeights::zero_gradients();
  for (auto& [unit, buffers] : gradients_) {
    for (const at::Tensor& whole : buffers) whole.zero_();
  }
  expected_.clear();
  last_backward_ = false;
}

void ShardedWeights::masters_changed() {
  if (is_cut()) {
    gathered_->forget();
  } else {
    TrainedWeights::masters_changed();
  }
}

std::map<std::string, at::Tensor> ShardedWeights::tensors_of(int64_t index) {
  if (!is_cut()) return TrainedWeights::tensors_of(index);
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> named;
  const GatheredUnits::Unit& unit = gathered_->unit(index);
  for (const FlatBuffer& buffer : unit.cut.buffers) {
    const at::Tensor part = master(index).narrow(0, buffer.local_offset, buffer.cut).to(device_);
    const at::Tensor whole = at::empty({buffer.cut * shard_.size()}, part.options());
    shard_.all_gather(whole, part).wait();
    const auto views = buffer_views(buffer, unit.layout, whole);
    for (size_t i = 0; i < views.size(); ++i) named[unit.layout[buffer.tensors[i]].name] = views[i];
  }
  return named;
}

ShardedFrozenWeights::ShardedFrozenWeights(const model::ModelConfig& config,
                                           const std::map<std::string, at::Tensor>& tensors,
                                           const std::string& source,
                                           at::Device home,
                                           at::Device device,
                                           at::ScalarType compute_dtype,
                                           bool allow_hold,
                                           Communicator& shard)
    : allow_hold_(allow_hold),
      gathered_(
          shard,
          cut_units(config, compute_dtype, model::exact_dtype(compute_dtype), shard),
          [this, device](int64_t unit, const FlatBuffer& buffer) {
            const auto& buffers = gathered_.unit(unit).cut.buffers;
            return parts_.at(unit)[static_cast<size_t>(&buffer - buffers.data())].to(device);
          },
          /*keep=*/false) {
  const at::NoGradGuard no_grad;
  model::check_weights(config, tensors, source);
  for (const int64_t index : model::all_units(config)) {
    const GatheredUnits::Unit& unit = gathered_.unit(index);
    const auto options = at::TensorOptions().device(home);
    std::vector<at::Tensor>& parts = parts_[index];
    for (const FlatBuffer& buffer : unit.cut.buffers)
      parts.push_back(at::zeros({buffer.cut}, options.dtype(buffer.dtype)));
    for (const model::FlatPiece& piece : unit.cut.part.pieces) {
      size_t b = unit.cut.buffers.size();
      while (unit.cut.buffers[--b].local_offset > piece.offset) {
      }
      parts[b]
          .narrow(0, piece.offset - unit.cut.buffers[b].local_offset, piece.count)
          .copy_(tensors.at(unit.layout[piece.tensor].name)
                     .reshape({-1})
                     .narrow(0, piece.first, piece.count));
    }
  }
}

void ShardedFrozenWeights::hold() {
  if (allow_hold_) gathered_.hold();
}

void ShardedFrozenWeights::unhold() {
  if (allow_hold_) gathered_.unhold();
}

void ShardedFrozenWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>&) {
  TORCH_CHECK(false, "frozen weights take no gradient, unit: ", unit);
}

}  // namespace vmla::distributed
