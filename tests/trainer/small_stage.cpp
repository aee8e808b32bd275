#include "tests/trainer/small_stage.h"

#include <ATen/ATen.h>

#include "data/store/latent_file_writer.h"
#include "model/io/error.h"
#include "tests/trainer/small_networks.h"
#include "trainer/config/stage_roles.h"
#include "trainer/telemetry/tensor_memory.h"

namespace vmla::trainer {

void write_small_clips(const std::filesystem::path& path,
                       int64_t clips,
                       const std::vector<std::string>& captions) {
  if (!captions.empty()) clips = static_cast<int64_t>(captions.size());
  data::LatentInfo info;
  info.codec = "space_to_depth:2";
  info.text_encoder = "hashing:5x3";
  info.clip_shape = {6, 3, 4, 4};
  info.pixel_frames = 6;
  info.pixel_height = info.pixel_width = 8;
  info.fps = 8;
  info.text_dim = 5;
  std::vector<data::ClipRecord> records;
  for (int64_t i = 0; i < clips; ++i)
    records.push_back(
        {captions.empty() ? formatted("caption {}", i) : captions[static_cast<size_t>(i)],
         "video",
         6 * i,
         i % 3 + 1});
  data::LatentFileWriter writer(path, info, records, std::vector<float>(5, -1));
  for (int64_t i = 0; i < clips; ++i) {
    const at::Tensor latents = at::full(info.clip_shape, static_cast<double>(i) / 8, at::kBFloat16);
    const at::Tensor text = at::full({i % 3 + 1, 5}, i + 1, at::kFloat);
    writer.write_latents(i, static_cast<const uint16_t*>(latents.const_data_ptr()));
    writer.write_text(i, text.const_data_ptr<float>());
  }
  writer.close();
}

TrainConfig small_stage(const std::filesystem::path& folder, const std::string& objective) {
  TrainConfig config;
  config.stage = objective;
  config.seed = 11;
  config.objective.name = objective;
  const bool causal = objective_traits(config.objective).causal;
  config.model = small_model(causal ? "mla" : "dense");
  if (!causal) {
    config.model.local_attn_size = -1;
    config.model.sink_size = 0;
  }
  config.data.path = (folder / "clips.h5").string();
  config.optimizer.lr = 1e-2;
  config.train.steps = 4;
  config.train.batch_size = 4;
  config.train.micro_batch_size = 2;
  config.train.log_every = 1000;
  config.checkpoint.every = 0;
  config.rank.every = 0;
  if (!std::filesystem::exists(config.data.path)) write_small_clips(config.data.path);
  return config;
}

SmallStage::SmallStage(const TrainConfig& stage)
    : config(stage),
      objective(make_objective(config.objective, config.model)),
      roles(build_roles(config, stage_roles(config), nullptr, mesh)),
      data(config, std::nullopt),
      sampler(data.media(),
              {},
              !objective_traits(config.objective).causal,
              model::make_video_codec(data.media().codec)) {
  count_tensor_bytes();
}

std::unique_ptr<Trainer> SmallStage::trainer(const std::filesystem::path& run_dir,
                                             const TrainState& state) {
  run_dir_ = run_dir;
  std::filesystem::create_directories(run_dir_);
  return std::make_unique<Trainer>(TrainerParts{.config = config,
                                                .run_dir = run_dir_,
                                                .objective = *objective,
                                                .roles = roles,
                                                .data = data,
                                                .sampler = sampler,
                                                .mesh = mesh},
                                   state,
                                   /*predicted_bytes=*/0);
}

TrainState SmallStage::resume(const std::filesystem::path& run_dir) {
  const auto saved = open_resume(run_dir / "checkpoints", "auto", mesh);
  TORCH_CHECK(saved, "no checkpoint in ", run_dir.string());
  roles = build_roles(config, stage_roles(config), &*saved, mesh);
  return restore_training(*saved, roles);
}

std::map<std::string, at::Tensor> SmallStage::weights(const std::string& role) {
  std::map<std::string, at::Tensor> copies;
  model::TrainedWeights& trained = *roles.at(role).weights;
  for (const int64_t unit : trained.units()) {
    for (const auto& [name, tensor] : trained.tensors_of(unit)) copies[name] = tensor.clone();
  }
  return copies;
}

}  // namespace vmla::trainer
