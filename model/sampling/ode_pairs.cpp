#include "model/sampling/ode_pairs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <functional>

#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/context_pass.h"
#include "model/network/kv_cache.h"
#include "model/network/plan_cache.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/flow_solver.h"
#include "model/sampling/guidance.h"
#include "model/sampling/noise_and_flow.h"

namespace vmla::model {
namespace {

/// Takes x from noise to the path's end and returns the kept states: [B, states, F, C, H, W].
at::Tensor follow(const OdeGrid& grid,
                  at::Tensor x,
                  const std::function<at::Tensor(const at::Tensor& x, double timestep)>& flow) {
  std::vector<at::Tensor> states;
  size_t next = 0;
  for (size_t i = 0; i < grid.timesteps.size(); ++i) {
    if (next < grid.recorded.size() && grid.recorded[next] == static_cast<int64_t>(i)) {
      states.push_back(x);
      ++next;
    }
    const double end = i + 1 < grid.timesteps.size() ? grid.timesteps[i + 1] : 0.0;
    x = euler_step(x, flow(x, grid.timesteps[i]), grid.timesteps[i], end);
  }
  states.push_back(x);
  return at::stack(states, 1);
}

at::Tensor cached_states(const Network& teacher,
                         const OdeStart& start,
                         const OdeGrid& grid,
                         const Guidance& guidance,
                         TokenGrid tokens) {
  const ModelConfig& config = teacher.config;
  const int64_t num_frames = start.clean_BFCHW.size(1);
  const at::Tensor text = guidance.text(start.text_BTE);
  KvCache cache(config, CacheKind::kStreaming, tokens.tokens(), num_frames);
  PlanCache plans(streaming_plan_limit(config));
  PassCache kept;
  std::vector<at::Tensor> chunks;
  int64_t first = 0;
  for (const int64_t count : chunk_sizes(config, num_frames)) {
    const KvWindow window = cache.window(first, count);
    const PreparedPlan& plan =
        plans.get(config, cached_plan(config, window.frames, first, count), start.noise_BFCHW);
    const std::unique_ptr<ChunkCache> windows = chunk_cache_for(
        config, text.size(0) * plan.key_tokens(), SamplerSettings{}.kept_window_bytes);
    chunks.push_back(follow(
        grid, start.noise_BFCHW.narrow(1, first, count), [&](const at::Tensor& x, double timestep) {
          return guided_flow(
              teacher, guidance, x, timestep, {text, plan, window.layers, kept, windows.get()});
        }));
    if (first + count < num_frames) {  // nothing reads the last chunk's keys and values
      const at::Tensor clean = start.clean_BFCHW.narrow(1, first, count);
      const ContextPass context{.latents_BFCHW = guidance.repeat(clean),
                                .text_BTE = text,
                                .plan = plan,
                                .window = window.layers,
                                .pass_cache = &kept,
                                .chunk_cache = windows.get(),
                                .form = LatentForm::kCheaper};
      cache.append(context_kv(teacher, context), first, count);
    }
    first += count;
  }
  return at::cat(chunks, 2);
}

at::Tensor doubled_states(const Network& teacher,
                          const OdeStart& start,
                          const OdeGrid& grid,
                          const Guidance& guidance,
                          TokenGrid tokens) {
  const PreparedPlan plan =
      prepare_plan(teacher.config,
                   teacher_forcing_plan(teacher.config, start.clean_BFCHW.size(1)),
                   tokens,
                   start.noise_BFCHW.options());
  const at::Tensor text = guidance.text(start.text_BTE);
  const at::Tensor clean = guidance.repeat(start.clean_BFCHW);
  PassCache kept;
  const ForwardOptions options{.pass_cache = &kept};
  return follow(grid, start.noise_BFCHW, [&](const at::Tensor& x, double timestep) {
    const at::Tensor both = guidance.repeat(x);
    const DitInputs noisy{both, same_time(both, timestep), text};
    return guidance.combine(teacher_forcing_forward(teacher, clean, noisy, plan, options));
  });
}

}  // namespace

std::vector<double> OdeGrid::state_times() const {
  std::vector<double> times;
  for (const int64_t step : recorded) times.push_back(timesteps.at(static_cast<size_t>(step)));
  times.push_back(0.0);
  return times;
}

OdeGrid ode_grid(int64_t steps,
                 double timestep_shift,
                 const std::vector<double>& denoising_step_list) {
  if (steps < 1) fail_user("steps: found {}: at least 1 is needed", steps);
  const std::vector<double> warped = warped_step_list(denoising_step_list, timestep_shift);
  OdeGrid grid{timestep_grid(steps, timestep_shift), {}};
  for (size_t k = 0; k < warped.size(); ++k) {
    // Both sides of the warp: equal before it is equal after it.
    const double place =
        static_cast<double>(steps) * (1.0 - denoising_step_list[k] / kTrainTimesteps);
    const double nearest = std::round(place);
    if (std::abs(place - nearest) > 1e-6) {
      fail_user(
          "denoising_step_list: step {:g} is no point of a grid of {} steps (it lies at {:g}); "
          "choose "
          "a number of steps that it falls on: 48 holds 1000, 750, 500 and 250",
          denoising_step_list[k],
          steps,
          place);
    }
    grid.recorded.push_back(static_cast<int64_t>(nearest));
  }
  return grid;
}

at::Tensor ode_states(const Network& teacher,
                      const OdeStart& start,
                      const OdeGrid& grid,
                      double guidance_scale,
                      OdeWay way) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(
      start.clean_BFCHW.dim() == 5 && start.clean_BFCHW.sizes() == start.noise_BFCHW.sizes(),
      "clips and noise must be alike, [B, F, C, H, W]: ",
      start.clean_BFCHW.sizes(),
      " and ",
      start.noise_BFCHW.sizes());
  const Guidance guidance(guidance_scale, start.negative_text_1TE, teacher.config.text_len);
  const TokenGrid tokens =
      token_grid(teacher.config, start.clean_BFCHW.size(3), start.clean_BFCHW.size(4));
  return way == OdeWay::kCached ? cached_states(teacher, start, grid, guidance, tokens)
                                : doubled_states(teacher, start, grid, guidance, tokens);
}

}  // namespace vmla::model
