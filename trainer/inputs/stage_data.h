#pragma once

#include "data/store/latent_dataset.h"
#include "model/formats/safetensors.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"

#include <memory>
#include <optional>
#include <vector>

namespace vmla::data {
class PrefetchLoader;
class ShardSampler;
}  // namespace vmla::data

namespace vmla::trainer {

/// The training and held-out clips of a stage: made when the configuration says how and they are
/// missing, read ahead by the loader, in an order that is a function of (seed, position) alone.
class StageData {
 public:
  /// UserError when a dataset is missing and cannot be made, or does not fit the model or what the
  /// objective learns from.
  /// `source`: how the weights the stage starts from make pixels and texts, for a prompt set.
  StageData(const TrainConfig& config, const std::optional<MediaInfo>& source);
  ~StageData();

  /// Starts reading at a position in the data order: samples seen so far, by all shards together.
  /// This is shard `index` of the `count` that share each global batch, in batches of
  /// `micro_batch`.
  void start_at(int64_t samples_seen, int64_t micro_batch, int64_t index, int64_t count);

  /// The next `count` samples as `clean_latents` [B, F, C, H, W] (none from a prompt set) and
  /// `text` [B, T, E], and the objective's `negative_text` [1, T, E]; captions are dropped by draw
  /// (Purpose::kCaptionDropout at `step`, `first_sample` + b).
  model::TensorMap next(int64_t count, int64_t step, int64_t first_sample);

  /// What every evaluation gets besides the samples: `negative_text`, when the objective has one.
  model::TensorMap shared_inputs() const;

  const data::LatentDataset& clips() const { return *train_; }
  const data::LatentDataset* held_out() const { return held_out_.get(); }
  const MediaInfo& media() const { return media_; }
  ClipShape clip_shape() const { return media_.clip; }

 private:
  const TrainConfig& config_;
  MediaInfo media_;
  at::Tensor negative_text_1TE_;  // undefined when the objective wants none
  std::unique_ptr<const data::LatentDataset> train_;
  std::unique_ptr<const data::LatentDataset> held_out_;
  std::unique_ptr<data::ShardSampler> order_;
  std::unique_ptr<data::PrefetchLoader> loader_;  // reads what is above: destroyed first
};

/// Makes the datasets that are missing and that the configuration says how to make.
void make_missing_datasets(const TrainConfig& config);

/// The latent shape of a stage's clips without making or reading the whole dataset:
/// data.clip_shape, else what data.make leads to, else what the dataset says. UserError when none
/// of them is there.
ClipShape planned_clip_shape(const TrainConfig& config);

}  // namespace vmla::trainer
