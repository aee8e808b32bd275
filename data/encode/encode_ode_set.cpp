#include "data/encode/encode_ode_set.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "data/store/latent_dataset.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/io/error.h"
#include "model/io/sha256.h"

namespace vmla::data {
namespace {

/// Everything that decides the result, in one hash. The clips count by their texts and origin: to
/// read all of them would take longer than some jobs.
std::string job_hash(const OdeSetOptions& options, const LatentDataset& dataset, int64_t clips) {
  const LatentInfo& info = dataset.info();
  std::ostringstream text;
  text << std::setprecision(17) << "ode\n"
       << options.teacher << '\n'
       << options.fp32 << ' ' << options.seed << ' ' << options.batch << ' ' << clips << '\n'
       << info.codec_hash << '\n'
       << info.text_encoder_hash << '\n'
       << info.origin << '\n';
  for (const double time : options.ode_times) text << time << ' ';
  for (const int64_t size : info.clip_shape) text << size << ' ';
  for (int64_t i = 0; i < clips; ++i) {
    const ClipRecord& record = dataset.record(i);
    text << record.source_file << '\0' << record.first_frame << '\0' << record.caption << '\n';
  }
  const at::Tensor first = dataset.latents(0), last = dataset.latents(clips - 1);
  for (const at::Tensor& clip : {first, last}) {
    text.write(static_cast<const char*>(clip.const_data_ptr()),
               static_cast<std::streamsize>(clip.nbytes()));
  }
  return io::sha256_hex(text.str().data(), text.str().size());
}

EncodedClip stored_clip(const LatentDataset& dataset,
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

std::vector<float> empty_text_of(const LatentDataset& dataset) {
  const at::Tensor rows = dataset.empty_text();
  return {rows.const_data_ptr<float>(), rows.const_data_ptr<float>() + rows.numel()};
}

}  // namespace

ComputedClips encode_ode_set(const OdeSetOptions& options, const OdeSolver& solve) {
  TORCH_CHECK(options.batch > 0 && options.limit >= 0, "a batch and a limit are counts");
  const LatentDataset dataset(options.data);
  if (!dataset.has_latents()) {
    fail_user("{}: is a prompt set; an ODE set is made from clips (/latents is missing)",
              options.data.string());
  }
  const auto claim = claim_output(options.out, options.overwrite);
  const int64_t clips =
      options.limit == 0 ? dataset.size() : std::min(options.limit, dataset.size());
  LatentInfo info = dataset.info();
  info.ode_times = options.ode_times;
  info.ode_fp32 = options.fp32;
  info.origin = options.origin;
  EncodeParts parts(options.out,
                    info,
                    empty_text_of(dataset),
                    job_hash(options, dataset, clips),
                    options.part_seconds);
  return compute_clips(parts, clips, options.batch, "ode", [&](int64_t first, int64_t count) {
    std::vector<int64_t> indices(static_cast<size_t>(count));
    std::iota(indices.begin(), indices.end(), first);
    const Batch batch = read_batch(dataset, indices, first);
    const at::Tensor noise =
        kernels::normal_batch({.seed = options.seed, .purpose = kernels::Purpose::kOdeNoise},
                              static_cast<uint64_t>(first),
                              count,
                              info.clip_shape);
    return [&, first, states = solve(batch, noise)](int64_t b) {
      const at::Tensor path = states[b];
      if (!at::isfinite(path).all().item<bool>()) {
        fail_run("the ODE path of clip {} of {} has NaN or infinite values; nothing was written",
                 first + b,
                 options.data.string());
      }
      return stored_clip(dataset, first + b, path, options.fp32);
    };
  });
}

}  // namespace vmla::data
