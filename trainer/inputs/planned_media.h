#pragma once

#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <string>

namespace vmla::trainer {

/// What the clips of a stage determine of its memory.
struct PlannedMedia {
  /// Of the largest clips.
  ClipShape clip;
  /// Rows of the batches' texts; 0: model.text_len, the most that there can be.
  int64_t text_rows = 0;
  /// The codec that the stage holds beside its networks, as model::make_video_codec names it;
  /// empty: none.
  std::string codec = {};
};

/// The media of a stage, without making a dataset or reading clips: data.clip_shape, else what the
/// dataset's files say, else what data.make would lead to. The codec is the dataset's, or where
/// that is not opened one that makes such latents. UserError where none of them says the
/// clips' shape.
PlannedMedia planned_media(const TrainConfig& config);

}  // namespace vmla::trainer
