#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// Asymmetric distribution matching distillation over the student's own rollouts (algorithms 7).
/// The student rolls out without gradients; two bidirectional scores say where the result should
/// move; with kv_grad `detached` each chunk's exit pass is then replayed and back-propagated alone,
/// so that memory does not depend on the number of chunks.
///
/// Inputs of evaluate(), for both players: text, rollout_noise [B, F, C, H, W], renoise
/// [steps − 1, B, F, C, H, W] (draw k re-noises after step k), exit_index [], tau [B] (integers in
/// 0..999, before the shift) and noise (what the scores' input gets, [B, frames of a clip, C, H,
/// W]); the generator's also negative_text. Optional: denoising_steps (timesteps as the network
/// sees them), first_chunk_exit_index and first_chunk_denoising_steps, context_noise. A rollout
/// longer than a clip that is scored in W windows takes tau [W, B] and noise [W, B, F, C, H, W].
std::unique_ptr<Objective> make_dmd(const DmdConfig& config, const model::ModelConfig& model);

}  // namespace vmla::trainer
