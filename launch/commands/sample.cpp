#include "launch/commands/sample.h"

#include "data/encode/prompt_file.h"
#include "data/video/video_writer.h"
#include "launch/chosen_device.h"
#include "launch/prompts_over_time.h"
#include "launch/ranked_job.h"
#include "launch/sample_list.h"
#include "launch/sample_noise.h"
#include "model/codec/video_codec.h"
#include "model/config/config_rule.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/rollout.h"
#include "model/weights/local_weights.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/compute_device.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/objective_config.h"
#include "trainer/distributed/collectives/shared_stop.h"
#include "trainer/distributed/collectives/shared_text.h"
#include "trainer/evaluation/sample_list.h"
#include "trainer/evaluation/sample_together.h"
#include "trainer/evaluation/sampler_settings.h"
#include "trainer/evaluation/video_sampler.h"
#include "trainer/inputs/media_info.h"
#include "trainer/roles/stage_origin.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

namespace vmla::launch {
namespace {

/// What the videos show: a text for each, or one video whose prompt changes over time.
struct GivenPrompts {
  std::vector<ListedSample> list;
  std::vector<TimedPrompt> over_time;
};

GivenPrompts read_prompts(const SampleArgs& args) {
  if (!args.prompts_over_time.empty()) {
    return {.list = {}, .over_time = parse_prompts_over_time(args.prompts_over_time)};
  }
  if (args.layout == "vbench") {
    std::vector<std::string> extended;
    if (!args.generate_with.empty()) extended = data::read_prompt_file(args.generate_with);
    return {.list = vbench_samples(args.prompts,
                                   extended,
                                   args.generate_with,
                                   args.seed,
                                   args.samples_per_prompt.value_or(0),
                                   data::default_video_extension()),
            .over_time = {}};
  }
  const std::vector<std::string> texts =
      args.prompt ? std::vector{*args.prompt} : data::read_prompt_file(args.prompts);
  return {.list = numbered_samples(texts, args.seed, args.samples_per_prompt.value_or(1)),
          .over_time = {}};
}

/// VBench's own list has two prompts that differ by case alone: on a file system that does not tell
/// them apart one video would replace the other.
void check_case(const GivenPrompts& prompts, const std::string& out) {
  const auto alike = names_that_differ_by_case(prompts.list);
  if (alike.empty()) return;
  const std::filesystem::path upper = std::filesystem::path(out) / ".vmla-Case";
  std::filesystem::create_directories(out);
  io::write_file_atomically(upper, "");
  const bool same = std::filesystem::exists(std::filesystem::path(out) / ".vmla-case");
  std::filesystem::remove(upper);
  if (same) {
    fail_user(
        "{}: the file system does not tell the names {} and {} apart; choose a folder on another",
        out,
        io::quoted_name(alike[0]),
        io::quoted_name(alike[1]));
  }
  log::warn(
      "{} and {} differ by case alone: one of them is lost where the videos are copied to a file "
      "system that does not tell them apart",
      io::quoted_name(alike[0]),
      io::quoted_name(alike[1]));
}

/// The role whose weights are sampled: the moving average where there is one, unless --weights raw.
std::string pick_role(const trainer::CheckpointData& checkpoint, const std::string& weights) {
  if (weights != "raw") {
    for (const char* role : {"generator_ema", "target_ema"}) {
      if (checkpoint.roles.count(role)) return role;
    }
  }
  if (!checkpoint.roles.count("generator")) fail_user("the checkpoint holds no generator");
  return "generator";
}

/// The checkpoint's own sampler, overridden by the command line.
model::SamplerSettings chosen_sampler(const SampleArgs& args,
                                      const trainer::TrainConfig& config,
                                      const trainer::ObjectiveTraits& objective) {
  model::SamplerSettings settings = trainer::sampler_settings(config.sample, objective);
  if (!args.sampler.empty()) settings.kind = model::parse_sampler(args.sampler);
  if (args.steps) {
    settings.steps = *args.steps;
    settings.denoising_step_list = model::even_step_list(*args.steps);
    settings.first_chunk_denoising_step_list.clear();
  }
  if (!args.denoising_steps.empty()) {
    settings.denoising_step_list = args.denoising_steps;
    settings.first_chunk_denoising_step_list.clear();
  }
  if (!args.first_chunk_denoising_steps.empty()) {
    settings.first_chunk_denoising_step_list = args.first_chunk_denoising_steps;
  }
  const bool few_step = settings.kind == model::SamplerKind::kFewStep;
  if (!few_step && !(args.denoising_steps.empty() && args.first_chunk_denoising_steps.empty())) {
    fail_user("{} was trained for a many-step sampler: denoising steps need --sampler few_step",
              args.checkpoint);
  }
  // A few-step student has its guidance distilled into it (docs/algorithms.md 8.4).
  settings.guidance_scale = few_step ? 1.0 : config.sample.guidance_scale;
  if (args.guidance) settings.guidance_scale = *args.guidance;
  if (!args.kv_cache_dtype.empty())
    settings.kv_cache_dtype = model::kv_cache_dtype_named(args.kv_cache_dtype);
  if (args.cuda_graph) settings.cuda_graph = true;
  const bool keeps_latents = objective.causal && config.model.is_mla();
  if (settings.kv_cache_dtype == model::KvCacheDtype::kInt8 && !keeps_latents) {
    fail_user("--kv-cache-dtype int8: {} keeps no latents between chunks; use auto",
              args.checkpoint);
  }
  return settings;
}

std::string window_of(const model::ModelConfig& config) {
  return formatted("local_attn_size {}, sink_size {}", config.local_attn_size, config.sink_size);
}

/// The checkpoint's model, with the window of the command line.
model::ModelConfig windowed_model(const SampleArgs& args,
                                  const model::ModelConfig& trained,
                                  bool causal) {
  model::ModelConfig config = trained;
  config.local_attn_size = args.local_attn_size.value_or(trained.local_attn_size);
  config.sink_size = args.sink_size.value_or(trained.sink_size);
  if (!causal && (args.local_attn_size || args.sink_size)) {
    fail_user(
        "{}: {} sees all frames at once, without a window", window_of(config), args.checkpoint);
  }
  try {
    model::validate_model(config, "");
  } catch (const ConfigRuleError& error) {
    fail_user("sample: {} (--local-attn-size, --sink-size)", error.what());
  }
  return config;
}

/// Video frames that prompts over time last for; a last one without a length counts as none.
int64_t frames_of(const std::vector<TimedPrompt>& prompts, double fps) {
  double seconds = 0;
  for (const TimedPrompt& prompt : prompts) seconds += prompt.seconds.value_or(0);
  return std::max<int64_t>(1, std::llround(seconds * fps));
}

/// The video in which each prompt begins with the first chunk at or after its time.
trainer::VideoPrompt scheduled(const std::vector<TimedPrompt>& prompts,
                               const model::ModelConfig& config,
                               const trainer::VideoSampler& sampler,
                               int64_t latent_frames) {
  trainer::VideoPrompt video{.text = prompts.front().text};
  const std::vector<int64_t> chunks = model::chunk_sizes(config, latent_frames);
  size_t chunk = 0;
  int64_t first = 0;  // latent frame of that chunk
  double seconds = 0;
  for (size_t i = 1; i < prompts.size(); ++i) {
    seconds += *prompts[i - 1].seconds;
    const int64_t wanted = std::llround(seconds * sampler.media().fps);
    const int64_t before = first;
    while (chunk < chunks.size() &&
           (first == 0 || sampler.geometry().pixel_frames(first) < wanted)) {
      first += chunks[chunk++];
    }
    if (chunk == chunks.size()) {
      fail_user(
          "--prompts-over-time: prompt {} would begin after {:g} s, and the video has no chunk "
          "behind that; give a larger --frames",
          i + 1,
          seconds);
    }
    if (first == before) {
      fail_user(
          "--prompts-over-time: prompt {} is shorter than a chunk and would never be seen; give it "
          "more than {:g} s",
          i,
          *prompts[i - 1].seconds);
    }
    video.later.push_back({first, prompts[i].text});
  }
  return video;
}

/// A checkpoint and what it says.
struct Source {
  trainer::CheckpointData checkpoint;
  trainer::TrainConfig config;
  trainer::MediaInfo media;
  trainer::ObjectiveTraits objective;
  model::ModelConfig model;  // with the window of the command line
};

Source open_source(const SampleArgs& args) {
  Source source;
  source.checkpoint = trainer::load_checkpoint(args.checkpoint);
  source.config =
      trainer::parse_resolved(source.checkpoint.config_yaml, args.checkpoint + ": config");
  source.media = trainer::read_media_info(source.checkpoint.data_position, args.checkpoint);
  source.objective = trainer::objective_traits(source.config.objective);
  source.model = windowed_model(args, source.checkpoint.model, source.objective.causal);
  return source;
}

std::vector<trainer::VideoPrompt> video_prompts(const SampleArgs& args,
                                                const GivenPrompts& given,
                                                const Source& source,
                                                const trainer::VideoSampler& sampler,
                                                int64_t latent_frames) {
  std::vector<trainer::VideoPrompt> prompts;
  for (const ListedSample& sample : given.list) {
    prompts.push_back({.text = sample.text,
                       .seed = sample.seed,
                       .place = sample.place,
                       .name = sample.name,
                       .original = sample.original});
  }
  if (!given.over_time.empty()) {
    if (!source.objective.causal) {
      fail_user(
          "--prompts-over-time: {} samples all frames at once; only a model trained chunk by chunk "
          "can change its prompt",
          args.checkpoint);
    }
    prompts = {scheduled(given.over_time, source.model, sampler, latent_frames)};
    prompts.front().seed = static_cast<uint64_t>(args.seed);
  }
  return prompts;
}

/// `frames` video frames of each prompt.
trainer::VideoSampler::Request request_for(const SampleArgs& args,
                                           const GivenPrompts& prompts,
                                           const Source& source,
                                           const trainer::VideoSampler& sampler,
                                           int64_t frames) {
  trainer::VideoSampler::Request request;
  request.latent_frames = sampler.latent_frames_for(source.model, frames);
  request.sampler = chosen_sampler(args, source.config, source.objective);
  request.negative_prompt = args.negative_prompt.value_or(source.config.sample.negative_prompt);
  if (source.objective.causal) model::check_rollout_length(source.model, request.latent_frames);
  request.prompts = video_prompts(args, prompts, source, sampler, request.latent_frames);
  request.batch = args.batch;
  if (!args.prompt_switch.empty()) {
    request.prompt_switch = model::parse_prompt_switch(args.prompt_switch);
  }
  read_noise(args.noise, source.media.clip, request);
  return request;
}

/// Another window than the one trained with changes what is attended to and at which positions: it
/// is used only when asked for, and then with a warning.
void warn_of_other_window(const SampleArgs& args, const Source& source) {
  const model::ModelConfig& trained = source.checkpoint.model;
  if (source.model == trained) return;
  log::warn("sampling with {}, which is not what {} was trained with: {}",
            window_of(source.model),
            args.checkpoint,
            window_of(trained));
}

/// The text encoder's files: those of the command line, else where the stage had them.
model::TextEncoderOptions text_options(const SampleArgs& args, const data::DataConfig& stage) {
  model::TextEncoderOptions options = text_encoder_options(args, args);
  if (options.weights.empty()) options.weights = stage.text_weights;
  if (options.tokenizer.empty()) options.tokenizer = stage.tokenizer;
  return options;
}

/// Frames of each video: what is asked for, else as long as the prompts over time last, else a
/// training clip.
int64_t chosen_frames(const SampleArgs& args,
                      const GivenPrompts& prompts,
                      const Source& source,
                      const trainer::VideoSampler& sampler) {
  if (args.frames > 0) return args.frames;
  if (!prompts.over_time.empty()) return frames_of(prompts.over_time, source.media.fps);
  return sampler.geometry().pixel_frames(source.media.clip.frames);
}

/// A model that sees all frames at once has learnt clips of one length. A causal one goes on.
void warn_of_length(const SampleArgs& args,
                    const Source& source,
                    const trainer::VideoSampler& sampler,
                    int64_t frames) {
  const int64_t trained = sampler.geometry().pixel_frames(source.media.clip.frames);
  if (source.objective.causal || 2 * frames <= 3 * trained) return;
  log::warn(
      "sampling {} frames at once: {} was trained on clips of {}, and is not likely to know what a "
      "longer one looks like",
      frames,
      args.checkpoint,
      trained);
}

/// What turns the latents into pixels: the codec of the clips that the checkpoint was trained on,
/// with the same weights; or another decoder of such latents, with weights of its own.
std::shared_ptr<const model::VideoCodec> open_decoder(const SampleArgs& args,
                                                      const Source& source) {
  const std::string& codec = source.media.codec;
  const std::string name = args.decoder.empty() ? codec : args.decoder;
  if (model::codec_of_latents(name) != codec) {
    fail_user("--decoder {}: decodes latents of {}, {} makes those of {}",
              name,
              model::codec_of_latents(name),
              args.checkpoint,
              codec);
  }
  model::CodecOptions options{.weights = args.decoder_weights,
                              .device = args.device,
                              .encodes = false,
                              .weights_option = "--decoder-weights"};
  if (options.weights.empty() && name == codec) options.weights = source.config.data.codec_weights;
  std::shared_ptr<const model::VideoCodec> decoder = model::make_video_codec(name, options);
  const std::string& learnt = source.media.codec_hash;
  if (args.decoder.empty() && model::codec_has_weights(name) && !learnt.empty() &&
      decoder->hash() != learnt) {
    fail_user(
        "{}: are not the weights of {} that the clips of {} were encoded with; --decoder {} takes "
        "any",
        options.weights,
        name,
        args.checkpoint,
        name);
  }
  return decoder;
}

std::string step_list(const std::vector<double>& steps) {
  std::string text;
  for (const double step : steps) text += formatted("{}{:g}", text.empty() ? "" : ",", step);
  return text;
}

/// What decides what the videos look like besides prompt, seed and length, by content and not by
/// path.
std::vector<std::pair<std::string, std::string>> maker_of(
    const SampleArgs& args,
    const Source& source,
    const std::string& role,
    const trainer::VideoSampler::Request& request) {
  const model::SamplerSettings& s = request.sampler;
  const bool few = s.kind == model::SamplerKind::kFewStep;
  std::vector<std::pair<std::string, std::string>> made_by = {
      {"weights", trainer::weights_hash(source.checkpoint.roles.at(role))},
      {"stage", source.checkpoint.stage},
      {"step", formatted("{}", source.checkpoint.step)},
      {"role", role},
      {"window", window_of(source.model)},
      {"sampler", model::sampler_name(s.kind)},
      {"steps", few ? step_list(s.denoising_step_list) : formatted("{}", s.steps)},
      {"timestep_shift", formatted("{:g}", s.timestep_shift)},
      {"guidance_scale", formatted("{:g}", s.guidance_scale)},
      {"context_noise", formatted("{:g}", s.context_noise)},
      {"decoder", args.decoder.empty() ? source.media.codec : args.decoder},
      {"precision", args.precision}};
  if (few && !s.first_chunk_denoising_step_list.empty())
    made_by.emplace_back("first_chunk_steps", step_list(s.first_chunk_denoising_step_list));
  if (s.kv_cache_dtype == model::KvCacheDtype::kInt8)
    made_by.emplace_back("kv_cache_dtype", "int8");
  if (s.guidance_scale != 1.0) made_by.emplace_back("negative_prompt", request.negative_prompt);
  return made_by;
}

/// UserError where this rank was asked for other videos than the lead. Collective. What they are
/// made with is known by content: ranks may have read the checkpoint from different disks, or at
/// different times.
void expect_same_request(const distributed::Mesh& mesh,
                         const SampleArgs& args,
                         const trainer::VideoSampler::Request& request) {
  std::string mine = formatted(
      "latent frames: {}\n--batch: {}\n--layout: {}\n--save-latents: {}\n--noise: {}\n--out: {}\n",
      request.latent_frames,
      request.batch,
      args.layout,
      args.save_latents,
      args.noise,
      args.out);
  for (const auto& [name, value] : request.made_by) mine += formatted("{}: {}\n", name, value);
  for (const trainer::VideoPrompt& prompt : request.prompts)
    mine += formatted("a prompt: {} {} {}\n", prompt.seed, prompt.place, prompt.text);
  const std::string lead = distributed::shared_text(mesh.host(), mine);
  if (mine == lead) {
    mesh.host().barrier();  // nobody touches the folder before all have agreed
    return;
  }
  const auto differs = std::ranges::mismatch(mine, lead).in1 - mine.begin();
  const size_t line = differs == 0 ? 0 : mine.rfind('\n', static_cast<size_t>(differs) - 1) + 1;
  const auto line_of = [line](const std::string& text) {
    return io::quoted_name(text.substr(line, text.find('\n', line) - line));
  };
  fail_user("sample: ranks were asked for different videos: rank 0 has {}; rank {} has {}",
            line_of(lead),
            mesh.rank(),
            line_of(mine));
}

/// This process's share of the videos. `on_pass` is told how many passes have begun.
void sample(
    const SampleArgs& args,
    const GivenPrompts& prompts,
    const distributed::Mesh& mesh,
    const ChosenDevice& chosen,
    const std::function<void(int64_t passes)>& on_pass = [](int64_t) {}) {
  const Source source = open_source(args);
  trainer::use_attention(source.config.kernels, chosen.device);
  const trainer::VideoSampler sampler(source.media,
                                      text_options(args, source.config.data),
                                      !source.objective.causal,
                                      open_decoder(args, source));
  const int64_t frames = chosen_frames(args, prompts, source, sampler);
  auto request = request_for(args, prompts, source, sampler, frames);
  request.device = chosen.device;
  request.decode_beside = chosen.device.is_cuda();
  request.keeps_finished = args.layout == "vbench";
  if (request.keeps_finished && mesh.is_lead()) check_case(prompts, args.out);
  warn_of_other_window(args, source);
  warn_of_length(args, source, sampler, frames);

  const std::string role = pick_role(source.checkpoint, args.weights);
  request.made_by = maker_of(args, source, role, request);
  model::FrozenWeights weights(source.model,
                               source.checkpoint.roles.at(role),
                               args.checkpoint,
                               chosen.device,
                               chosen.compute_dtype,
                               model::MatrixOrder::kForPasses);
  expect_same_request(mesh, args, request);
  distributed::SharedStop stop(mesh, [&] {
    io::remove_own_temporaries(args.out);
    return formatted("{}: the videos that are finished are kept", args.out);
  });
  // Between two passes: the chunks of a large batch are far apart.
  int64_t passes = 0;
  request.before_pass = [&] {
    on_pass(++passes);
    stop.look();
  };
  const trainer::SampleFolder out{
      .path = args.out, .pixel_frames = frames, .save_latents = args.save_latents};
  for (const std::string& entry :
       trainer::sample_to_folder(mesh, sampler, {source.model, weights}, request, out))
    log::info("{}/{}", args.out, trainer::line_of_entry(entry));
}

// How long a rank may keep the others waiting: with the decoding of a batch at most.
constexpr double kBatchSeconds = 3600;

}  // namespace

int run(const SampleArgs& args) {
  const distributed::RankEnvironment environment = distributed::rank_environment();
  GivenPrompts prompts;
  if (environment.world_size == 1) {
    prompts = read_prompts(args);
    sample(args, prompts, distributed::Mesh(), open_device(args));
    return kDone;
  }
  // Weights are whole on every rank: what the ranks tell each other are texts and whether to stop.
  const auto plan = [&] {
    prompts = read_prompts(args);
    return RankPlan{
        .asked = "sample " + args.checkpoint,
        .shape = [&] { return distributed::MeshShape{.world = environment.world_size}; },
        .timeout_seconds = kBatchSeconds};
  };
  return run_ranks(environment, plan, [&](const RankedJob& job) {
    sample(args, prompts, job.mesh, open_device(args, environment.local_rank), job.on_step);
  });
}

}  // namespace vmla::launch
