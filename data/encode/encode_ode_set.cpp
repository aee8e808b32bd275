#include "data/encode/encode_ode_set.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "data/encode/job_fingerprint.h"
#include "data/store/latent_dataset.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

std::string fingerprint_of(const OdeSetOptions& options,
                           const LatentDataset& dataset,
                           int64_t clips) {
  const LatentInfo& info = dataset.info();
  JobFingerprint job;
  job.line("ode");
  job.line(options.teacher);
  job.line(options.fp32, options.seed, options.batch, clips);
  job.line(info.codec_hash);
  job.line(info.text_encoder_hash);
  job.line(info.origin);
  job.list(options.ode_times);
  job.list(info.clip_shape);
  // The clips count by their texts and origin, and by the numbers of the first and the last: to
  // read all of them would take longer than some jobs.
  for (int64_t i = 0; i < clips; ++i) {
    const ClipRecord& record = dataset.record(i);
    job.record(record.source_file, record.first_frame, record.caption);
  }
  for (const int64_t i : {int64_t{0}, clips - 1}) {
    const at::Tensor latents = dataset.latents(i);
    job.bytes(latents.const_data_ptr(), latents.nbytes());
  }
  return job.hash();
}

std::vector<float> empty_text_of(const LatentDataset& dataset) {
  const at::Tensor rows = dataset.empty_text();
  return {rows.const_data_ptr<float>(), rows.const_data_ptr<float>() + rows.numel()};
}

/// Clip `index` of the dataset with the states of its path, [states, F, C, H, W].
EncodedClip clip_with_states(const LatentDataset& dataset,
                             int64_t index,
                             const at::Tensor& states,
                             bool fp32) {
  EncodedClip clip;
  clip.record = dataset.record(index);
  set_latents(clip, dataset.latents(index));
  const at::Tensor rounded = states.to(fp32 ? at::kFloat : at::kBFloat16).contiguous();
  const auto* bytes = static_cast<const std::byte*>(rounded.const_data_ptr());
  clip.ode.assign(bytes, bytes + rounded.nbytes());
  const at::Tensor text = dataset.text(index);
  clip.text.assign(text.const_data_ptr<float>(), text.const_data_ptr<float>() + text.numel());
  return clip;
}

}  // namespace

ComputedClips encode_ode_set(const OdeSetOptions& options, const OdeSolver& solve) {
  TORCH_CHECK(options.batch > 0 && options.limit >= 0,
              "an ODE set needs a batch above 0 and a limit of 0 or more, got ",
              options.batch,
              " and ",
              options.limit);
  const LatentDataset dataset(options.data);
  if (!dataset.has_latents()) {
    fail_user("{}: is a prompt set; an ODE set is made from clips (/latents is missing)",
              options.data.string());
  }
  if (dataset.buckets().size() > 1) {
    fail_user("{}: holds clips of {} shapes; make the ODE set of each of its files by itself",
              options.data.string(),
              dataset.buckets().size());
  }
  const auto claim = claim_output(options.out, options.overwrite);
  const int64_t clips =
      options.limit == 0 ? dataset.size() : std::min(options.limit, dataset.size());
  LatentInfo info = dataset.info();
  info.ode_times = options.ode_times;
  info.ode_fp32 = options.fp32;
  info.origin = options.origin;
  EncodeParts parts({.out = options.out,
                     .info = info,
                     .empty_text = empty_text_of(dataset),
                     .fingerprint = fingerprint_of(options, dataset, clips),
                     .part_seconds = options.part_seconds});

  const ComputeBatch solve_batch = [&](int64_t first, int64_t count) {
    std::vector<int64_t> indices(static_cast<size_t>(count));
    std::iota(indices.begin(), indices.end(), first);
    const at::Tensor noise_BFCHW =
        kernels::normal_batch({.seed = options.seed, .purpose = kernels::Purpose::kOdeNoise},
                              static_cast<uint64_t>(first),
                              count,
                              info.clip_shape);
    const at::Tensor states = solve(read_batch(dataset, indices, first), noise_BFCHW);
    return [&dataset, &options, first, states](int64_t b) {
      if (!at::isfinite(states[b]).all().item<bool>()) {
        fail_run("the ODE path of clip {} of {} has NaN or infinite values; nothing was written",
                 first + b,
                 options.data.string());
      }
      return clip_with_states(dataset, first + b, states[b], options.fp32);
    };
  };
  return compute_clips(
      parts, {.clips = clips, .batch = options.batch, .label = "ode"}, solve_batch);
}

}  // namespace vmla::data
