#pragma once

#include "data/store/latent_dataset.h"
#include "model/formats/safetensors.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/batch_source.h"
#include "trainer/inputs/media_info.h"

#include <memory>
#include <optional>

namespace vmla::data {
class PrefetchLoader;
class ShardSampler;
}  // namespace vmla::data

namespace vmla::trainer {

/// The training and held-out clips of a stage. They are made where they are missing and the
/// configuration says how. Batches are read ahead by the loader's threads, in an order that is a
/// function of (seed, position) alone, so that a resumed run goes on with the clip that would have
/// come next, on any number of ranks.
class StageData final : public BatchSource {
 public:
  /// `source`: the media of the weights that the stage starts from, which a prompt set may need
  /// because it holds no clips. `missing`: whether a dataset that is not there is made; a run that
  /// goes on has been trained on one, so there it is an error. UserError where a dataset is missing
  /// and cannot be made, or does not fit the model or what the objective learns from.
  enum class Missing { kMake, kRefuse };
  StageData(const TrainConfig& config,
            const std::optional<MediaInfo>& source,
            Missing missing = Missing::kMake);
  ~StageData() override;

  /// Starts reading ahead at a position in the data order: samples seen so far, by all ranks
  /// together. This process is data rank `index` of the `count` that share each global batch in
  /// equal contiguous parts, and reads its part in batches of `micro_batch`.
  void start_at(int64_t samples_seen, int64_t micro_batch, int64_t index, int64_t count);

  /// Caption b is replaced by the empty prompt with probability data.caption_dropout, by a draw at
  /// (`step`, `first_sample` + b).
  model::TensorMap next(int64_t count, int64_t step, int64_t first_sample) override;

  /// What every evaluation gets besides the samples: `negative_text` [1, T, E], where the
  /// objective's traits name a negative prompt.
  model::TensorMap shared_inputs() const;

  const data::LatentDataset& clips() const { return *train_; }
  const data::LatentDataset* held_out() const { return held_out_.get(); }
  const MediaInfo& media() const { return media_; }
  /// Of the clips that are sampled in the run and validated on: the most frequent one.
  ClipShape clip_shape() const { return media_.clip; }
  /// The shapes of all clips; a batch has one of them.
  std::vector<ClipShape> clip_shapes() const;
  /// After start_at().
  ClipShape next_clip_shape() const override;

 private:
  const TrainConfig& config_;
  MediaInfo media_;
  at::Tensor negative_text_1TE_;  // undefined where the objective has no negative prompt
  std::unique_ptr<const data::LatentDataset> train_;
  std::unique_ptr<const data::LatentDataset> held_out_;
  std::unique_ptr<data::ShardSampler> order_;
  // Its threads read the members above, so that it is declared last and destroyed first.
  std::unique_ptr<data::PrefetchLoader> loader_;
};

/// Makes the datasets that are missing and that the configuration says how to make: on several
/// ranks the lead does it before any of them opens a dataset. May take hours (videos are encoded).
void make_missing_datasets(const TrainConfig& config);

/// The shapes of a dataset's clips.
std::vector<ClipShape> shapes_of(const data::LatentDataset& dataset);

/// The shape with the most latents, whose step needs the most memory.
ClipShape largest(const std::vector<ClipShape>& shapes);

}  // namespace vmla::trainer
