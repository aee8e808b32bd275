#include "data/loading/batch.h"

#include <ATen/ATen.h>

#include "data/store/latent_dataset.h"

namespace vmla::data {

Batch read_batch(const LatentDataset& dataset,
                 const std::vector<int64_t>& indices,
                 int64_t first_sample) {
  Batch batch;
  batch.indices = indices;
  batch.first_sample = first_sample;
  const auto size = static_cast<int64_t>(indices.size());
  if (dataset.has_latents()) {
    std::vector<int64_t> shape = dataset.info(indices.at(0)).clip_shape;
    shape.insert(shape.begin(), size);
    batch.latents = at::empty(shape, at::kFloat);
  }
  if (dataset.has_ode()) {
    std::vector<int64_t> shape = dataset.info(indices.at(0)).clip_shape;
    shape.insert(shape.begin(), {size, static_cast<int64_t>(dataset.info().ode_times.size())});
    batch.ode_states = at::empty(shape, at::kFloat);
  }
  batch.text = at::zeros({size, dataset.max_text_rows(), dataset.info().text_dim}, at::kFloat);
  for (int64_t b = 0; b < size; ++b) {
    const int64_t clip = indices[static_cast<size_t>(b)];
    if (dataset.has_latents()) batch.latents[b].copy_(dataset.stored_latents(clip));
    if (dataset.has_ode()) batch.ode_states[b].copy_(dataset.ode_states(clip));
    const at::Tensor rows = dataset.text(clip);
    batch.text[b].narrow(0, 0, rows.size(0)).copy_(rows);
    batch.text_rows.push_back(rows.size(0));
    batch.captions.push_back(dataset.caption(clip));
  }
  return batch;
}

void drop_caption(Batch& batch, int64_t row, const at::Tensor& empty_text_TD) {
  at::Tensor text = batch.text[row];
  text.zero_();
  text.narrow(0, 0, empty_text_TD.size(0)).copy_(empty_text_TD);
  batch.text_rows.at(static_cast<size_t>(row)) = empty_text_TD.size(0);
  batch.captions.at(static_cast<size_t>(row)).clear();
}

}  // namespace vmla::data
