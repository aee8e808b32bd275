#include "trainer/inputs/stage_data.h"

#include "data/inspect/dataset_scale.h"
#include "data/loading/prefetch_loader.h"
#include "data/loading/shard_sampler.h"
#include "data/make_dataset.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/codec/text_encoder.h"
#include "model/config/config_rule.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/config/validate_data.h"
#include "trainer/inputs/stage_codec.h"

#include <algorithm>
#include <cmath>

namespace vmla::trainer {
namespace {

data::EncoderOptions encoder_options(const TrainConfig& config) {
  return {.codec = codec_options(config), .text = text_encoder_options(config.data)};
}

/// Opens the dataset of the key `key`; makes it before where it is missing, `missing` permits it
/// and `make` says how.
std::unique_ptr<const data::LatentDataset> open_dataset(const std::string& path,
                                                        const data::MakeConfig& make,
                                                        const TrainConfig& config,
                                                        const char* key,
                                                        StageData::Missing missing) {
  if (!std::filesystem::exists(path)) {
    // Clips that are made anew need not be those of before: an unmounted disk, or a relative path
    // in another working directory, must not end in training on something else.
    if (missing == StageData::Missing::kRefuse) {
      fail_rule(key,
                "{} is missing, and a run that goes on makes no data: mount its disk, or say where "
                "the data lie now ({} is the folder that relative paths begin at)",
                path,
                std::filesystem::current_path().string());
    }
    if (!make.makes_something()) {
      fail_user(
          "{}: {} is missing, and nothing says how to make it: encode videos with "
          "`vmla data encode`",
          key,
          path);
    }
    data::make_dataset(make, path, encoder_options(config));
  }
  auto dataset = std::make_unique<const data::LatentDataset>(path);
  data::check_scene(make, dataset->info(), path);
  // Training on raw latents fails in what it makes alone.
  for (const std::string& problem : data::scale_problems(*dataset))
    log::warn("{}: {}", key, problem);
  return dataset;
}

/// Sizes of texts, and below of clips, that would otherwise fail deep inside the network: UserError
/// names the dataset and the key that does not fit it.
void check_texts(const TrainConfig& config,
                 const data::LatentDataset& dataset,
                 const std::string& path) {
  const model::ModelConfig& m = config.model;
  if (dataset.info().text_dim != m.text_dim) {
    fail_user("{}: text embeddings are {} wide, model.text_dim is {}",
              path,
              dataset.info().text_dim,
              m.text_dim);
  }
  if (dataset.max_text_rows() > m.text_len) {
    fail_user("{}: the longest text has {} rows, model.text_len is {}",
              path,
              dataset.max_text_rows(),
              m.text_len);
  }
}

void check_clips(const TrainConfig& config,
                 const data::LatentDataset& dataset,
                 const std::string& path) {
  const model::ModelConfig& m = config.model;
  for (size_t bucket = 0; bucket < dataset.buckets().size(); ++bucket) {
    const auto& shape = dataset.clip_shape(bucket);  // F, C, H, W
    if (shape[1] != m.in_dim) {
      fail_user("{}: clips have {} latent channels, model.in_dim is {}", path, shape[1], m.in_dim);
    }
    if (shape[2] % m.patch_size[1] != 0 || shape[3] % m.patch_size[2] != 0) {
      fail_user("{}: latents of {}x{} do not divide into model.patch_size {}x{}",
                path,
                shape[2],
                shape[3],
                m.patch_size[1],
                m.patch_size[2]);
    }
    if (!config.data.clip_shape.empty() && config.data.clip_shape != shape) {
      fail_user("{}: clips are {}, data.clip_shape is {}",
                path,
                at::IntArrayRef(shape),
                at::IntArrayRef(config.data.clip_shape));
    }
  }
}

/// ODE regression reads states that were stored at the student's own steps.
void check_ode(const TrainConfig& config,
               const data::LatentDataset& dataset,
               const char* key,
               const std::string& path) {
  const ObjectiveTraits traits = objective_traits(config.objective);
  if (traits.learns_from != LearnsFrom::kOdePairs) return;
  if (!dataset.has_ode()) {
    fail_user(
        "{}: {} holds no states of ODE paths, which objective {} learns from: make them with "
        "`vmla data ode`",
        key,
        path,
        config.objective.name);
  }
  // Stored times: those of the student's steps as the network sees them, then 0 for the endpoint.
  std::vector<double> wanted =
      model::warped_step_list(traits.few_step->denoising_step_list, traits.timestep_shift);
  wanted.push_back(0);
  const std::vector<double>& times = dataset.info().ode_times;
  // Times went through a file as fp64; 1e-6 of a timestep is far below the distance of two steps.
  bool equal = times.size() == wanted.size();
  for (size_t i = 0; equal && i < times.size(); ++i) equal = std::abs(times[i] - wanted[i]) < 1e-6;
  if (!equal) {
    fail_user(
        "{}: {} holds ODE states at timesteps {}, the student's steps are {}: make them with the "
        "same denoising_step_list and timestep_shift",
        key,
        path,
        at::ArrayRef<double>(times),
        at::ArrayRef<double>(wanted));
  }
}

/// The media of a stage that learns from a prompt set, which has no clips: those of the weights
/// that the stage starts from; else what the set was made for; else data.make. data.clip_shape,
/// where it is given, overrides the clips' shape of the first and completes the last.
MediaInfo prompt_media(const TrainConfig& config,
                       const data::LatentDataset& prompts,
                       const std::optional<MediaInfo>& source) {
  const data::DataConfig& d = config.data;
  const std::string& encoder = prompts.info().text_encoder;
  if (source && source->text_encoder != encoder) {
    fail_user("data.path: {} was embedded by {}, init_from.generator was trained with {}",
              d.path,
              encoder,
              source->text_encoder);
  }
  const std::string& hash = prompts.info().text_encoder_hash;
  if (source && !source->text_encoder_hash.empty() && source->text_encoder_hash != hash) {
    fail_user(
        "data.path: {} was embedded by other weights of {} than init_from.generator was "
        "trained with",
        d.path,
        encoder);
  }
  // `vmla data prompts` writes codec and shape into the set where it is told them.
  const bool says_clips = !prompts.info().codec.empty() && prompts.info().clip_shape.size() == 4;
  if (!source && says_clips) return media_info(prompts.info());
  MediaInfo media = source ? *source
                           : MediaInfo{.codec = d.make.codec,
                                       .text_encoder = encoder,
                                       .text_encoder_hash = prompts.info().text_encoder_hash,
                                       .fps = d.make.fps,
                                       .pixel_height = d.make.size_height,
                                       .pixel_width = d.make.size_width,
                                       .clip = {}};
  if (d.clip_shape.size() == 4) {
    media.clip = clip_shape_of(d.clip_shape);
  } else if (!source) {
    fail_user(
        "data.clip_shape: is missing: {} is a prompt set, and init_from.generator is no checkpoint "
        "that states the clips' shape; give [F, C, H, W]",
        d.path);
  }
  return media;
}

/// A negative prompt's embedding [T, text_dim]: the dataset's own if it holds just this one, so
/// that the encoder need not be there.
at::Tensor stored_or_embedded(const data::LatentDataset& dataset,
                              const MediaInfo& media,
                              const data::DataConfig& config,
                              const std::string& prompt) {
  const data::LatentInfo& info = dataset.info();
  if (!info.negative_text.empty() && info.negative_prompt == prompt) {
    return at::tensor(info.negative_text).view({-1, info.text_dim});
  }
  return open_text_encoder(media, text_encoder_options(config))->encode(prompt);
}

}  // namespace

StageData::StageData(const TrainConfig& config,
                     const std::optional<MediaInfo>& source,
                     Missing missing)
    : config_(config) {
  const ObjectiveTraits traits = objective_traits(config.objective);
  const data::DataConfig& d = config.data;
  train_ = open_dataset(d.path, d.make, config, "data.path", missing);
  check_texts(config, *train_, d.path);
  if (train_->has_latents()) {
    check_clips(config, *train_, d.path);
    check_ode(config, *train_, "data.path", d.path);
  } else if (traits.learns_from != LearnsFrom::kPrompts) {
    fail_user("data.path: {} is a prompt set, it holds no /latents; objective {} learns from clips",
              d.path,
              config.objective.name);
  }
  media_ =
      train_->has_latents() ? media_info(train_->info()) : prompt_media(config, *train_, source);
  if (!d.validation_path.empty()) {
    held_out_ =
        open_dataset(d.validation_path, d.make_validation, config, "data.validation_path", missing);
    check_texts(config, *held_out_, d.validation_path);
    if (!held_out_->has_latents()) {
      fail_user("data.validation_path: {} is a prompt set, it holds no clips", d.validation_path);
    }
    check_clips(config, *held_out_, d.validation_path);
    // Held-out clips also serve measures at the end of the stage, which need no ODE states.
    if (config.validation.every > 0)
      check_ode(config, *held_out_, "data.validation_path", d.validation_path);
    if (held_out_->buckets().size() > 1) {
      fail_user("data.validation_path: {} has clips of {} shapes, validation takes one",
                d.validation_path,
                held_out_->buckets().size());
    }
    if (train_->has_latents() && held_out_->info().clip_shape != train_->info().clip_shape) {
      fail_user("data.validation_path: {} has clips of another shape than {} data.path {}",
                d.validation_path,
                train_->buckets().size() > 1 ? "most of" : "those of",
                d.path);
    }
  }
  // Encoded once. The dataset holds the empty prompt's embedding; any other needs the encoder.
  if (const auto& prompt = traits.negative_prompt) {
    const at::Tensor text =
        prompt->empty() ? train_->empty_text() : stored_or_embedded(*train_, media_, d, *prompt);
    if (text.size(0) > config.model.text_len) {
      fail_user("the negative prompt has {} text rows, model.text_len is {}",
                text.size(0),
                config.model.text_len);
    }
    negative_text_1TE_ = text.unsqueeze(0);
  }
}

StageData::~StageData() = default;

void StageData::start_at(int64_t samples_seen, int64_t micro_batch, int64_t index, int64_t count) {
  loader_.reset();  // its threads read order_
  order_ = std::make_unique<data::ShardSampler>(
      static_cast<uint64_t>(config_.seed),
      train_->buckets(),
      config_.train.batch_size,
      data::ShardSampler::Shard{.index = index, .count = count});
  loader_ = std::make_unique<data::PrefetchLoader>(
      *train_,
      *order_,
      data::LoaderOptions{.global_batch = config_.train.batch_size,
                          .micro_batch = micro_batch,
                          .threads = config_.data.loader_threads,
                          .prefetch_batches = config_.data.prefetch_batches,
                          .position = samples_seen});
}

std::vector<ClipShape> StageData::clip_shapes() const {
  return train_->has_latents() ? shapes_of(*train_) : std::vector{media_.clip};
}

ClipShape StageData::next_clip_shape() const {
  if (!train_->has_latents()) return media_.clip;
  return clip_shape_of(train_->clip_shape(order_->bucket(loader_->position())));
}

std::vector<ClipShape> shapes_of(const data::LatentDataset& dataset) {
  std::vector<ClipShape> shapes;
  for (size_t bucket = 0; bucket < dataset.buckets().size(); ++bucket)
    shapes.push_back(clip_shape_of(dataset.clip_shape(bucket)));
  return shapes;
}

ClipShape largest(const std::vector<ClipShape>& shapes) {
  return *std::ranges::max_element(
      shapes, {}, [](const ClipShape& shape) { return shape.frames * shape.height * shape.width; });
}

void make_missing_datasets(const TrainConfig& config) {
  const data::DataConfig& d = config.data;
  const auto make = [&](const std::string& path, const data::MakeConfig& how) {
    if (!path.empty() && !std::filesystem::exists(path) && how.makes_something())
      data::make_dataset(how, path, encoder_options(config));
  };
  make(d.path, d.make);
  make(d.validation_path, d.make_validation);
}

model::TensorMap StageData::next(int64_t count, int64_t step, int64_t first_sample) {
  data::Batch batch = loader_->next();
  TORCH_CHECK(static_cast<int64_t>(batch.indices.size()) == count,
              "micro-batch of another size: ",
              batch.indices.size());
  // Dropping captions is part of training, not of the data: it depends on the step, so that a clip
  // which comes again may keep its caption (docs/algorithms.md 9).
  if (config_.data.caption_dropout > 0) {
    const at::Tensor empty = train_->empty_text();
    for (int64_t row = 0; row < count; ++row) {
      const kernels::DrawKey key{.seed = static_cast<uint64_t>(config_.seed),
                                 .step = static_cast<uint64_t>(step),
                                 .purpose = kernels::Purpose::kCaptionDropout,
                                 .role = 0,
                                 .sample = static_cast<uint64_t>(first_sample + row)};
      if (kernels::uniform_at(key, 0) < config_.data.caption_dropout)
        data::drop_caption(batch, row, empty);
    }
  }
  model::TensorMap inputs = shared_inputs();
  inputs["text"] = batch.text;
  if (batch.latents.defined()) inputs["clean_latents"] = batch.latents;
  if (batch.ode_states.defined()) inputs["ode_states"] = batch.ode_states;
  return inputs;
}

model::TensorMap StageData::shared_inputs() const {
  if (!negative_text_1TE_.defined()) return {};
  return {{"negative_text", negative_text_1TE_}};
}

}  // namespace vmla::trainer
