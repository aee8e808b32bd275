#include "model/sampling/chunk_graph.h"

#include <ATen/ATen.h>

namespace vmla::model {
namespace {

void add_addresses(std::vector<const void*>& addresses, std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors)
    addresses.push_back(tensor.defined() ? tensor.const_data_ptr() : nullptr);
}

/// What of a prepared plan is on the device: the angles of rotary positions.
std::vector<at::Tensor> angles_of(const PreparedPlan& plan) {
  std::vector<at::Tensor> angles;
  for (const PreparedPlan::Tables& tables : plan.tables)
    for (const kernels::RopeTable* table : {&tables.query, &tables.key})
      angles.insert(angles.end(), {table->cos, table->sin});
  return angles;
}

/// The plan with angles of its own.
PreparedPlan with_own_angles(PreparedPlan plan) {
  for (PreparedPlan::Tables& tables : plan.tables)
    for (kernels::RopeTable* table : {&tables.query, &tables.key})
      *table = {table->cos.clone(), table->sin.clone()};
  return plan;
}

}  // namespace

ChunkShape::ChunkShape(const ChunkPasses& passes)
    : window_frames(passes.inputs.plan.plan.window_frames),
      frames(passes.inputs.plan.plan.sequence_frames()),
      output_begin(passes.inputs.plan.plan.output_begin),
      segments(passes.inputs.plan.segments),
      output_segments(passes.inputs.plan.output_segments) {
  for (const LayerKv& layer : passes.inputs.window)
    add_addresses(addresses, {layer.content, layer.key, layer.scale});
  for (const CrossKv& layer : passes.inputs.pass_cache.text)
    add_addresses(addresses, {layer.k, layer.v});
}

bool ChunkGraph::can_record(const Network& network, at::Device device) {
  const bool alone = network.sequence == nullptr || network.sequence->size() == 1;
  return kernels::can_record(device) && network.weights.is_fixed() && alone;
}

ChunkGraph::ChunkGraph(const ChunkPasses& passes,
                       const at::Tensor& noise_BFCHW,
                       const KvCache& cache)
    : shape_(passes),
      plan_(with_own_angles(passes.inputs.plan)),
      window_(passes.inputs.window),
      noise_(at::empty_like(noise_BFCHW)) {
  if (passes.inputs.chunk_cache) chunk_cache_.emplace();
  for (size_t k = 0; k < fresh_noise_count(passes.sampler); ++k)
    fresh_noise_.push_back(at::empty_like(noise_BFCHW));
  const ChunkPasses fixed{passes.network,
                          passes.guidance,
                          passes.sampler,
                          {.text = passes.inputs.text,
                           .plan = plan_,
                           .window = window_,
                           .pass_cache = passes.inputs.pass_cache,
                           .chunk_cache = chunk_cache_ ? &*chunk_cache_ : nullptr}};
  const auto fresh_noise = [&](int64_t k) { return fresh_noise_[static_cast<size_t>(k)]; };
  const at::Device device = noise_.device();
  denoising_ = kernels::record(
      device, [&] { latents_ = model::denoise(fixed, noise_, fresh_noise, nullptr); });
  finishing_ = kernels::record(
      device,
      [&] { kv_ = cache.as_stored(model::finished_kv(fixed, latents_)); },
      denoising_.get());
}

at::Tensor ChunkGraph::denoise(const PreparedPlan& plan,
                               const at::Tensor& noise_BFCHW,
                               const FreshNoise& fresh_noise) {
  at::_foreach_copy_(angles_of(plan_), angles_of(plan));
  noise_.copy_(noise_BFCHW);
  for (size_t k = 0; k < fresh_noise_.size(); ++k)
    fresh_noise_[k].copy_(fresh_noise(static_cast<int64_t>(k)));
  denoising_->replay();
  return latents_.clone();  // the next chunk's come to the same place
}

const std::vector<LayerKv>& ChunkGraph::finished_kv() {
  finishing_->replay();
  return kv_;
}

}  // namespace vmla::model
