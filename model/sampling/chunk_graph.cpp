#include "model/sampling/chunk_graph.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

namespace vmla::model {
namespace {

/// A graph of a large model's chunk takes some megabytes besides the memory that all share.
constexpr size_t kMostGraphs = 32;

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

ChunkGraph::ChunkGraph(const ChunkPasses& passes,
                       const KvCache& cache,
                       const ChunkBuffers& buffers,
                       const ChunkGraph* shares)
    : shape_(passes), plan_(with_own_angles(passes.inputs.plan)), buffers_(buffers) {
  std::optional<ChunkCache> chunk_cache;
  if (passes.inputs.chunk_cache) chunk_cache.emplace();
  const ChunkPasses fixed{passes.network,
                          passes.guidance,
                          passes.sampler,
                          {.text = passes.inputs.text,
                           .plan = plan_,
                           .window = passes.inputs.window,
                           .pass_cache = passes.inputs.pass_cache,
                           .chunk_cache = chunk_cache ? &*chunk_cache : nullptr}};
  const auto fresh_noise = [&](int64_t k) { return buffers.fresh_noise[static_cast<size_t>(k)]; };
  const at::Device device = buffers.noise.device();
  denoising_ = kernels::record(
      device,
      [&] { buffers.latents.copy_(model::denoise(fixed, buffers.noise, fresh_noise, nullptr)); },
      shares ? shares->denoising_.get() : nullptr);
  finishing_ = kernels::record(
      device,
      [&] { copy_kv(buffers.kv, cache.as_stored(model::finished_kv(fixed, buffers.latents))); },
      denoising_.get());
}

at::Tensor ChunkGraph::denoise(const PreparedPlan& plan,
                               const at::Tensor& noise_BFCHW,
                               const FreshNoise& fresh_noise) {
  at::_foreach_copy_(angles_of(plan_), angles_of(plan));
  buffers_.noise.copy_(noise_BFCHW);
  for (size_t k = 0; k < buffers_.fresh_noise.size(); ++k)
    buffers_.fresh_noise[k].copy_(fresh_noise(static_cast<int64_t>(k)));
  denoising_->replay();
  return buffers_.latents.clone();  // the next chunk's come to the same place
}

const std::vector<LayerKv>& ChunkGraph::finished_kv() {
  finishing_->replay();
  return buffers_.kv;
}

bool ChunkGraphs::can_record(const Network& network, at::Device device) {
  const bool alone = network.sequence == nullptr || network.sequence->size() == 1;
  return kernels::can_record(device) && network.weights.is_fixed() && alone;
}

ChunkGraph* ChunkGraphs::graph_for(const ChunkPasses& passes,
                                   const at::Tensor& noise_BFCHW,
                                   const KvCache& cache) {
  const ChunkShape shape(passes);
  for (ChunkGraph& graph : graphs_)
    if (graph.shape() == shape) return &graph;
  if (std::ranges::find(seen_, shape) == seen_.end()) {
    seen_.push_back(shape);
    return nullptr;
  }
  if (graphs_.size() == kMostGraphs || !passes.inputs.pass_cache.times.has_all()) return nullptr;
  if (graphs_.empty()) {
    buffers_ = {.noise = at::empty_like(noise_BFCHW),
                .latents = at::empty_like(noise_BFCHW),
                .fresh_noise = {},
                .kv = cache.empty_rows(noise_BFCHW.size(1))};
    for (size_t k = 0; k < fresh_noise_count(passes.sampler); ++k)
      buffers_.fresh_noise.push_back(at::empty_like(noise_BFCHW));
  }
  return &graphs_.emplace_back(
      passes, cache, buffers_, graphs_.empty() ? nullptr : &graphs_.front());
}

}  // namespace vmla::model
