#include "launch/commands/data_ode.h"

#include <ATen/ATen.h>

#include "data/encode/encode_ode_set.h"
#include "data/store/latent_dataset.h"
#include "launch/chosen_device.h"
#include "launch/teacher.h"
#include "model/codec/text_encoder.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "model/network/attention_plan.h"
#include "model/sampling/ode_pairs.h"
#include "model/weights/local_weights.h"

namespace vmla::launch {
namespace {

/// Refuses a teacher that does not fit the clips here, where both can be named, and not deep inside
/// the network.
void check_fit(const DataOdeArgs& args, const Teacher& teacher, const data::LatentInfo& info) {
  if (teacher.objective && !teacher.objective->causal) {
    fail_user(
        "{}: was trained with all frames at once; an ODE for a causal student needs a causal "
        "teacher (stage teacher_forcing or diffusion_forcing)",
        args.checkpoint);
  }
  const auto same = [&](const char* what, const auto& wanted, const auto& found) {
    if (wanted == found) return;
    fail_user(
        "{}: has {} {}, {} was trained with {}", args.data, what, found, args.checkpoint, wanted);
  };
  if (!info.clip_shape.empty()) same("latent channels", teacher.config.in_dim, info.clip_shape[1]);
  same("text width", teacher.config.text_dim, info.text_dim);
  if (teacher.media) {
    same("codec", teacher.media->codec, info.codec);
    same("text encoder", teacher.media->text_encoder, info.text_encoder);
  }
}

/// [1, T, text_dim] fp32, by the encoder that embedded the dataset's captions.
at::Tensor negative_text(const DataOdeArgs& args, const data::LatentDataset& dataset) {
  const std::string& prompt = args.negative_prompt;
  const data::LatentInfo& info = dataset.info();
  if (prompt.empty()) return dataset.empty_text().unsqueeze(0);
  if (!info.negative_text.empty() && info.negative_prompt == prompt)
    return at::tensor(info.negative_text).view({1, -1, info.text_dim});
  const auto encoder =
      model::make_text_encoder(info.text_encoder, text_encoder_options(args, args));
  return encoder->encode(prompt).to(at::kFloat).unsqueeze(0);
}

}  // namespace

int run(const DataOdeArgs& args) {
  const ChosenDevice chosen = open_device(args);
  const data::LatentDataset dataset(args.data);
  Teacher teacher = open_teacher(args.checkpoint, args.weights);
  check_fit(args, teacher, dataset.info());
  if (dataset.has_latents()) model::chunk_sizes(teacher.config, dataset.info().clip_shape[0]);
  const double trained_shift = teacher.objective ? teacher.objective->timestep_shift : 5.0;
  const double shift = args.shift.value_or(trained_shift);
  const model::OdeGrid grid = model::ode_grid(args.steps, shift, args.denoising_steps);
  const auto way = args.way == "doubled" ? model::OdeWay::kDoubled : model::OdeWay::kCached;

  const std::string settings = described({.steps = args.steps,
                                          .timestep_shift = shift,
                                          .guidance_scale = args.guidance,
                                          .negative_prompt = args.negative_prompt,
                                          .seed = args.seed,
                                          .compute = args});
  data::OdeSetOptions options;
  options.data = args.data;
  options.out = args.out;
  options.ode_times = grid.state_times();
  options.fp32 = args.dtype == "fp32";
  options.seed = static_cast<uint64_t>(args.seed);
  options.limit = args.limit;
  options.batch = args.batch;
  options.teacher = formatted("{} {} {}", teacher.identity, settings, args.way);
  options.origin = formatted("ODE of {}: {}", teacher.weights.source, settings);
  options.overwrite = args.overwrite;

  model::FrozenWeights weights(teacher.config,
                               teacher.weights.tensors,
                               teacher.weights.source,
                               chosen.device,
                               chosen.compute_dtype,
                               model::MatrixOrder::kForPasses);
  const at::Tensor negative_1TE = negative_text(args, dataset).to(chosen.device);
  const data::ComputedClips report =
      data::encode_ode_set(options, [&](const data::Batch& batch, const at::Tensor& noise_BFCHW) {
        const model::OdeStart start{.clean_BFCHW = batch.latents.to(chosen.device),
                                    .noise_BFCHW = noise_BFCHW.to(chosen.device),
                                    .text_BTE = batch.text.to(chosen.device),
                                    .negative_text_1TE = negative_1TE};
        return model::ode_states({teacher.config, weights}, start, grid, args.guidance, way).cpu();
      });
  log::info("{}: {} clips with {} states each, {:g} s a clip",
            args.out,
            report.clips,
            options.ode_times.size(),
            report.seconds_per_clip);
  return kDone;
}

}  // namespace vmla::launch
