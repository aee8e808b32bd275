#pragma once

#include <ATen/core/Tensor.h>

/// The formulas that join clean latents x0, noise eps, noisy latents x_t and the flow v
/// (docs/algorithms.md 7.1). A sigma is one number for all frames, or a tensor that broadcasts over
/// the latents, such as [B, F, 1, 1, 1].
namespace vmla::model {

/// x_t = (1 - sigma) x0 + sigma eps.
at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, double sigma);
at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, const at::Tensor& sigma);

/// x0 = x_t - sigma v.
at::Tensor clean_from_flow(const at::Tensor& noisy, const at::Tensor& flow, double sigma);
at::Tensor clean_from_flow(const at::Tensor& noisy,
                           const at::Tensor& flow,
                           const at::Tensor& sigma);

/// One Euler step of dx/dsigma = v from one timestep to another (0 to 1000).
at::Tensor euler_step(const at::Tensor& x, const at::Tensor& flow, double from, double to);

}  // namespace vmla::model
